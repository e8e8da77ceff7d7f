//! What several optimizers do.

use crate::ir::Value;
use crate::library::UpdateBuilder;

/// `g + decay·w`: coupled L2 decay.
pub fn coupled_decay(update: &mut UpdateBuilder, weight: Value, grad: Value, decay: f64) -> Value {
    if decay == 0.0 {
        return grad;
    }
    let decay = update.graph.scale(weight, decay);
    update.graph.add(grad, decay)
}

/// `old + (new − old)·share`, from the nearer end as `torch.lerp` does.
pub fn blend(update: &mut UpdateBuilder, old: Value, new: Value, share: f64) -> Value {
    let difference = update.graph.sub(new, old);
    if share < 0.5 {
        let change = update.graph.scale(difference, share);
        update.graph.add(old, change)
    } else {
        let rest = update.graph.scale(difference, 1.0 - share);
        update.graph.sub(new, rest)
    }
}

/// `old·keep + (1 − keep)·g²`
pub fn mean_square(update: &mut UpdateBuilder, old: Value, grad: Value, keep: f64) -> Value {
    let kept = update.graph.scale(old, keep);
    let part = update.graph.scale(grad, 1.0 - keep);
    let square = update.graph.mul(part, grad);
    update.graph.add(kept, square)
}
