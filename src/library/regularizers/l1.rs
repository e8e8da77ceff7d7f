//! The absolute penalty.

use crate::ir::{Builder, Unary, Value};
use crate::item;
use crate::library::Regularizer;
use crate::schema::NonNegative;

item! {
    /// Adds `factor · Σ |w|` to the loss, which draws weights to exactly 0.
    ///
    /// It applies to matrices and filters, not to offsets and normalization.
    ///
    /// ```nnopt
    /// l1(1e-5)
    /// ```
    "l1" => pub struct L1: Regularizer {
        /// The weight of the penalty.
        factor: NonNegative,
    }
}

impl Regularizer for L1 {
    fn changes_nothing(&self) -> bool {
        self.factor.0 == 0.0
    }

    fn penalty(&self, graph: &mut Builder, weight: Value) -> Value {
        let size = graph.unary(Unary::Abs, weight);
        let sum = graph.sum_all(size);
        graph.scale(sum, self.factor.0)
    }
}
