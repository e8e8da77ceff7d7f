//! A program to graphs: one for each kind of step.

pub mod scaler;

use crate::check::program::{Join, ModelNode, Normalize, Precision, Program};
use crate::ir::graph::{DataInfo, Init, StateInfo, StateKind};
use crate::ir::{Binary, Builder, DType, Graph, StateId, States, Unary, Value};
use crate::library::{
    Augmentation, Coordinates, ImageBuilder, ModelBuilder, Regularizer, Role, StepScalar, TargetType, UpdateBuilder,
};
use crate::passes::differentiate::differentiate;
use crate::passes::precision::store_halves;
use crate::passes::storage::store_weights;
use crate::schema::Made;
use scaler::Scaler;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Computes gradients and updates the weights.
    Update,
    /// Computes gradients and adds them up for a later update.
    Accumulate,
    /// Updates the weights by the gradients that have been added up.
    Apply,
    /// Measures.
    Evaluate,
    /// Leaves the model's output in the state `output`.
    Predict,
}

impl Mode {
    /// Whether it is part of a training, with augmentation, dropout and statistics of the batch.
    pub fn trains(self) -> bool {
        matches!(self, Mode::Update | Mode::Accumulate | Mode::Apply)
    }
}

/// A kind of step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepSpec {
    /// What it does.
    pub mode: Mode,
    /// The split that it reads.
    pub split: String,
    /// How many samples it takes.
    pub batch: usize,
}

/// A step as a graph.
pub struct Lowered {
    /// The graph.
    pub graph: Graph,
    /// The scalars that the host computes for each step.
    pub scalars: Vec<StepScalar>,
}

/// The name of the state that holds `1 + step` of the step that ended the training, or 0: the first whose loss was not
/// finite or, in mixed precision, the one that was skipped as one too many in a row.
pub const GUARD: &str = "guard.first_bad_step";

/// The name of the value that the model is given.
pub const SAMPLES: &str = "the samples";

/// The name of the state in which a metric of a split is summed.
pub fn metric_state(split: &str, metric: &str) -> String {
    format!("metric.{split}.{metric}")
}

/// Lowers one kind of step. States are declared in `states` as they occur.
pub fn lower(program: &Program, spec: &StepSpec, states: &mut States) -> Lowered {
    lower_in(program, spec, program.train.precision, states)
}

/// As [`lower`], in this precision whatever the program says: for comparison.
pub fn lower_in(program: &Program, spec: &StepSpec, precision: Precision, states: &mut States) -> Lowered {
    let training = spec.mode.trains();
    let mut builder = Builder::new(std::mem::take(states));
    // Whatever weights are stored as, it is the last thing to be decided.
    builder.states.store_as(StateKind::Weight, DType::F32);
    let rows = builder.input("rows", &[spec.batch], DType::U32);
    let samples = lower_samples(program, spec, precision, &mut builder, rows);
    builder.name(samples, SAMPLES);
    let mut model = ModelBuilder::new(builder, training);
    model.together = spec.mode == Mode::Accumulate && program.train.runs_together();
    let mut weights = Weights::default();
    let mut labels = Vec::new();
    let output = lower_nodes(&mut model, &program.model, program, samples, &mut weights, &mut labels);
    let mut builder = model.graph;
    builder.layer = None;
    builder.name(output, "the model's output");

    let mut scalars = Vec::new();
    let mut gradients = Vec::new();
    if spec.mode == Mode::Predict {
        set_state(&mut builder, "output", StateKind::Metric, output);
    } else {
        let targets = lower_targets(program, spec, &mut builder, rows);
        let loss = program.loss.item.lower(&mut builder, output, targets);
        builder.name(loss, "the loss");
        if spec.mode == Mode::Apply {
            // The model only says which weights there are; nothing of it is computed.
            builder.graph.updates.clear();
        } else {
            lower_metrics(program, spec, &mut builder, [output, targets, loss]);
        }
        if training {
            let objective = add_penalties(program, &mut builder, &weights, loss);
            let scaler = (precision == Precision::Mixed).then(|| Scaler::new(&mut builder));
            let losses = [loss, objective];
            gradients = lower_update(program, spec, &mut builder, &weights, losses, scaler.as_ref(), &mut scalars);
        }
    }
    match precision {
        Precision::F32 => {}
        Precision::Mixed => store_halves(&mut builder.graph, &gradients),
        Precision::F16Storage => store_weights(&mut builder.graph, &mut builder.states),
    }
    *states = std::mem::take(&mut builder.states);
    Lowered { graph: builder.graph, scalars }
}

