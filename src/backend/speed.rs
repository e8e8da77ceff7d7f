//! How fast a device is, roughly: a product of matrices and a copy, each for a moment.

use std::time::{Duration, Instant};

use super::{BackendError, Session, Setup};
use crate::ir::graph::Init;
use crate::ir::{DType, StateInfo, StateKind, States};
use crate::plan::{BufferRef, Kernel, KernelKind, Place, Plan};

/// What a device reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Floating-point operations of products a second.
    pub product: f64,
    /// Bytes read and written by copies a second.
    pub copy: f64,
}

/// Opens sessions on the device that is measured.
type Open<'a> = &'a dyn Fn(&Setup) -> Result<Box<dyn Session>, BackendError>;

/// A figure counts when it is from a run of at least so long.
const LONG_ENOUGH: Duration = Duration::from_millis(60);
/// The first and the last size that are tried; each is twice the one before.
const SIZES: [usize; 2] = [256, 4096];
/// Floats of a copy.
const COPIED: usize = 4 << 20;

/// Measures a device that `open` opens: squares of growing size until one takes long enough, then copies.
///
/// # Errors
/// When the device fails.
pub fn measure(open: Open) -> Result<Speed, BackendError> {
    let mut size = SIZES[0];
    let product = loop {
        let kernel = |[a, b, out]: [BufferRef; 3]| KernelKind::MatMul {
            m: size,
            n: size,
            k: size,
            transpose_a: false,
            transpose_b: false,
            a,
            b,
            out: out.into(),
        };
        let took = time(open, size * size, kernel)?;
        if took >= LONG_ENOUGH || size >= SIZES[1] {
            break 2.0 * (size as f64).powi(3) / took.as_secs_f64();
        }
        size *= 2;
    };
    let took = time(open, COPIED, |[from, _, to]| KernelKind::Copy { from, to })?;
    Ok(Speed { product, copy: 8.0 * COPIED as f64 / took.as_secs_f64() })
}

/// How long one step of a kernel over three tensors of `len` floats takes, the first one left out.
fn time(open: Open, len: usize, kernel: impl Fn([BufferRef; 3]) -> KernelKind) -> Result<Duration, BackendError> {
    let mut states = States::default();
    let tensors = ["a", "b", "out"].map(|name| {
        let id = states.declare(StateInfo {
            name: name.to_owned(),
            shape: vec![len],
            dtype: DType::F32,
            kind: StateKind::Buffer,
            init: Init::Fill(0.0),
            layer: None,
        });
        BufferRef { place: Place::State(id), len, dtype: DType::F32 }
    });
    let kernels = vec![Kernel { kind: kernel(tensors), name: "the speed test".to_owned() }];
    let plan = Plan { kernels, ..Plan::default() };
    let mut session = open(&Setup { plans: &[plan], states: &states, data: &[] })?;
    let mut run = |steps: u32| -> Result<Duration, BackendError> {
        let start = Instant::now();
        (0..steps).try_for_each(|_| session.run(0, &[]))?;
        session.wait()?;
        Ok(start.elapsed())
    };
    run(1)?;
    let once = run(1)?;
    // Several together, where one is lost in the time that a wait takes.
    let steps = (LONG_ENOUGH.as_secs_f64() / once.as_secs_f64().max(1e-6)).clamp(1.0, 64.0) as u32;
    Ok(run(steps)? / steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_measured() {
        let speed = measure(&|setup| crate::backend::cpu::open(setup, Some(1))).unwrap();
        // An unoptimized build on an old machine is still within these.
        assert!((1e6..1e13).contains(&speed.product), "{speed:?}");
        assert!((1e6..1e13).contains(&speed.copy), "{speed:?}");
    }
}
