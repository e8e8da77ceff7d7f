//! Finds the first tensor that was not finite, by computing the step again on the host.

use super::prepare::Prepared;
use crate::backend::{BackendError, Session};
use crate::check::program::{Program, Stage};
use crate::data::Sampler;
use crate::data::load::Loaded;
use crate::diagnostic::{Code, Diagnostic};
use crate::formats::{Dataset, Samples, Targets};
use crate::ir::graph::count;
use crate::ir::interpret::{Environment, Tensor, interpret};
use crate::ir::random::split_seed;
use crate::ir::{DType, Graph, InputId, InputInfo, Node, Op, StateId, StateInfo, StateKind, States, Value};
use crate::library::{StepContext, StepScalar};
use crate::lower::scaler::SCALE;
use crate::lower::{Lowered, Mode, SAMPLES, StepSpec, lower};
use crate::source::Span;

/// The training ended because something was not finite.
const NOT_FINITE: Code = Code("E0408");

/// What is computed again has at most half as many multiply-adds.
const MOST_OPERATIONS: u64 = 400_000_000;

/// Nor do its values have more elements than this, of 8 bytes each.
const MOST_ELEMENTS: usize = 1 << 26;

/// Samples of a large step are computed again so many times.
const MOST_PARTS: usize = 8;

/// The largest number of 16 bits.
const LARGEST_HALF: f64 = 65_504.0;

/// And at least so many each time: statistics of a batch need two.
const FEWEST: usize = 2;

/// The update that a part of an update belongs to.
pub(super) fn update_of(program: &Program, part: u32) -> u64 {
    locate(program, part).0
}

/// The update and the position in it of a part, by its number.
fn locate(program: &Program, part: u32) -> (u64, usize) {
    let shape = program.run_shape();
    let rows = program.data.splits[0].rows;
    let parts_of = |samples: usize| program.train.part_sizes(samples).len() as u64;
    let whole = parts_of(program.train.batch);
    let rest = if program.train.drop_last { 0 } else { rows % program.train.batch };
    let in_last = if rest == 0 { whole } else { parts_of(rest) };
    let per_epoch = (shape.steps_per_epoch - 1) * whole + in_last;
    let (epoch, within) = (u64::from(part) / per_epoch, u64::from(part) % per_epoch);
    let update = (within / whole).min(shape.steps_per_epoch - 1);
    (epoch * shape.steps_per_epoch + update, (within - update * whole) as usize)
}

/// The tensor that was not finite first.
pub(super) struct Culprit {
    /// Which it is, for people.
    pub what: String,
    /// What to do, if that is known.
    pub advice: Option<&'static str>,
    /// Where the layer is written, or whatever else the tensor is from.
    pub span: Span,
}

impl Culprit {
    /// The loss, of which no more is known.
    fn loss(program: &Program, more: &str) -> Culprit {
        Culprit { what: format!("the loss{more}"), advice: Some("lower the learning rate"), span: program.loss.span }
    }

    /// A weight, or a running statistic.
    pub fn state(program: &Program, info: &StateInfo) -> Culprit {
        let span = stage_of(program, info.layer).map_or(program.loss.span, |stage| stage.span);
        let kind = if info.kind == StateKind::Weight { "weight" } else { "statistic" };
        Culprit { what: format!("the {kind} `{}`", info.name), advice: Some("lower the learning rate"), span }
    }

    /// That a training has ended by it: what happened, and what comes before the tensor's name.
    pub fn diagnostic(self, happened: String, before: &str) -> Diagnostic {
        let said = Diagnostic::error(NOT_FINITE, self.span, happened).label(format!("{before} {}", self.what));
        Diagnostic { help: self.advice.map(str::to_owned), ..said }
    }
}

