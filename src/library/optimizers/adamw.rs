//! Adaptive moments with decoupled decay.

use super::adam::adam_step;
use crate::ir::Value;
use crate::item;
use crate::library::{Decay, Optimizer, UpdateBuilder};
use crate::schema::{Auto, Betas, NonNegative, Positive};

item! {
    /// Adam whose weight decay does not pass through the gradient; as `torch.optim.AdamW`.
    ///
    /// `w ← w·(1 − lr·weight_decay)`, then a step of `adam` without decay. It applies to every weight, as in PyTorch.
    /// The decay's default is PyTorch's 0.01; Keras's is 0.004.
    ///
    /// ```nnopt
    /// adamw(lr = 3e-4, weight_decay = 0.05)
    /// ```
    "adamw" => pub struct AdamW: Optimizer {
        /// Learning rate; `auto` looks for one before the training, as `nnoptc find-lr` does.
        lr: Auto<Positive> = Auto::Given(Positive(1e-3)),
        /// Shares of the two means that are kept at each step.
        betas: Betas = Betas(0.9, 0.999),
        /// Added to the root, against division by 0.
        eps: NonNegative = NonNegative(1e-8),
        /// The share of a weight, times the learning rate, that each step takes away.
        weight_decay: NonNegative = NonNegative(0.01),
        /// Whether to divide by the largest mean square so far.
        amsgrad: bool = false,
    }
}

impl Optimizer for AdamW {
    fn usual_rates(&self) -> [f64; 2] {
        // As for `adam`.
        [1e-5, 1e-2]
    }

    fn is_adaptive(&self) -> bool {
        true
    }

    fn decay(&self) -> Decay {
        if self.weight_decay.0 > 0.0 { Decay::Decoupled(self.weight_decay.0) } else { Decay::None }
    }

    fn learning_rate(&self) -> Option<f64> {
        self.lr.given().map(|rate| rate.0)
    }

    fn lower(&self, update: &mut UpdateBuilder, weight: Value, grad: Value) -> Value {
        let mut decayed = weight;
        let decay = self.weight_decay.0;
        if decay > 0.0 {
            let keep = update.scalar("adamw_keep", move |at| 1.0 - at.lr * decay);
            decayed = update.graph.mul(weight, keep);
        }
        adam_step(update, decayed, grad, self.betas, self.eps.0, self.amsgrad)
    }
}
