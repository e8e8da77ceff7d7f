//! The squared penalty.

use crate::ir::{Builder, Value};
use crate::item;
use crate::library::Regularizer;
use crate::schema::NonNegative;

item! {
    /// Adds `factor · Σ w²` to the loss, so `2·factor·w` to the gradient.
    ///
    /// It applies to matrices and filters, not to offsets and normalization. PyTorch's coupled `weight_decay = d`
    /// is `l2(d / 2)`.
    ///
    /// ```nnopt
    /// l2(1e-4)
    /// ```
    "l2" => pub struct L2: Regularizer {
        /// The weight of the penalty.
        factor: NonNegative,
    }
}

impl Regularizer for L2 {
    fn squared(&self) -> f64 {
        self.factor.0
    }

    fn changes_nothing(&self) -> bool {
        self.factor.0 == 0.0
    }

    fn penalty(&self, graph: &mut Builder, weight: Value) -> Value {
        let square = graph.mul(weight, weight);
        let sum = graph.sum_all(square);
        graph.scale(sum, self.factor.0)
    }
}