/// Lowers the measurement of a training's health on a batch: for each weight the square of its gradient's norm, for each
/// activation the share of units that are 0 for the whole batch. It trains nothing.
pub fn lower_health(program: &Program, batch: usize, states: &mut States) -> Graph {
    let spec = StepSpec { mode: Mode::Accumulate, split: "train".to_owned(), batch };
    let mut builder = Builder::new(std::mem::take(states));
    let rows = builder.input("rows", &[batch], DType::U32);
    let samples = lower_samples(program, &spec, Precision::F32, &mut builder, rows);
    let mut model = ModelBuilder::new(builder, true);
    let mut weights = Weights::default();
    let output = lower_nodes(&mut model, &program.model, program, samples, &mut weights, &mut Vec::new());
    let mut b = model.graph;
    b.layer = None;
    let targets = lower_targets(program, &spec, &mut b, rows);
    let loss = program.loss.item.lower(&mut b, output, targets);
    let objective = add_penalties(program, &mut b, &weights, loss);
    let values: Vec<Value> = weights.all.iter().map(|(_, weight, _)| *weight).collect();
    let grads = differentiate(&mut b, objective, &values);
    // Running statistics stay as they are.
    b.graph.updates.clear();
    for (&grad, (id, ..)) in grads.iter().zip(&weights.all) {
        let name = format!("health.gradient {}", b.states.info(*id).name);
        let square = b.mul(grad, grad);
        let sum = b.sum_all(square);
        set_state(&mut b, &name, StateKind::Metric, sum);
    }
    for &(stage, value) in &weights.activations {
        let name = format!("health.dead {}", program.stages[stage].path);
        let units = b.shape(value)[1];
        let size = b.unary(Unary::Abs, value);
        let others: Vec<usize> = (0..b.shape(value).len()).filter(|&axis| axis != 1).collect();
        let sum = b.sum(size, &others);
        let (zero, one) = (b.like(sum, 0.0), b.like(sum, 1.0));
        let dead = b.select(sum, zero, one);
        let dead = b.sum_all(dead);
        let share = b.scale(dead, 1.0 / units as f64);
        set_state(&mut b, &name, StateKind::Metric, share);
    }
    *states = std::mem::take(&mut b.states);
    b.graph
}

/// What a state of [`lower_health`] is (`gradient` or `dead`), and of which weight or stage.
pub fn health_state(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("health.")?.split_once(' ')
}

/// The weights of a model, with the layer's own penalty if it has one, and the results of its activations by stage.
#[derive(Default)]
struct Weights<'a> {
    all: Vec<(StateId, Value, Option<&'a dyn Regularizer>)>,
    activations: Vec<(usize, Value)>,
}