/// What can be said of the part of an update whose loss was not finite. The device holds the states from before it.
///
/// # Errors
/// When the device fails.
pub(super) fn diagnose(
    program: &Program,
    prepared: &Prepared,
    loaded: &Loaded,
    session: &mut dyn Session,
    part: u32,
) -> Result<Culprit, BackendError> {
    let mut states = Vec::new();
    for (index, info) in prepared.states.infos().iter().enumerate() {
        let words = session.read_state(StateId(index as u32))?;
        let values: Vec<f64> = words.iter().map(|&word| number(word, info.dtype)).collect();
        // Sums of metrics already have the loss that was not finite, and no other value comes from them.
        let values = if info.kind == StateKind::Metric { vec![0.0; values.len()] } else { values };
        if info.kind == StateKind::Weight && values.iter().any(|value| !value.is_finite()) {
            return Ok(Culprit::state(program, info));
        }
        states.push(Tensor::new(&info.shape, values));
    }
    let (update, position) = locate(program, part);
    let shape = program.run_shape();
    let train = &program.train;
    let rows = &loaded.rows[0];
    let Ok(mut sampler) = Sampler::new(rows.len(), train.batch, train.drop_last, train.seed) else {
        return Ok(Culprit::loss(program, ""));
    };
    sampler.shuffle((update / shape.steps_per_epoch) as u32 + 1);
    let batch = sampler.batch((update % shape.steps_per_epoch) as usize);
    let mut sizes = train.part_sizes(batch.len());
    let before: usize = sizes.by_ref().take(position).sum();
    let Some(size) = sizes.next() else { return Ok(Culprit::loss(program, "")) };
    let samples: Vec<u32> = batch[before..before + size].iter().map(|&index| rows[index as usize]).collect();
    let is_last = before + size == batch.len() && !train.is_parallel();
    let mode = if is_last { Mode::Update } else { Mode::Accumulate };
    let lr = program.rate_at(update).unwrap_or_else(|| unreachable!("a training has a learning rate"));
    let context = StepContext { step: update, lr };
    let given = |scalars: &[StepScalar], info: &InputInfo, rows: &[u32]| {
        let seed = split_seed(train.seed);
        let scalar = || scalars.iter().find(|scalar| scalar.name == info.name);
        let data: Vec<f64> = match info.name.as_str() {
            PLACES => (0..rows.len()).map(|place| place as f64).collect(),
            "rows" => rows.iter().map(|&row| f64::from(row)).collect(),
            "seed_low" => vec![f64::from(seed[0])],
            "seed_high" => vec![f64::from(seed[1])],
            "step" => vec![f64::from(part)],
            "share" => vec![samples.len() as f64 / batch.len() as f64],
            other => {
                let scalar = scalar().unwrap_or_else(|| unreachable!("`{other}` is a scalar of the step"));
                vec![f64::from((scalar.value)(&context) as f32)]
            }
        };
        Tensor::new(&info.shape, data)
    };

    // All of the step if it is small enough for the interpreter, else as many samples as are, several times.
    let mut known = prepared.states.clone();
    let mut few = samples.len();
    let mut lowered = lower_rows(program, mode, few, &mut known);
    while !is_small(&lowered.graph) && few > FEWEST {
        few = (few / 2).max(FEWEST);
        lowered = lower_rows(program, mode, few, &mut known);
    }
    if !is_small(&lowered.graph) {
        return Ok(Culprit::loss(
            program,
            " (a few samples are too much to be computed again for the tensor before it)",
        ));
    }
    // The mean over fewer samples has larger gradients: the scale of the loss makes up for it.
    if let Some(scale) = prepared.states.find(SCALE) {
        states[scale.index()].data[0] *= few as f64 / samples.len() as f64;
    }
    let graph = &lowered.graph;
    let dataset = &loaded.datasets[program.data.splits[0].source];
    let mut tried = 0;
    for rows in samples.chunks_exact(few).take(MOST_PARTS) {
        let inputs = graph.inputs.iter().map(|info| given(&lowered.scalars, info, rows)).collect();
        let data = graph.data.iter().map(|info| rows_of(dataset, &info.name, &info.shape, rows)).collect();
        let values = interpret(graph, &Environment { states: states.clone(), data, inputs });
        if let Some(value) = first_overflow(graph, &values) {
            let from = origin(graph, &values, value);
            let mut what = describe(program, &known, graph, from);
            if graph.dtype(value) == DType::F16 {
                what += ", some of which are larger than 65,504, the largest number of 16 bits";
            }
            let advice = Some("lower the learning rate or look at the data");
            return Ok(Culprit { what, advice, span: span_of(program, graph, from) });
        }
        tried += few;
    }
    let more = if tried < samples.len() {
        format!(" (of {tried} of its {} samples, computed again in f64, every tensor is finite)", samples.len())
    } else {
        ", on this device only: computed again in f64 it is finite".to_owned()
    };
    Ok(Culprit { advice: None, ..Culprit::loss(program, &more) })
}

/// The step on so many samples, which are all the data that it sees.
fn lower_rows(program: &Program, mode: Mode, samples: usize, states: &mut States) -> Lowered {
    let spec = StepSpec { mode, split: "train".to_owned(), batch: samples };
    let mut lowered = lower(program, &spec, states);
    read_batch_only(&mut lowered.graph, samples);
    lowered
}

/// Whether the interpreter, which is slow and obvious, can compute a graph in a few seconds.
fn is_small(graph: &Graph) -> bool {
    let operations = |node: &Node| -> u64 {
        let size = count(&node.shape) as u64;
        match &node.op {
            Op::MatMul { transpose_a, .. } => {
                let left = graph.shape(node.operands[0]);
                2 * size * left[usize::from(!*transpose_a)] as u64
            }
            Op::Conv2d(g) | Op::Conv2dInputGrad(g) | Op::Conv2dWeightGrad(g) => {
                let taps = g.channels / g.groups * g.kernel[0] * g.kernel[1];
                2 * (count(&g.output_shape()) * taps) as u64
            }
            _ => 0,
        }
    };
    let elements: usize = graph.nodes.iter().map(|node| count(&node.shape)).sum();
    graph.nodes.iter().map(operations).sum::<u64>() <= MOST_OPERATIONS && elements <= MOST_ELEMENTS
}

