//! Adaptive moments.

use super::parts::{blend, coupled_decay, mean_square};
use crate::ir::{Binary, Unary, Value};
use crate::item;
use crate::library::{Decay, Optimizer, UpdateBuilder};
use crate::schema::{Auto, Betas, NonNegative, Positive};

item! {
    /// Adam: steps by the mean gradient over the root of the mean squared gradient; as `torch.optim.Adam`.
    ///
    /// `g ← g + weight_decay·w`; `m ← m + (1 − β₁)·(g − m)`; `v ← β₂·v + (1 − β₂)·g²`;
    /// `w ← w − lr/(1 − β₁ᵗ)·m/(√v/√(1 − β₂ᵗ) + eps)`. With `amsgrad` the largest `v` so far takes the place of `v`.
    /// `eps` stands after the correction as in PyTorch; Keras's default is 1e-7.
    ///
    /// ```nnopt
    /// adam(lr = 3e-4)
    /// ```
    "adam" => pub struct Adam: Optimizer {
        /// Learning rate; `auto` looks for one before the training, as `nnoptc find-lr` does.
        lr: Auto<Positive> = Auto::Given(Positive(1e-3)),
        /// Shares of the two means that are kept at each step.
        betas: Betas = Betas(0.9, 0.999),
        /// Added to the root, against division by 0.
        eps: NonNegative = NonNegative(1e-8),
        /// Coupled L2 decay, added to the gradient; see `adamw` for the decoupled one.
        weight_decay: NonNegative = NonNegative(0.0),
        /// Whether to divide by the largest mean square so far.
        amsgrad: bool = false,
    }
}

impl Optimizer for Adam {
    fn usual_rates(&self) -> [f64; 2] {
        // Kingma and Ba (2015) use 1e-3; published recipes lie between 1e-5 and 1e-2.
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
        adam_step(update, weight, grad, self.betas, self.eps.0, self.amsgrad)
    }
}

/// The step of Adam without decay of weights.
pub(super) fn adam_step(
    update: &mut UpdateBuilder,
    weight: Value,
    grad: Value,
    Betas(first, second): Betas,
    eps: f64,
    amsgrad: bool,
) -> Value {
    let shape = update.graph.shape(weight).to_vec();
    let mean = update.slot("mean", &shape, 0.0);
    let square = update.slot("mean_square", &shape, 0.0);
    let mean_next = blend(update, mean, grad, 1.0 - first);
    let square_next = mean_square(update, square, grad, second);
    update.set_slot(mean, mean_next);
    update.set_slot(square, square_next);
    let mut scale = square_next;
    if amsgrad {
        let largest = update.slot("largest_mean_square", &shape, 0.0);
        scale = update.graph.binary(Binary::Max, largest, square_next);
        update.set_slot(largest, scale);
    }
    // Powers of the betas are taken in f64 on the host: in f32 the first steps of β₂ = 0.999 lose four digits.
    let correction = update.scalar("adam_correction", move |at| (1.0 - power(second, at.step)).sqrt());
    let step_size = update.scalar("adam_step_size", move |at| at.lr / (1.0 - power(first, at.step)));
    let root = update.graph.unary(Unary::Sqrt, scale);
    let root = update.graph.div(root, correction);
    let divisor = update.graph.offset(root, eps);
    let scaled = update.graph.mul(mean_next, step_size);
    let change = update.graph.div(scaled, divisor);
    update.graph.sub(weight, change)
}

/// `betaᵗ` where the first step is `t = 1`.
fn power(beta: f64, step: u64) -> f64 {
    beta.powf((step + 1) as f64)
}