/// Reads the batch: gathers, augments and normalizes.
fn lower_samples(program: &Program, spec: &StepSpec, precision: Precision, b: &mut Builder, rows: Value) -> Value {
    let source = program.source_of(&spec.split);
    let header = &source.header;
    let dtype = match precision {
        _ if header.bytes => DType::U8,
        Precision::F16Storage => DType::F16,
        Precision::F32 | Precision::Mixed => DType::F32,
    };
    let mut shape = vec![header.rows];
    shape.extend(&header.sample_shape);
    let data = b.data(DataInfo { name: format!("{}.samples", source.name), shape, dtype });
    let raw = if program.augment.is_empty() {
        b.gather_rows(data, rows)
    } else {
        lower_images(&program.augment, b, data, rows, &header.sample_shape, spec.mode.trains())
    };
    let scaled = if dtype == DType::U8 { b.scale(raw, 1.0 / 255.0) } else { raw };
    if program.data.normalize == Normalize::None {
        return scaled;
    }
    let shape = b.shape(scaled).to_vec();
    let channels = shape[1];
    let mut statistic = |name: &str, fill: f64| {
        let info = StateInfo {
            name: format!("data.{name}"),
            shape: vec![channels],
            dtype: DType::F32,
            kind: StateKind::Buffer,
            init: Init::Fill(fill),
            layer: None,
        };
        let value = b.state(info);
        b.broadcast_axis(value, 1, &shape)
    };
    let (mean, std) = (statistic("mean", 0.0), statistic("std", 1.0));
    let centred = b.sub(scaled, mean);
    b.div(centred, std)
}

/// Samples images through the composed transforms: coordinates run from the last transform back to the data.
///
/// `data` is `[n, C, H, W]` of images, `rows` are those of the batch; the result is `[batch, C, H′, W′]`.
pub fn lower_images(
    augment: &[Made<dyn Augmentation>],
    b: &mut Builder,
    data: Value,
    rows: Value,
    sample_shape: &[usize],
    training: bool,
) -> Value {
    let mut sizes = vec![[sample_shape[1], sample_shape[2]]];
    let mut current = crate::library::Type::features(sample_shape);
    for made in augment {
        current = made.item.infer(&current).unwrap_or_else(|_| unreachable!("augmentations are checked"));
        sizes.push([current.shape[1], current.shape[2]]);
    }
    let mut images = ImageBuilder::new(b, rows);
    let [height, width] = sizes[augment.len()];
    let grid = [images.batch, height, width];
    let mut at = {
        let [y, x] = [1, 2].map(|axis| images.graph.iota(axis, &grid));
        Coordinates { y: images.graph.cast(y, DType::F32), x: images.graph.cast(x, DType::F32) }
    };
    let mut inside: Option<Value> = None;
    for (position, made) in augment.iter().enumerate().rev() {
        let (input, output) = (sizes[position], sizes[position + 1]);
        let before = at;
        at = if training {
            made.item.lower(&mut images, input, output, at)
        } else {
            made.item.lower_evaluation(&mut images, input, output, at)
        };
        if at.y != before.y || at.x != before.x {
            let within = is_inside(images.graph, at, input);
            inside = Some(inside.map_or(within, |other| images.graph.mul(other, within)));
        }
    }
    let bilinear = images.bilinear && training;
    let pixels = b.sample_image(data, rows, at.y, at.x, bilinear);
    let Some(inside) = inside else { return pixels };
    let shape = b.shape(pixels).to_vec();
    let inside = b.reshape(inside, &[shape[0], 1, shape[2], shape[3]]);
    let inside = b.broadcast(inside, &shape);
    // What lies outside the image is black, before normalization, as in torchvision.
    let black = b.constant(0.0, &shape);
    b.select(inside, pixels, black)
}

/// 1 where coordinates lie in the image, up to half a pixel beyond its outer pixels' centres.
fn is_inside(b: &mut Builder, at: Coordinates, size: [usize; 2]) -> Value {
    let mut all = None;
    for (value, size) in [(at.y, size[0]), (at.x, size[1])] {
        let low = b.like(value, -0.5);
        let high = b.like(value, size as f64 - 0.5);
        let above = b.binary(Binary::LessEqual, low, value);
        let below = b.binary(Binary::LessEqual, value, high);
        let both = b.mul(above, below);
        all = Some(all.map_or(both, |other| b.mul(other, both)));
    }
    all.unwrap_or_else(|| unreachable!("two axes"))
}