/// The first value with an element that is not finite or too large for an `f32`, as which a device has it.
fn first_overflow(graph: &Graph, values: &[Tensor]) -> Option<Value> {
    let is_bad = |number: &f64| number.is_nan() || number.abs() > f64::from(f32::MAX);
    graph.values().find(|&value| {
        // Constants are meant to be what they are.
        let meant = matches!(graph.node(value).op, Op::Constant(_));
        !meant && values[value.index()].data.iter().any(is_bad)
    })
}

fn number(word: u32, dtype: DType) -> f64 {
    if dtype == DType::U32 { f64::from(word) } else { f64::from(f32::from_bits(word)) }
}

/// The name of the input that numbers the rows of the batch itself.
pub(super) const PLACES: &str = "places";

/// Lets the graph read the batch's own rows instead of the whole data set, which as f64 would be large. Random numbers
/// are still drawn by the rows' own numbers.
pub(super) fn read_batch_only(graph: &mut Graph, samples: usize) {
    let id = InputId(graph.inputs.len() as u32);
    graph.inputs.push(InputInfo { name: PLACES.to_owned(), shape: vec![samples], dtype: DType::U32 });
    let shift = |value: &mut Value| value.0 += 1;
    for node in &mut graph.nodes {
        node.operands.iter_mut().for_each(shift);
        match node.op {
            Op::Data(_) => node.shape[0] = samples,
            Op::GatherRows | Op::SampleImage { .. } => node.operands[1] = Value(0),
            _ => {}
        }
    }
    graph.updates.iter_mut().for_each(|(_, value)| shift(value));
    graph.names.iter_mut().for_each(|(value, _)| shift(value));
    let places = Node { op: Op::Input(id), operands: vec![], shape: vec![samples], dtype: DType::U32, layer: None };
    graph.nodes.insert(0, places);
    graph.data.iter_mut().for_each(|info| info.shape[0] = samples);
}

fn rows_of(dataset: &Dataset, name: &str, shape: &[usize], samples: &[u32]) -> Tensor {
    let width = count(&shape[1..]);
    let at = |row: u32, column: usize| row as usize * width + column;
    let pick = |get: &dyn Fn(usize) -> f64| {
        samples.iter().flat_map(|&row| (0..width).map(move |column| at(row, column))).map(get).collect()
    };
    let data: Vec<f64> = if name.ends_with(".samples") {
        match &dataset.samples {
            Samples::U8(bytes) => pick(&|index| f64::from(bytes[index])),
            Samples::F32(values) => pick(&|index| f64::from(values[index])),
        }
    } else {
        match &dataset.targets {
            Targets::Classes { labels, .. } => pick(&|index| f64::from(labels[index])),
            Targets::Values { data, .. } => pick(&|index| f64::from(data[index])),
        }
    };
    Tensor::new(shape, data)
}

/// Where the numbers come from that 16 bits cannot hold: what is stored may be an activation of what a layer has added up.
fn origin(graph: &Graph, values: &[Tensor], stored: Value) -> Value {
    let is_large = |value: Value| values[value.index()].data.iter().any(|number| number.abs() > LARGEST_HALF);
    let is_named = |value: Value| graph.names.iter().any(|(other, _)| *other == value);
    let mut at = stored;
    while graph.dtype(stored) == DType::F16 && !is_named(at) && !is_product(&graph.node(at).op) {
        let operands = &graph.node(at).operands;
        let next = operands.iter().find(|&&operand| graph.dtype(operand) == DType::F32 && is_large(operand));
        match next {
            Some(&operand) => at = operand,
            None => break,
        }
    }
    at
}

fn is_product(op: &Op) -> bool {
    matches!(op, Op::MatMul { .. } | Op::Conv2d(_) | Op::Conv2dInputGrad(_) | Op::Conv2dWeightGrad(_))
}

fn describe(program: &Program, states: &States, graph: &Graph, value: Value) -> String {
    let node = graph.node(value);
    let named = graph.names.iter().find(|(other, _)| *other == value).map(|(_, name)| name.clone());
    let what = named.unwrap_or_else(|| match node.op {
        Op::State(id) => format!("`{}`", states.info(id).name),
        _ => format!("a `{}`", node.op.name()),
    });
    match stage_of(program, node.layer) {
        Some(stage) => format!("{what} in `{}` ({})", stage.text, stage.path),
        None => what,
    }
}

fn stage_of(program: &Program, layer: Option<u32>) -> Option<&Stage> {
    layer.and_then(|layer| program.stages.get(layer as usize))
}

/// Where it is written what a value comes from: its layer, the data, or the loss.
fn span_of(program: &Program, graph: &Graph, value: Value) -> Span {
    let node = graph.node(value);
    let is_sample = |other: Value| graph.names.iter().any(|(value, name)| *value == other && name == SAMPLES);
    match stage_of(program, node.layer) {
        Some(stage) => stage.span,
        None if is_sample(value) || node.operands.iter().any(|&operand| is_sample(operand)) => {
            program.data.splits[0].span
        }
        None => program.loss.span,
    }
}
