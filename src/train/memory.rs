//! Whether a program fits its device, known before anything is allocated.

use std::rc::Rc;

use super::prepare::{Memory, Prepared, prepare, prepare_batch, prepare_in};
use crate::backend::cpu;
use crate::backend::gpu::{self, Adapter};
use crate::check::for_each_layer;
use crate::check::program::{Precision, Program};
use crate::plan::{Fusion, Plan};

/// What a device can hold, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The device's name.
    pub device: String,
    /// All of it, if that is known.
    pub total: Option<u64>,
    /// The largest arena, if there is a limit of its own.
    pub arena: Option<u64>,
    /// Whether it is a GPU, whose kernels need memory beside the plan's.
    pub gpu: bool,
}

/// A program does not fit its device.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "the training needs {needed} of {what} on `{device}`, which has {available}; the largest tensors are {tensors}; {advice}"
)]
pub struct OutOfMemory {
    /// What is short: memory, or memory in one piece.
    pub what: &'static str,
    /// What is needed, with its unit.
    pub needed: String,
    /// What there is, with its unit.
    pub available: String,
    /// The device.
    pub device: String,
    /// The largest tensors with their sizes.
    pub tensors: String,
    /// What would fit.
    pub advice: String,
}

impl Limits {
    /// Of the machine's main memory: what the system says is available.
    pub fn of_cpu() -> Limits {
        Limits { device: "CPU".to_owned(), total: available_memory(), arena: None, gpu: false }
    }

    /// Of one of several replicas on an adapter: its largest buffer that a kernel can see, and its part of what memory
    /// the driver says that there is. That of a driver that computes on the CPU, and of a GPU without memory of its own, is
    /// main memory.
    pub fn of_adapter(adapter: &Adapter, replicas: usize) -> Limits {
        let arena = adapter.max_binding_bytes.min(adapter.max_buffer_bytes);
        let is_shared = adapter.software || adapter.kind == "integrated GPU";
        let main = if is_shared { available_memory() } else { None };
        let total = match (adapter.memory_bytes, main) {
            (Some(own), Some(main)) => Some(own.min(main)),
            (own, main) => own.or(main),
        };
        let total = total.map(|bytes| bytes / replicas.max(1) as u64);
        Limits { device: adapter.name.clone(), total, arena: Some(arena), gpu: true }
    }

    /// What plans for the device may fuse.
    pub fn fusion(&self) -> Fusion {
        if self.gpu { gpu::FUSION } else { cpu::FUSION }
    }
}

/// Bytes that can be taken without swapping; `None` where the system does not say.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Refuses a program that does not fit.
///
/// # Errors
/// When it does not, naming its largest tensors and the largest batch that would fit.
pub fn check_memory(program: &Program, prepared: &Prepared, limits: &Limits) -> Result<(), Box<OutOfMemory>> {
    let Some((what, needed, available)) = excess(prepared, limits) else { return Ok(()) };
    let tensors: Vec<String> = prepared
        .largest_tensors()
        .iter()
        .take(3)
        .map(|tensor| format!("{} ({})", tensor.name, show(tensor.bytes as u64)))
        .collect();
    let advice = match largest_batch(program, limits) {
        Some(batch) => format!("a batch of {batch} would fit, or `accumulate`, which processes a batch in parts"),
        None => "no batch would fit: make the model or the data smaller".to_owned(),
    };
    Err(Box::new(OutOfMemory {
        what,
        needed: show(needed),
        available: show(available),
        device: limits.device.clone(),
        tensors: tensors.join(", "),
        advice,
    }))
}

