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
use crate::ir::{DType, Graph, Op, StateId, StateKind, Value};
use crate::library::StepContext;
use crate::lower::lower;

/// Steps with more work than this are not computed again: the interpreter is slow and obvious.
const MAX_WORK: u64 = 2_000_000_000;

/// The update that a part of an update belongs to.
pub(super) fn update_of(program: &Program, part: u32) -> u64 {
    locate(program, part).0
}

/// The update and the position in it of a part, by its number.
fn locate(program: &Program, part: u32) -> (u64, usize) {
    let shape = program.run_shape();
    let rows = program.data.splits[0].rows;
    let micro = program.micro_batch();
    let whole = program.train.accumulate as u64;
    let rest = if program.train.drop_last { 0 } else { rows % program.train.batch };
    let in_last = if rest == 0 { whole } else { rest.div_ceil(micro) as u64 };
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
        // Sums of metrics have the bad loss in them already; the step is computed as from 0.
        let is_metric = info.kind == StateKind::Metric;
        let values: Vec<f64> =
            words.iter().map(|&word| if is_metric { 0.0 } else { number(word, info.dtype) }).collect();
        if values.iter().any(|value| !value.is_finite()) && info.kind == StateKind::Weight {
            return Ok(format!("the weight `{}` is not finite; lower the learning rate", info.name));
        }
        states.push(Tensor::new(&info.shape, values));
    }
    let (update, position) = locate(program, part);
    let shape = program.run_shape();
    let train = &program.train;
    let rows = &loaded.rows[0];
    let Ok(mut sampler) = Sampler::new(rows.len(), train.batch, train.drop_last, train.seed) else {
        return Ok("the loss itself".to_owned());
    };
    sampler.shuffle((update / shape.steps_per_epoch) as u32 + 1);
    let batch = sampler.batch((update % shape.steps_per_epoch) as usize);
    let Some(part_rows) = batch.chunks(program.micro_batch()).nth(position) else {
        return Ok("the loss itself".to_owned());
    };
    let samples: Vec<u32> = part_rows.iter().map(|&index| rows[index as usize]).collect();
    let step = prepared
        .steps
        .iter()
        .find(|step| step.spec.split == "train" && step.spec.batch == samples.len())
        .unwrap_or_else(|| unreachable!("a training step of {} rows is prepared", samples.len()));
    let lr = program.schedule.item.learning_rate(program.optimizer.item.learning_rate(), update, &shape);
    let mut words = Vec::new();
    let plan = &prepared.plans[step.plan];
    let context = StepContext { step: update, lr };
    append(&mut words, plan, step, train.seed, &StepInputs { rows: &samples, number: part, share: 1.0, context });
    let work: u64 = plan.kernels.iter().map(crate::plan::Kernel::flops).sum();
    if work > MAX_WORK {
        return Ok(
            "the step is too large to be computed again for the first tensor; lower the learning rate".to_owned()
        );
    }

    let mut known = prepared.states.clone();
    let mut graph = lower(program, &step.spec, &mut known).graph;
    shrink_data(&mut graph, &samples);
    let inputs = plan
        .step
        .inputs
        .iter()
        .zip(&graph.inputs)
        .map(|((_, offset, length, dtype), info)| {
            let values = words[*offset..offset + length].iter().map(|&word| number(word, *dtype)).collect();
            Tensor::new(&info.shape, values)
        })
        .collect::<Vec<Tensor>>();
    let inputs = renumbered(&graph, inputs);
    let dataset = &loaded.datasets[program.data.splits[0].source];
    let data = graph.data.iter().map(|info| rows_of(dataset, &info.name, &info.shape, &samples)).collect();
    let values = interpret(&graph, &Environment { states, data, inputs });
    Ok(match first_overflow(&graph, &values) {
        Some(value) => {
            format!("first {}; lower the learning rate or look at the data", describe(program, &graph, value))
        }
        None => "all tensors are finite when computed in f64; lower the learning rate".to_owned(),
    })
}

fn number(word: u32, dtype: DType) -> f64 {
    if dtype == DType::U32 { f64::from(word) } else { f64::from(f32::from_bits(word)) }
}

/// Lets the graph read the batch's own rows instead of the whole data set, which as f64 would be large.
fn shrink_data(graph: &mut Graph, samples: &[u32]) {
    for info in &mut graph.data {
        info.shape[0] = samples.len();
    }
    for node in &mut graph.nodes {
        if matches!(node.op, Op::Data(_)) {
            node.shape[0] = samples.len();
        }
    }
}

/// The inputs with the rows of the batch numbered from 0, as the shrunk data has them.
///
/// Augmentations draw by the number of a sample; a batch computed again draws others. What is not finite does not
/// come from them.
fn renumbered(graph: &Graph, mut inputs: Vec<Tensor>) -> Vec<Tensor> {
    for (info, tensor) in graph.inputs.iter().zip(&mut inputs) {
        if info.name == "rows" {
            tensor.data = (0..count(&info.shape)).map(|row| row as f64).collect();
        }
    }
    inputs
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

/// The first value with an element that is not finite, or too large for single precision.
fn first_overflow(graph: &Graph, values: &[Tensor]) -> Option<Value> {
    let fits = |value: &f64| value.abs() <= f64::from(f32::MAX);
    graph.values().find(|&value| {
        let is_constant = matches!(graph.node(value).op, Op::Constant(_));
        !is_constant && !values[value.index()].data.iter().all(fits)
    })
}

fn describe(program: &Program, graph: &Graph, value: Value) -> String {
    let node = graph.node(value);
    let named = graph.names.iter().find(|(other, _)| *other == value).map(|(_, name)| name.clone());
    let what = named.unwrap_or_else(|| format!("a `{}`", node.op.name()));
    match node.layer.and_then(|layer| program.stages.get(layer as usize)) {
        Some(stage) => format!("{what} in `{}` ({})", stage.text, stage.path),
        None => what,
    }
}
