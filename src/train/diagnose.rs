//! Finds the first tensor that was not finite, by computing the step again on the host.

use super::feed::{StepInputs, append};
use super::prepare::Prepared;
use crate::backend::{BackendError, Session};
use crate::check::program::Program;
use crate::data::Sampler;
use crate::data::load::Loaded;
use crate::formats::{Dataset, Samples, Targets};
use crate::ir::graph::count;
use crate::ir::interpret::{Environment, Tensor, interpret};
use crate::ir::{DType, Graph, InputId, InputInfo, Node, Op, StateId, StateKind, Value};
use crate::library::StepContext;
use crate::lower::{Mode, lower};
use crate::plan::Plan;

/// Steps with more multiply-adds than half of this are not computed again: the interpreter is slow and obvious.
const MOST_OPERATIONS: u64 = 400_000_000;

/// Nor are steps whose values have more elements than this, of 8 bytes each.
const MOST_ELEMENTS: usize = 1 << 26;

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
) -> Result<String, BackendError> {
    let mut states = Vec::new();
    for (index, info) in prepared.states.infos().iter().enumerate() {
        let words = session.read_state(StateId(index as u32))?;
        let values: Vec<f64> = words.iter().map(|&word| number(word, info.dtype)).collect();
        // Sums of metrics already have the loss that was not finite, and no other value comes from them.
        let values = if info.kind == StateKind::Metric { vec![0.0; values.len()] } else { values };
        if info.kind == StateKind::Weight && values.iter().any(|value| !value.is_finite()) {
            return Ok(format!("the weight `{}`; lower the learning rate", info.name));
        }
        states.push(Tensor::new(&info.shape, values));
    }
    let (update, position) = locate(program, part);
    let shape = program.run_shape();
    let train = &program.train;
    let rows = &loaded.rows[0];
    let Ok(mut sampler) = Sampler::new(rows.len(), train.batch, train.drop_last, train.seed) else {
        return Ok("the loss".to_owned());
    };
    sampler.shuffle((update / shape.steps_per_epoch) as u32 + 1);
    let batch = sampler.batch((update % shape.steps_per_epoch) as usize);
    let mut sizes = train.part_sizes(batch.len());
    let before: usize = sizes.by_ref().take(position).sum();
    let Some(size) = sizes.next() else { return Ok("the loss".to_owned()) };
    let part_rows = &batch[before..before + size];
    let samples: Vec<u32> = part_rows.iter().map(|&index| rows[index as usize]).collect();
    let step = prepared
        .steps
        .iter()
        .find(|step| {
            let trains = step.spec.split == "train" && step.spec.mode != Mode::Apply;
            trains && step.spec.batch == samples.len()
        })
        .unwrap_or_else(|| unreachable!("a training step of {} rows is prepared", samples.len()));
    let lr = program.rate_at(update).unwrap_or_else(|| unreachable!("a training has a learning rate"));
    let mut words = Vec::new();
    let plan = &prepared.plans[step.plan];
    let context = StepContext { step: update, lr };
    let share = samples.len() as f32 / batch.len() as f32;
    append(&mut words, plan, step, train.seed, &StepInputs { rows: &samples, number: part, share, context });

    let mut known = prepared.states.clone();
    let mut graph = lower(program, &step.spec, &mut known).graph;
    read_batch_only(&mut graph, samples.len());
    let operations: u64 = plan.kernels.iter().map(crate::plan::Kernel::flops).sum();
    let elements: usize = graph.nodes.iter().map(|node| count(&node.shape)).sum();
    if operations > MOST_OPERATIONS || elements > MOST_ELEMENTS {
        return Ok("the loss (the step is too large to be computed again for the tensor before it); \
                   lower the learning rate"
            .to_owned());
    }
    let inputs = graph.inputs.iter().map(|info| input(plan, &words, info)).collect();
    let dataset = &loaded.datasets[program.data.splits[0].source];
    let data = graph.data.iter().map(|info| rows_of(dataset, &info.name, &info.shape, &samples)).collect();
    let values = interpret(&graph, &Environment { states, data, inputs });
    Ok(match first_overflow(&graph, &values) {
        Some(value) => format!("{}; lower the learning rate or look at the data", describe(program, &graph, value)),
        None => "the loss, on this device only: computed again in f64 it is finite".to_owned(),
    })
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

/// An input of the step as its row has it; what the passes have found to be unused is 0.
fn input(plan: &Plan, words: &[u32], info: &InputInfo) -> Tensor {
    let size = count(&info.shape);
    if info.name == PLACES {
        return Tensor::new(&info.shape, (0..size).map(|place| place as f64).collect());
    }
    let found = plan.step.inputs.iter().find(|(name, ..)| *name == info.name);
    let data = found.map_or_else(
        || vec![0.0; size],
        |(_, offset, length, dtype)| words[*offset..offset + length].iter().map(|&word| number(word, *dtype)).collect(),
    );
    Tensor::new(&info.shape, data)
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

fn describe(program: &Program, graph: &Graph, value: Value) -> String {
    let node = graph.node(value);
    let named = graph.names.iter().find(|(other, _)| *other == value).map(|(_, name)| name.clone());
    if node.op == Op::Cast && node.dtype == DType::F16 {
        let stored = named.unwrap_or_else(|| describe(program, graph, node.operands[0]));
        return format!("{stored}, some of which are larger than 65,504, the largest number of 16 bits");
    }
    let what = named.unwrap_or_else(|| format!("a `{}`", node.op.name()));
    match node.layer.and_then(|layer| program.stages.get(layer as usize)) {
        Some(stage) => format!("{what} in `{}` ({})", stage.text, stage.path),
        None => what,
    }
}
