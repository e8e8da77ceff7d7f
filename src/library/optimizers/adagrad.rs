//! Rates that shrink with the gradients seen.

use super::parts::coupled_decay;
use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Decay, Optimizer, UpdateBuilder};
use crate::schema::{Auto, NonNegative, Positive};

item! {
    /// Adagrad: divides each step by the root of the sum of squared gradients so far; as `torch.optim.Adagrad`.
    ///
    /// `g ← g + weight_decay·w`; `s ← s + g²`; `w ← w − lr/(1 + (t − 1)·lr_decay)·g/(√s + eps)`, with `t = 1` for the
    /// first step.
    ///
    /// ```nnopt
    /// adagrad(lr = 0.01)
    /// ```
    "adagrad" => pub struct Adagrad: Optimizer {
        /// Learning rate; `auto` looks for one before the training, as `nnoptc find-lr` does.
        lr: Auto<Positive> = Auto::Given(Positive(1e-2)),
        /// How fast the learning rate shrinks by itself.
        lr_decay: NonNegative = NonNegative(0.0),
        /// Coupled L2 decay, added to the gradient.
        weight_decay: NonNegative = NonNegative(0.0),
        /// What the sum of squares begins with.
        initial_accumulator: NonNegative = NonNegative(0.0),
        /// Added to the root, against division by 0.
        eps: NonNegative = NonNegative(1e-10),
    }
}

impl Optimizer for Adagrad {
    fn usual_rates(&self) -> [f64; 2] {
        // 1e-2 in PyTorch, 1e-3 in Keras.
        [1e-3, 0.1]
    }

    fn is_adaptive(&self) -> bool {
        true
    }

    fn decay(&self) -> Decay {
        if self.weight_decay.0 > 0.0 { Decay::Coupled(self.weight_decay.0) } else { Decay::None }
    }

    fn learning_rate(&self) -> Option<f64> {
        self.lr.given().map(|rate| rate.0)
    }

    fn lower(&self, update: &mut UpdateBuilder, weight: Value, grad: Value) -> Value {
        let grad = coupled_decay(update, weight, grad, self.weight_decay.0);
        let shape = update.graph.shape(weight).to_vec();
        let sum = update.slot("sum_of_squares", &shape, self.initial_accumulator.0);
        let square = update.graph.mul(grad, grad);
        let sum_next = update.graph.add(sum, square);
        update.set_slot(sum, sum_next);
        let decay = self.lr_decay.0;
        let rate = update.scalar("adagrad_rate", move |at| at.lr / (1.0 + at.step as f64 * decay));
        let root = update.graph.unary(Unary::Sqrt, sum_next);
        let divisor = update.graph.offset(root, self.eps.0);
        let scaled = update.graph.mul(grad, rate);
        let change = update.graph.div(scaled, divisor);
        update.graph.sub(weight, change)
    }
}
