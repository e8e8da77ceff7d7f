//! The executor of plans on any GPU: WGSL through wgpu.

mod adapters;
mod body;
mod cache;
mod check;
mod conv;
mod device;
mod dispatch;
#[cfg(debug_assertions)]
mod fault;
mod grants;
mod identity;
mod launch;
mod layout;
mod matrix_tile;
mod pipelines;
mod pointwise;
mod pool;
mod product;
mod reduce;
mod session;
mod source;
mod space;
#[cfg(test)]
mod tests;
mod tile;
mod tune;

use crate::plan::Fusion;

/// What plans for this executor may fuse.
pub const FUSION: Fusion = Fusion { epilogues: true, deviations: false, chains: false, packs_halves: true };

pub use adapters::{Adapter, adapters, all, matching, select};
pub use check::{Check, has_native_halves, self_test};
pub use device::{STACK_BYTES, is_hung};
pub use launch::{scratch_words, wgsl, wgsl_on};
pub use session::open;
pub use tune::Choice;
