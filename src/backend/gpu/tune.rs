//! Which tile each product is computed with: the one that follows from its sizes, or the fastest of a short measurement.
//!
//! The tile decides in which order terms are added, and so the last bits of results. A choice is therefore made once: it is
//! kept for the model of the adapter with its driver, on disk beside the pipelines, and taken from then on. All adapters of
//! a model take the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::{BackendError, Session, Setup};
use crate::ir::graph::Init;
use crate::ir::{DType, StateInfo, StateKind, States};
use crate::plan::{BufferRef, Kernel, KernelKind, Place, Plan};

use super::adapters::Adapter;
use super::cache::Remembered;
use super::device::Gpu;
use super::grants::Grants;
use super::launch::{Target, product_of};
use super::product::is_tiled;
use super::session::GpuSession;
use super::tile::Tile;

/// How the tiles of products are chosen on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// By their sizes and by what the adapter grants: whatever was measured, here or elsewhere.
    Fixed,
    /// The fastest of a short measurement, which is made once and remembered. Drivers that compute on the CPU have no tiles.
    Measured,
}

/// Tiles by the keys of their products; products that are not here have the usual one.
pub(super) type Choices = BTreeMap<String, Tile>;

/// The measurement of all products of a session takes about so long; those that are left have the usual tile, then and later.
const BUDGET: Duration = Duration::from_millis(1_200);
/// A figure is the least of runs of about so long.
const LONG_ENOUGH: Duration = Duration::from_millis(1);
const RUNS: usize = 3;
/// An idle device begins with a low clock, and takes about so long to raise it.
const WARM_UP: Duration = Duration::from_millis(60);
/// Products that are measured together at most, those with the most work: each has several kernels to be compiled.
const MOST_PRODUCTS: usize = 32;
/// What is remembered for an adapter is no longer.
const FILE_BYTES: u64 = 1 << 20;

/// The tiles for the products of plans on an adapter.
pub(super) fn choices(
    adapter: &Adapter,
    grants: Grants,
    plans: &[Plan],
    choice: Choice,
) -> Result<Choices, BackendError> {
    if choice == Choice::Fixed || adapter.software {
        return Ok(Choices::default());
    }
    static KNOWN: OnceLock<Mutex<HashMap<String, Choices>>> = OnceLock::new();
    let key = format!("{} {:?}", adapter.model_key(), Tile::all(grants));
    // Held while it is measured, so that replicas on equal adapters take what the first has found.
    let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let file = Remembered::of("products", &key, FILE_BYTES);
    let known = known.entry(key).or_default();
    settle(known, file.as_ref(), &products(plans, grants), &|| {
        let mut gpu = Gpu::open(adapter)?;
        gpu.grants = grants;
        Ok(gpu)
    })?;
    Ok(known.clone())
}

/// What was chosen before for the plans on an adapter; nothing is measured.
pub(super) fn remembered(adapter: &Adapter, grants: Grants, choice: Choice) -> Choices {
    if choice == Choice::Fixed || adapter.software {
        return Choices::default();
    }
    let key = format!("{} {:?}", adapter.model_key(), Tile::all(grants));
    Remembered::of("products", &key, FILE_BYTES).map(|file| read(&file, grants)).unwrap_or_default()
}

/// A product and what it is called.
pub(super) struct Known {
    key: String,
    kind: KernelKind,
    /// Multiplications.
    work: usize,
    candidates: Vec<Tile>,
}

/// Products on adapters that grant this.
pub(super) struct Products {
    grants: Grants,
    pub all: Vec<Known>,
}

/// The products of plans that are computed tile by tile on a GPU, each once, those with the most work first.
pub(super) fn products(plans: &[Plan], grants: Grants) -> Products {
    let target = Target { software: false, grants, choices: Choices::default(), data_slots: Vec::new(), scratch: 0 };
    let mut all: Vec<Known> = Vec::new();
    for kernel in plans.iter().flat_map(|plan| &plan.kernels) {
        let Some(product) = product_of(&kernel.kind).filter(|product| is_tiled(&target, product)) else { continue };
        let key = product.key();
        if all.iter().all(|known| known.key != key) {
            let work = product.parts * product.rows * product.columns * product.terms;
            all.push(Known { key, kind: kernel.kind.clone(), work, candidates: Tile::candidates(&product, grants) });
        }
    }
    all.sort_by_key(|known| std::cmp::Reverse(known.work));
    Products { grants, all }
}