fn lower_targets(program: &Program, spec: &StepSpec, b: &mut Builder, rows: Value) -> Value {
    let source = program.source_of(&spec.split);
    let name = format!("{}.targets", source.name);
    let rows_of_source = source.header.rows;
    let (shape, dtype) = match program.data.targets {
        TargetType::Classes(_) => (vec![rows_of_source], DType::U32),
        TargetType::Values(width) => (vec![rows_of_source, width], DType::F32),
    };
    let data = b.data(DataInfo { name, shape, dtype });
    b.gather_rows(data, rows)
}

fn lower_nodes<'a>(
    model: &mut ModelBuilder,
    nodes: &'a [ModelNode],
    program: &'a Program,
    input: Value,
    weights: &mut Weights<'a>,
    labels: &mut Vec<Option<Value>>,
) -> Value {
    let mut value = input;
    for node in nodes {
        value = match node {
            ModelNode::Layer { stage, layer } => {
                model.path = program.stages[*stage].path.clone();
                model.graph.layer = Some(*stage as u32);
                let result = layer.item.lower(model, value);
                for (id, weight) in model.declared.drain(..) {
                    weights.all.push((id, weight, layer.item.regularization()));
                }
                if matches!(layer.item.role(), Role::Activation { .. }) && model.graph.shape(result).len() > 1 {
                    weights.activations.push((*stage, result));
                }
                result
            }
            ModelNode::Residual { stage, main, shortcut } => {
                let left = lower_nodes(model, main, program, value, weights, labels);
                let right = lower_nodes(model, shortcut, program, value, weights, labels);
                model.graph.layer = Some(*stage as u32);
                model.graph.add(left, right)
            }
            ModelNode::Branch { stage, arms, join } => {
                let ends: Vec<Value> =
                    arms.iter().map(|arm| lower_nodes(model, arm, program, value, weights, labels)).collect();
                model.graph.layer = Some(*stage as u32);
                meet(&mut model.graph, *join, &ends)
            }
            ModelNode::Keep { label } => {
                if labels.len() <= *label {
                    labels.resize(label + 1, None);
                }
                labels[*label] = Some(value);
                value
            }
            ModelNode::Use { label } => kept(labels, *label),
            ModelNode::Meet { stage, labels: others, join } => {
                let ends: Vec<Value> =
                    std::iter::once(value).chain(others.iter().map(|label| kept(labels, *label))).collect();
                model.graph.layer = Some(*stage as u32);
                meet(&mut model.graph, *join, &ends)
            }
        };
    }
    value
}

fn kept(labels: &[Option<Value>], label: usize) -> Value {
    labels.get(label).copied().flatten().unwrap_or_else(|| unreachable!("a checked label is kept before its use"))
}

fn meet(b: &mut Builder, join: Join, ends: &[Value]) -> Value {
    match join {
        Join::Concat => b.concat(ends, 1),
        Join::Add => ends[1..].iter().fold(ends[0], |sum, &end| b.add(sum, end)),
    }
}

/// Sets a state that is a copy of a value, without reading it.
fn set_state(b: &mut Builder, name: &str, kind: StateKind, value: Value) {
    let (shape, dtype) = (b.shape(value).to_vec(), b.graph.dtype(value));
    let info = StateInfo { name: name.to_owned(), shape, dtype, kind, init: Init::Fill(0.0), layer: None };
    let id = b.states.declare(info);
    b.update(id, value);
}

/// Adds a value to a metric's sum.
fn add_to_metric(b: &mut Builder, name: String, value: Value) {
    let shape = b.shape(value).to_vec();
    let info =
        StateInfo { name, shape, dtype: DType::F32, kind: StateKind::Metric, init: Init::Fill(0.0), layer: None };
    let sum = b.state(info);
    let id = b.state_of(sum).unwrap_or_else(|| unreachable!("a metric's sum is a state"));
    let next = b.add(sum, value);
    b.update(id, next);
}

