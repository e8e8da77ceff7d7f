//! Stochastic gradient descent.

use super::parts::coupled_decay;
use crate::ir::Value;
use crate::item;
use crate::library::{Decay, Optimizer, ShapeError, UpdateBuilder};
use crate::schema::{Auto, FromArg, NonNegative, Positive, Probability};

item! {
    /// Stochastic gradient descent, with momentum if asked for; as `torch.optim.SGD`.
    ///
    /// `g ← g + weight_decay·w`; `v ← momentum·v + (1 − dampening)·g` (the first step sets `v ← g`);
    /// `w ← w − lr·v`, or `w ← w − lr·(g + momentum·v)` with `nesterov`.
    ///
    /// ```nnopt
    /// sgd(lr = 0.1, momentum = 0.9)
    /// ```
    "sgd" => pub struct Sgd: Optimizer {
        /// Learning rate; `auto` looks for one before the training, as `nnoptc find-lr` does.
        lr: Auto<Positive> = Auto::Given(Positive(1e-3)),
        /// Share of the velocity that is kept.
        momentum: Probability = Probability(0.0),
        /// Share of the gradient that does not enter the velocity.
        dampening: NonNegative = NonNegative(0.0),
        /// Coupled L2 decay, added to the gradient.
        weight_decay: NonNegative = NonNegative(0.0),
        /// Whether to look ahead (Nesterov); needs momentum, and dampening 0.
        nesterov: bool = false,
    }
}

impl Optimizer for Sgd {
    fn usual_rates(&self) -> [f64; 2] {
        // 0.1 is the rate of He et al. (2016); with batches of thousands it is scaled up.
        [1e-4, 0.5]
    }

    fn is_adaptive(&self) -> bool {
        false
    }

    fn decay(&self) -> Decay {
        if self.weight_decay.0 > 0.0 { Decay::Coupled(self.weight_decay.0) } else { Decay::None }
    }

    fn learning_rate(&self) -> Option<f64> {
        self.lr.given().map(|rate| rate.0)
    }

    fn check(&self) -> Result<(), ShapeError> {
        if !self.nesterov {
            return Ok(());
        }
        if self.momentum.0 == 0.0 {
            return Err(ShapeError::new("`nesterov` of `sgd` needs momentum, found momentum 0")
                .at("nesterov")
                .help("write `momentum = 0.9`, or leave `nesterov` out"));
        }
        if self.dampening.0 > 0.0 {
            let found = self.dampening.show();
            return Err(ShapeError::new(format!("`nesterov` of `sgd` needs dampening 0, found dampening {found}"))
                .at("dampening")
                .help("leave one of the two out"));
        }
        Ok(())
    }

    fn lower(&self, update: &mut UpdateBuilder, weight: Value, grad: Value) -> Value {
        let grad = coupled_decay(update, weight, grad, self.weight_decay.0);
        let mut direction = grad;
        if self.momentum.0 > 0.0 {
            let shape = update.graph.shape(weight).to_vec();
            let velocity = update.slot("momentum", &shape, 0.0);
            let kept = update.graph.scale(velocity, self.momentum.0);
            let dampening = self.dampening.0;
            let mut added = grad;
            if dampening > 0.0 {
                // PyTorch's first step takes the gradient undampened.
                let share = update.scalar("sgd_share", move |at| if at.step == 0 { 1.0 } else { 1.0 - dampening });
                added = update.graph.mul(grad, share);
            }
            let velocity_next = update.graph.add(kept, added);
            update.set_slot(velocity, velocity_next);
            direction = velocity_next;
            if self.nesterov {
                let ahead = update.graph.scale(velocity_next, self.momentum.0);
                direction = update.graph.add(grad, ahead);
            }
        }
        let lr = update.scalar("lr", |at| at.lr);
        let change = update.graph.mul(direction, lr);
        update.graph.sub(weight, change)
    }
}