/// Makes the choices that are not known yet: those of the file, else by a measurement whose result goes into the file.
pub(super) fn settle(
    known: &mut Choices,
    file: Option<&Remembered>,
    products: &Products,
    open: &dyn Fn() -> Result<Gpu, BackendError>,
) -> Result<(), BackendError> {
    let take = |known: &mut Choices| {
        for (key, tile) in file.map(|file| read(file, products.grants)).unwrap_or_default() {
            known.entry(key).or_insert(tile);
        }
    };
    take(known);
    let missing: Vec<&Known> = products.all.iter().filter(|product| !known.contains_key(&product.key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let measured = match measure(&missing, open) {
        Ok(measured) => measured,
        // Not measured then, nor remembered: next time there may be room.
        Err(BackendError::TooLarge { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    // Another process may have measured meanwhile; the first choice holds.
    take(known);
    for (product, tile) in missing.iter().zip(measured) {
        known.entry(product.key.clone()).or_insert(tile);
    }
    if let Some(file) = file {
        let mut text = write(known);
        if text.len() as u64 > FILE_BYTES {
            let own = |key: &String| products.all.iter().any(|product| product.key == *key);
            text = write(&known.iter().filter(|(key, _)| own(key)).map(|(key, tile)| (key.clone(), *tile)).collect());
        }
        file.write(text.as_bytes());
    }
    Ok(())
}

/// Lines of a product and its tile.
fn write(choices: &Choices) -> String {
    choices.iter().map(|(key, tile)| format!("{key}\t{}\n", tile.name())).collect()
}

/// What [`write`] wrote; nothing if the file has anything else.
fn read(file: &Remembered, grants: Grants) -> Choices {
    let tiles = Tile::all(grants);
    let line = |line: &str| {
        let (key, name) = line.split_once('\t')?;
        Some((key.to_owned(), *tiles.iter().find(|tile| tile.name() == name)?))
    };
    let text = file.read().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    text.lines().map(line).collect::<Option<_>>().unwrap_or_default()
}

/// The fastest tile of each product.
fn measure(products: &[&Known], open: &dyn Fn() -> Result<Gpu, BackendError>) -> Result<Vec<Tile>, BackendError> {
    let measured = &products[..products.len().min(MOST_PRODUCTS)];
    let mut states = States::default();
    let mut operands = Operands::default();
    for product in measured {
        operands.grow(&product.kind);
    }
    let operands = operands.declare(&mut states);
    // A plan for each tile of each product.
    let mut plans = Vec::new();
    let mut choices = Vec::new();
    for product in measured {
        for tile in &product.candidates {
            let kernels =
                vec![Kernel { kind: operands.of(&product.kind), name: format!("a trial of {}", tile.name()) }];
            plans.push(Plan { kernels, packs_halves: true, ..Plan::default() });
            choices.push(Choices::from([(product.key.clone(), *tile)]));
        }
    }
    let setup = Setup { plans: &plans, states: &states, data: &[] };
    let mut session = GpuSession::with_choices(&setup, open()?, &|number| &choices[number])?;
    let begin = Instant::now();
    while begin.elapsed() < WARM_UP {
        session.repeat(0, 1)?;
        session.wait()?;
    }
    let begin = Instant::now();
    let mut number = 0;
    let mut best = Vec::new();
    for product in measured {
        // The candidates in turn, again and again: a clock that changes meets all of them.
        let mut took = vec![Duration::MAX; product.candidates.len()];
        for _ in 0..RUNS {
            for (index, least) in took.iter_mut().enumerate() {
                if begin.elapsed() < BUDGET {
                    *least = time(&mut session, number + index)?.min(*least);
                }
            }
        }
        number += took.len();
        // A part of the candidates says nothing.
        let is_whole = !took.contains(&Duration::MAX);
        let fastest = took.iter().enumerate().min_by_key(|(_, took)| **took).filter(|_| is_whole);
        best.push(product.candidates[fastest.map_or(0, |(index, _)| index)]);
    }
    best.extend(products[measured.len()..].iter().map(|product| product.candidates[0]));
    Ok(best)
}

/// How long one run of a plan takes, of several together.
fn time(session: &mut GpuSession, plan: usize) -> Result<Duration, BackendError> {
    let mut run = |times: u64| -> Result<Duration, BackendError> {
        let start = Instant::now();
        session.repeat(plan, times)?;
        session.wait()?;
        Ok(start.elapsed())
    };
    let once = run(1)?.min(run(1)?);
    if once > 4 * LONG_ENOUGH {
        return Ok(once);
    }
    let times = (LONG_ENOUGH.as_secs_f64() / once.as_secs_f64().max(1e-6)).clamp(1.0, 64.0) as u64;
    Ok(run(times)? / times as u32)
}

/// Memory that all trials share.
#[derive(Clone, Default)]
struct Operands {
    /// Elements of the longest left operand, right operand (each of 32 and of 16 bits) and result.
    lengths: [[usize; 2]; 3],
    buffers: Vec<[BufferRef; 2]>,
}

impl Operands {
    fn grow(&mut self, kind: &KernelKind) {
        let product = product_of(kind).unwrap_or_else(|| unreachable!("only products are measured"));
        let [(_, left), (_, right)] = &product.reads;
        for (length, buffer) in self.lengths.iter_mut().zip([left, right]) {
            let length = &mut length[usize::from(buffer.dtype == DType::F16)];
            *length = buffer.len.max(*length);
        }
        let result = &mut self.lengths[2][0];
        *result = (product.parts * product.rows * product.columns).max(*result);
    }

    fn declare(mut self, states: &mut States) -> Operands {
        for (index, lengths) in self.lengths.iter().enumerate() {
            let mut state = |len: usize, dtype| {
                let id = states.declare(StateInfo {
                    name: format!("operand {index} {dtype:?}"),
                    shape: vec![len],
                    dtype,
                    kind: StateKind::Buffer,
                    init: Init::Fill(0.0),
                    layer: None,
                });
                BufferRef { place: Place::State(id), len, dtype }
            };
            self.buffers.push([state(lengths[0], DType::F32), state(lengths[1], DType::F16)]);
        }
        self
    }

    /// The product with these operands, without an epilogue.
    fn of(&self, kind: &KernelKind) -> KernelKind {
        let operand = |index: usize, buffer: &BufferRef| BufferRef {
            len: buffer.len,
            ..self.buffers[index][usize::from(buffer.dtype == DType::F16)]
        };
        let mut kind = kind.clone();
        let result = self.buffers[2][0];
        match &mut kind {
            KernelKind::MatMul { a, b, out, .. }
            | KernelKind::Conv2d { x: a, weight: b, out, .. }
            | KernelKind::Conv2dInputGrad { weight: a, grad: b, out, .. }
            | KernelKind::Conv2dWeightGrad { x: a, grad: b, out, .. } => {
                (*a, *b, *out) = (operand(0, a), operand(1, b), result.into());
            }
            _ => unreachable!("only products are measured"),
        }
        kind
    }
}
