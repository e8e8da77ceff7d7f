//! Loss scaling: gradients that 16 bits would lose are multiplied by a scale, which follows what they do.
//!
//! The rule is that of PyTorch's `torch.amp.GradScaler` with its defaults: the scale begins at 65,536, is halved when a
//! gradient is not finite (and that update is skipped), and doubled after 2,000 updates in a row without one. It never
//! falls below 1. All of it is state of the device, so that no step waits for the host.

use super::{GUARD, guarded_update};
use crate::ir::graph::{Init, StateInfo, StateKind};
use crate::ir::{Binary, Builder, DType, Unary, Value};

/// The name of the state that holds the scale.
pub const SCALE: &str = "scaler.scale";
/// The name of the state that counts skipped updates.
pub const SKIPPED: &str = "scaler.skipped";
/// As many updates are skipped in a row before training ends: from any scale below 2³² that reaches 1.
pub const MOST_SKIPS: u32 = 32;

const FIRST_SCALE: f64 = 65_536.0;
const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
const GROWTH_INTERVAL: u32 = 2_000;

/// The scaler's state, read at the start of a step.
pub struct Scaler {
    /// What the loss is multiplied by; a scalar.
    pub scale: Value,
    good: Value,
    skipped: Value,
    in_a_row: Value,
}

impl Scaler {
    /// Declares and reads it.
    pub fn new(b: &mut Builder) -> Scaler {
        let mut state = |name: &str, dtype, begin| {
            b.state(StateInfo {
                name: name.to_owned(),
                shape: Vec::new(),
                dtype,
                kind: StateKind::Optimizer,
                init: Init::Fill(begin),
                layer: None,
            })
        };
        Scaler {
            scale: state(SCALE, DType::F32, FIRST_SCALE),
            good: state("scaler.good_updates", DType::U32, 0.0),
            skipped: state(SKIPPED, DType::U32, 0.0),
            in_a_row: state("scaler.skipped_in_a_row", DType::U32, 0.0),
        }
    }

    /// Divides gradients by the scale.
    pub fn unscale(&self, b: &mut Builder, grads: &mut [Value]) {
        let one = b.constant(1.0, &[]);
        let inverse = b.div(one, self.scale);
        for grad in grads {
            *grad = b.mul(*grad, inverse);
        }
    }

    /// Sets the scaler's state after an update, and the guard when too many have been skipped; gives whether this one
    /// is skipped, as a float.
    pub fn update(&self, b: &mut Builder, grads: &[Value], stop: Value) -> Value {
        let mut bad = b.constant(0.0, &[]);
        for &grad in grads {
            let wrong = b.unary(Unary::NonFinite, grad);
            let count = b.sum_all(wrong);
            bad = b.add(bad, count);
        }
        b.name(bad, "how many gradients are not finite");
        let [zero, one] = [0, 1].map(|value| b.constant_u32(value, &[]));

        let good = b.add(self.good, one);
        let interval = b.constant_u32(GROWTH_INTERVAL, &[]);
        let grows = b.binary(Binary::Equal, good, interval);
        let counted = b.select(grows, zero, good);
        let good = b.select(bad, zero, counted);

        let doubled = b.scale(self.scale, GROWTH);
        let too_large = b.unary(Unary::NonFinite, doubled);
        let doubled = b.select(too_large, self.scale, doubled);
        let kept = b.select(grows, doubled, self.scale);
        let halved = b.scale(self.scale, BACKOFF);
        let least = b.constant(1.0, &[]);
        let halved = b.binary(Binary::Max, halved, least);
        let scale = b.select(bad, halved, kept);

        let next = b.add(self.skipped, one);
        let skipped = b.select(bad, next, self.skipped);
        let next = b.add(self.in_a_row, one);
        let in_a_row = b.select(bad, next, zero);
        for (state, value) in
            [(self.good, good), (self.scale, scale), (self.skipped, skipped), (self.in_a_row, in_a_row)]
        {
            let id = b.state_of(state).unwrap_or_else(|| unreachable!("the scaler's numbers are states"));
            guarded_update(b, stop, id, value);
        }

        // The step that skips once too often ends the training; its number stays.
        let (_, step) = crate::library::random_inputs(b);
        let number = b.add(step, one);
        let most = b.constant_u32(MOST_SKIPS, &[]);
        let ends = b.binary(Binary::LessEqual, most, in_a_row);
        let now = b.select(ends, number, zero);
        let guard = b.states.find(GUARD).unwrap_or_else(|| unreachable!("the guard is declared"));
        guarded_update(b, stop, guard, now);
        let stopped_or_bad = b.add(stop, bad);
        let zero = b.constant(0.0, &[]);
        b.binary(Binary::Less, zero, stopped_or_bad)
    }
}