fn lower_metrics(program: &Program, spec: &StepSpec, b: &mut Builder, [output, targets, loss]: [Value; 3]) {
    let of_batch = b.scale(loss, spec.batch as f64);
    add_to_metric(b, metric_state(&spec.split, "loss"), of_batch);
    for metric in &program.metrics {
        let sum = metric.item.lower(b, output, targets);
        add_to_metric(b, metric_state(&spec.split, &metric.item.name()), sum);
    }
}

/// The loss with the penalties of the program and of single layers, which apply to matrices and filters.
fn add_penalties(program: &Program, b: &mut Builder, weights: &Weights, loss: Value) -> Value {
    let mut objective = loss;
    for &(_, weight, own) in &weights.all {
        if b.shape(weight).len() < 2 {
            continue;
        }
        let whole = program.regularization.as_ref().map(|made| &*made.item);
        for regularizer in [whole, own].into_iter().flatten() {
            let penalty = regularizer.penalty(b, weight);
            objective = b.add(objective, penalty);
        }
    }
    objective
}

/// Gives the gradients of the weights, as the differentiation left them.
fn lower_update(
    program: &Program,
    spec: &StepSpec,
    b: &mut Builder,
    weights: &Weights,
    [loss, objective]: [Value; 2],
    scaler: Option<&Scaler>,
    scalars: &mut Vec<StepScalar>,
) -> Vec<Value> {
    let values: Vec<Value> = weights.all.iter().map(|(_, weight, _)| *weight).collect();
    let raw = if spec.mode == Mode::Apply {
        Vec::new()
    } else {
        let objective = scaler.map_or(objective, |scaler| b.mul(objective, scaler.scale));
        differentiate(b, objective, &values)
    };
    let mut grads = raw.clone();
    for (grad, (id, ..)) in grads.iter().zip(&weights.all) {
        let name = format!("the gradient of `{}`", b.states.info(*id).name);
        b.name(*grad, name);
    }
    let stop = match scaler {
        None if spec.mode != Mode::Apply => lower_guard(b, loss),
        _ => {
            let guard = guard_state(b);
            b.cast(guard, DType::F32)
        }
    };
    if program.train.parts() > 1 || program.train.is_parallel() {
        grads = add_up(spec, b, weights, &grads, stop);
    }
    let skip = match (scaler, spec.mode) {
        (Some(scaler), Mode::Update | Mode::Apply) => {
            scaler.unscale(b, &mut grads);
            scaler.update(b, &grads, stop)
        }
        _ => stop,
    };
    update_statistics(b, stop, scaler.is_some());

    if spec.mode == Mode::Accumulate {
        return raw;
    }
    if let Some(limit) = program.train.clip_norm {
        clip(b, &mut grads, limit);
    }
    for (&(id, weight, _), &grad) in weights.all.iter().zip(&grads) {
        let info = b.states.info(id);
        let (weight_name, layer) = (info.name.clone(), info.layer);
        b.layer = layer;
        let mut update = UpdateBuilder { graph: b, scalars, weight_name, layer, slots: Vec::new() };
        let next = program.optimizer.item.lower(&mut update, weight, grad);
        let slots = std::mem::take(&mut update.slots);
        for (slot, value) in slots {
            guarded_update(b, skip, slot, value);
        }
        guarded_update(b, skip, id, next);
    }
    b.layer = None;
    raw
}

/// Guards running statistics. A step whose gradients overflow moves them, as in PyTorch, where the forward pass has done so
/// before anyone looks at gradients. But where that pass itself has overflown, which PyTorch's statistics never recover from,
/// an element that is not finite stays what it was.
fn update_statistics(b: &mut Builder, stop: Value, scaled: bool) {
    let is_buffer = |b: &Builder, id: StateId| b.states.info(id).kind == StateKind::Buffer;
    let buffers: Vec<(StateId, Value)> = b.graph.updates.iter().copied().filter(|(id, _)| is_buffer(b, *id)).collect();
    for (id, value) in buffers {
        b.graph.updates.retain(|(other, _)| *other != id);
        let wrong = if scaled {
            let bad = b.unary(Unary::NonFinite, value);
            b.add(bad, stop)
        } else {
            stop
        };
        guarded_update(b, wrong, id, value);
    }
}

