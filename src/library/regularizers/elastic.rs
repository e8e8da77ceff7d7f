//! The absolute and the squared penalty together.

use super::l1::L1;
use super::l2::L2;
use crate::ir::{Builder, Value};
use crate::item;
use crate::library::Regularizer;
use crate::schema::NonNegative;

item! {
    /// Adds `l1 · Σ |w| + l2 · Σ w²` to the loss: the elastic net.
    ///
    /// It applies to matrices and filters, not to offsets and normalization.
    ///
    /// ```nnopt
    /// elastic(l1 = 1e-5, l2 = 1e-4)
    /// ```
    "elastic" => pub struct Elastic: Regularizer {
        /// The weight of the absolute penalty.
        l1: NonNegative,
        /// The weight of the squared penalty.
        l2: NonNegative,
    }
}

impl Regularizer for Elastic {
    fn squared(&self) -> f64 {
        self.l2.0
    }

    fn changes_nothing(&self) -> bool {
        self.l1.0 == 0.0 && self.l2.0 == 0.0
    }

    fn penalty(&self, graph: &mut Builder, weight: Value) -> Value {
        let absolute = L1 { factor: self.l1 }.penalty(graph, weight);
        let squared = L2 { factor: self.l2 }.penalty(graph, weight);
        graph.add(absolute, squared)
    }
}