/// Prepares a program for each of several devices, once for those that fuse alike, and refuses it if it does not fit one.
///
/// # Errors
/// As [`check_memory`].
pub fn prepare_replicas(program: &Program, devices: &[Limits]) -> Result<Vec<Rc<Prepared>>, Box<OutOfMemory>> {
    let mut kinds: Vec<(Fusion, Rc<Prepared>)> = Vec::new();
    let mut all = Vec::new();
    for limits in devices {
        let known =
            kinds.iter().find(|(fusion, _)| *fusion == limits.fusion()).map(|(_, prepared)| Rc::clone(prepared));
        let prepared = known.unwrap_or_else(|| {
            let prepared = Rc::new(prepare(program, limits.fusion()));
            kinds.push((limits.fusion(), Rc::clone(&prepared)));
            prepared
        });
        check_memory(program, &prepared, limits)?;
        all.push(prepared);
    }
    Ok(all)
}

/// Settles `batch = auto`: the largest of [`Program::auto_batches`] whose plan fits. Gives the reason, for people;
/// `None` where the batch is known. Where none fits, the smallest is left to be refused by [`check_memory`].
pub fn settle_batch(program: &mut Program, limits: &Limits) -> Option<String> {
    let candidates = program.auto_batches();
    let smallest = *candidates.last()?;
    let mut reason = format!("the largest power of two in the {} training rows", program.data.splits[0].rows);
    let mut chosen = smallest;
    for batch in candidates {
        program.train.batch = batch;
        match excess(&prepare(program, limits.fusion()), limits) {
            None => {
                chosen = batch;
                break;
            }
            Some((what, needed, available)) => {
                let (needed, available) = (show(needed), show(available));
                let device = &limits.device;
                reason = format!("a batch of {batch} needs {needed} of {what} on `{device}`, which has {available}");
            }
        }
    }
    program.settle_batch(chosen);
    Some(format!("batch = auto is {chosen}: {reason}"))
}

/// Bytes on a GPU in this precision, whatever device and precision the program names.
pub fn memory_on_gpu(program: &Program, precision: Precision) -> Memory {
    with_scratch(&prepare_in(program, precision, gpu::FUSION))
}

/// Bytes of what was prepared for a GPU, whose kernels keep intermediate results behind the arena.
fn with_scratch(prepared: &Prepared) -> Memory {
    let arena = |plan: &Plan| (plan.arena_words + gpu::scratch_words(plan)) as u64 * 4;
    Memory { arena: prepared.plans.iter().map(arena).max().unwrap_or(0), ..prepared.memory() }
}

fn excess(prepared: &Prepared, limits: &Limits) -> Option<(&'static str, u64, u64)> {
    let memory = if limits.gpu { with_scratch(prepared) } else { prepared.memory() };
    let in_all = limits.total.filter(|&total| memory.total() > total);
    let in_one = limits.arena.filter(|&arena| memory.arena > arena);
    match (in_all, in_one) {
        (Some(total), _) => Some(("memory", memory.total(), total)),
        (None, Some(arena)) => Some(("memory in one piece", memory.arena, arena)),
        (None, None) => None,
    }
}

/// The largest batch up to the program's that fits, in as many parts as the program's: what one part takes is halved
/// until it fits, then grown by bisection.
fn largest_batch(program: &Program, limits: &Limits) -> Option<usize> {
    let fits = |batch: usize| excess(&prepare_batch(program, batch, limits.fusion()), limits).is_none();
    let micro = program.micro_batch();
    let (mut low, mut high) = (micro / 2, micro);
    while low > 0 && !fits(low) {
        (low, high) = (low / 2, low);
    }
    if low == 0 {
        return None;
    }
    // Near enough: one part in sixteen.
    while high - low > (low / 16).max(1) {
        let middle = low + (high - low) / 2;
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    // A batch that its parts do not divide would be refused, and so would a part of one row before a layer that
    // takes statistics over the batch.
    let accumulate = program.train.accumulate;
    let mut needs_batch = false;
    for_each_layer(&program.model, &mut |_, layer| needs_batch |= layer.item.needs_batch());
    let rows = program.data.splits[0].rows;
    let single = |part: usize| part == 1 || (!program.train.drop_last && rows % (part * accumulate) % part == 1);
    while needs_batch && low > 0 && single(low) {
        low -= 1;
    }
    (low > 0).then_some(low * accumulate)
}

fn show(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
