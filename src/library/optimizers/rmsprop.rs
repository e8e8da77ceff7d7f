//! Rates scaled by recent gradients.

use super::parts::{blend, coupled_decay, mean_square};
use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Decay, Optimizer, UpdateBuilder};
use crate::schema::{Auto, NonNegative, Positive, Probability};

item! {
    /// RMSprop: divides each step by the root of the mean squared gradient; as `torch.optim.RMSprop`.
    ///
    /// `g ← g + weight_decay·w`; `s ← alpha·s + (1 − alpha)·g²`; `d = √s + eps`, or `√(s − a²) + eps` with `centered`,
    /// where `a` is the mean gradient; `w ← w − lr·g/d`, or with momentum `b ← momentum·b + g/d`; `w ← w − lr·b`.
    /// `alpha` is PyTorch's 0.99; Keras's `rho` is 0.9.
    ///
    /// ```nnopt
    /// rmsprop(lr = 1e-3, momentum = 0.9)
    /// ```
    "rmsprop" => pub struct RmsProp: Optimizer {
        /// Learning rate; `auto` looks for one before the training, as `nnoptc find-lr` does.
        lr: Auto<Positive> = Auto::Given(Positive(1e-2)),
        /// Share of the mean square that is kept at each step.
        alpha: Probability = Probability(0.99),
        /// Added to the root, against division by 0.
        eps: NonNegative = NonNegative(1e-8),
        /// Coupled L2 decay, added to the gradient.
        weight_decay: NonNegative = NonNegative(0.0),
        /// Share of the velocity that is kept.
        momentum: Probability = Probability(0.0),
        /// Whether to divide by the deviation of the gradients, not by their size.
        centered: bool = false,
    }
}

impl Optimizer for RmsProp {
    fn usual_rates(&self) -> [f64; 2] {
        // 1e-3 in Keras, 1e-2 in PyTorch.
        [1e-5, 1e-2]
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
        let square = update.slot("mean_square", &shape, 0.0);
        let square_next = mean_square(update, square, grad, self.alpha.0);
        update.set_slot(square, square_next);
        let mut scale = square_next;
        if self.centered {
            let mean = update.slot("mean", &shape, 0.0);
            let mean_next = blend(update, mean, grad, 1.0 - self.alpha.0);
            update.set_slot(mean, mean_next);
            let squared_mean = update.graph.mul(mean_next, mean_next);
            let variance = update.graph.sub(square_next, squared_mean);
            // Rounding can bring the variance of a steady gradient below 0, where PyTorch's root is NaN.
            scale = update.graph.unary(Unary::Relu, variance);
        }
        let root = update.graph.unary(Unary::Sqrt, scale);
        let divisor = update.graph.offset(root, self.eps.0);
        let lr = update.scalar("lr", |at| at.lr);
        let change = if self.momentum.0 > 0.0 {
            let velocity = update.slot("momentum", &shape, 0.0);
            let kept = update.graph.scale(velocity, self.momentum.0);
            let added = update.graph.div(grad, divisor);
            let velocity_next = update.graph.add(kept, added);
            update.set_slot(velocity, velocity_next);
            update.graph.mul(velocity_next, lr)
        } else {
            let scaled = update.graph.mul(grad, lr);
            update.graph.div(scaled, divisor)
        };
        update.graph.sub(weight, change)
    }
}