/// The name of the state in which gradients of a weight are added up.
pub fn gradient_state(weight: &str) -> String {
    format!("optimizer.accumulated.{weight}")
}

/// Adds gradients to those of the parts before; what updates the weights goes on with the sums, which begin anew.
fn add_up(spec: &StepSpec, b: &mut Builder, weights: &Weights, grads: &[Value], stop: Value) -> Vec<Value> {
    let mut sums = Vec::new();
    for (index, (id, ..)) in weights.all.iter().enumerate() {
        let info = b.states.info(*id).clone();
        let name = gradient_state(&info.name);
        let sum = b.state(StateInfo { name, kind: StateKind::Optimizer, init: Init::Fill(0.0), ..info });
        let next = match grads.get(index) {
            Some(&grad) => {
                let share = b.input("share", &[], DType::F32);
                let part = b.mul(grad, share);
                b.add(sum, part)
            }
            None => sum,
        };
        let sum_id = b.state_of(sum).unwrap_or_else(|| unreachable!("the sum of gradients is a state"));
        if spec.mode == Mode::Accumulate {
            guarded_update(b, stop, sum_id, next);
        } else {
            let zero = b.like(next, 0.0);
            b.update(sum_id, zero);
        }
        sums.push(next);
    }
    sums
}

/// The number of the step that ended the training, or 0: declares and reads [`GUARD`].
pub fn guard_state(b: &mut Builder) -> Value {
    b.state(StateInfo {
        name: GUARD.to_owned(),
        shape: Vec::new(),
        dtype: DType::U32,
        kind: StateKind::Metric,
        init: Init::Fill(0.0),
        layer: None,
    })
}

/// Remembers the first step whose loss is not finite; the result is not 0 from then on.
fn lower_guard(b: &mut Builder, loss: Value) -> Value {
    let before = guard_state(b);
    let id = b.state_of(before).unwrap_or_else(|| unreachable!("the guard is a state"));
    let (_, step) = crate::library::random_inputs(b);
    let one = b.constant_u32(1, &[]);
    let number = b.add(step, one);
    let bad = b.unary(Unary::NonFinite, loss);
    let zero = b.constant_u32(0, &[]);
    let now = b.select(bad, number, zero);
    let was = b.cast(before, DType::F32);
    let next = b.select(was, before, now);
    b.update(id, next);
    b.cast(next, DType::F32)
}

/// Sets a state, unless training has been stopped by a loss that is not finite.
fn guarded_update(b: &mut Builder, stop: Value, id: StateId, value: Value) {
    let info = b.states.info(id);
    let (shape, dtype) = (info.shape.clone(), info.dtype);
    let old = b.read_state(id, shape, dtype);
    let next = b.select(stop, old, value);
    b.update(id, next);
}

/// Scales all gradients so that their global norm is at most `limit`, as `torch.nn.utils.clip_grad_norm_`.
pub fn clip(b: &mut Builder, grads: &mut [Value], limit: f64) {
    let mut total = b.constant(0.0, &[]);
    for &grad in grads.iter() {
        let square = b.mul(grad, grad);
        let sum = b.sum_all(square);
        total = b.add(total, sum);
    }
    let norm = b.unary(Unary::Sqrt, total);
    b.name(norm, "the norm of the gradient");
    let norm = b.offset(norm, 1e-6);
    let limit = b.constant(limit, &[]);
    let ratio = b.div(limit, norm);
    let one = b.constant(1.0, &[]);
    let factor = b.binary(Binary::Min, ratio, one);
    for grad in grads {
        *grad = b.mul(*grad, factor);
    }
}
