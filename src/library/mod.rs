//! What the language knows: one file an item, one list a kind, reached only through these tables.

pub mod augmentations;
pub mod initializers;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod optimizers;
pub mod reference;
pub mod regularizers;
pub mod schedules;
pub mod sources;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use crate::formats::dataset::{Dataset, Header, Targets};
use crate::formats::error::FormatError;
use crate::formats::files::Files;
use crate::ir::graph::{Init, StateInfo, StateKind};
use crate::ir::{Builder, DType, Shape, StateId, States, Value};
use crate::schema::Duration;

/// What the numbers of a value mean, so that losses can tell logits from probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Anything: pixels, features, scores.
    Features,
    /// Shares that add up to 1 along the class axis: after `softmax`.
    Distribution,
    /// Each a probability of its own: after `sigmoid`.
    Probabilities,
}

/// The type of a value between two layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Sizes without the batch axis: `[C, H, W]` for images, `[F]` for features.
    pub shape: Shape,
    /// What the numbers mean.
    pub meaning: Meaning,
}

impl Type {
    /// Features of this shape.
    pub fn features(shape: impl Into<Shape>) -> Type {
        Type { shape: shape.into(), meaning: Meaning::Features }
    }

    /// How it reads in a message: `[batch, 1, 28, 28]`.
    pub fn show(&self) -> String {
        let sizes: Vec<String> = self.shape.iter().map(usize::to_string).collect();
        if sizes.is_empty() { "[batch]".to_owned() } else { format!("[batch, {}]", sizes.join(", ")) }
    }
}

/// Why an item does not fit the value before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShapeError {
    /// What is expected and what was found: "`conv2d` takes [batch, channels, height, width], found [batch, 128]".
    pub message: String,
    /// The parameter to point at; the whole call if `None`.
    pub param: Option<&'static str>,
    /// Arithmetic that explains: "(28 + 2·0 − 30)/1 + 1 = −1".
    pub note: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl ShapeError {
    /// An error about the whole call.
    pub fn new(message: impl Into<String>) -> ShapeError {
        ShapeError { message: message.into(), ..ShapeError::default() }
    }

    /// Points at a parameter.
    pub fn at(mut self, param: &'static str) -> ShapeError {
        self.param = Some(param);
        self
    }

    /// Adds the arithmetic.
    pub fn note(mut self, note: impl Into<String>) -> ShapeError {
        self.note = Some(note.into());
        self
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> ShapeError {
        self.help = Some(help.into());
        self
    }
}

/// What kind of work a layer does; lints ask for it, since they know no item by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Multiplies by learned weights.
    Weights,
    /// Bends each number.
    Activation {
        /// Whether large inputs give nearly no gradient.
        saturates: bool,
    },
    /// Brings numbers to mean 0 and variance 1.
    Normalization,
    /// Zeroes a random share.
    Dropout,
    /// Anything else: pooling, other shapes.
    Other,
}

/// A layer of the model.
pub trait Layer: std::fmt::Debug {
    /// The type of the result for an input type.
    fn infer(&self, input: &Type) -> Result<Type, ShapeError>;

    /// Appends the layer to the graph; `input` has the batch axis first.
    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value;

    /// Whether the layer computes statistics over the batch when training, which one value cannot give.
    fn needs_batch(&self) -> bool {
        false
    }

    /// Whether these statistics are to be those of all devices that train together.
    fn is_synchronized(&self) -> bool {
        false
    }

    /// A penalty on the layer's own weights, in addition to the program's.
    fn regularization(&self) -> Option<&dyn Regularizer> {
        None
    }

    /// What kind of work it does.
    fn role(&self) -> Role {
        Role::Other
    }

    /// Whether the result is the input itself, always.
    fn changes_nothing(&self, _input: &Type) -> bool {
        false
    }

    /// Whether the layer, applied to its own result, changes nothing.
    fn is_idempotent(&self) -> bool {
        false
    }
}

/// What a layer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Trained numbers.
    pub parameters: u64,
    /// Operations of products and convolutions on one sample, two for each multiply-add.
    pub flops: u64,
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |a, b| Cost { parameters: a.parameters + b.parameters, flops: a.flops + b.flops })
    }
}

/// The cost of a layer on an input of this type, which it has inferred a result for.
pub fn cost(layer: &dyn Layer, input: &Type) -> Cost {
    let mut graph = Builder::new(States::default());
    let shape: Shape = std::iter::once(1).chain(input.shape.iter().copied()).collect();
    let value = graph.input("input", &shape, DType::F32);
    let mut model = ModelBuilder::new(graph, false);
    layer.lower(&mut model, value);
    let states = model.graph.states.infos().iter();
    let parameters = states
        .filter(|info| info.kind == StateKind::Weight)
        .map(|info| info.shape.iter().product::<usize>() as u64)
        .sum();
    let graph = &model.graph.graph;
    Cost { parameters, flops: graph.values().map(|value| graph.flops(value)).sum() }
}

/// What a model is lowered into: the graph, and where in the model we are.
pub struct ModelBuilder {
    /// The graph.
    pub graph: Builder,
    /// Whether the step trains: dropout is on, batch norm uses the batch's statistics.
    pub training: bool,
    /// Whether several devices run the step together, and may exchange what they have.
    pub together: bool,
    /// The dotted path of the current layer: `model.3`.
    pub path: String,
    /// Weights declared so far by the current layer.
    pub declared: Vec<(StateId, Value)>,
    next_stream: u32,
}

/// Random streams of layers begin here; augmentations use smaller numbers.
const FIRST_LAYER_STREAM: u32 = 1000;

impl ModelBuilder {
    /// A builder at the start of the model.
    pub fn new(graph: Builder, training: bool) -> ModelBuilder {
        ModelBuilder {
            graph,
            training,
            together: false,
            path: "model".to_owned(),
            declared: Vec::new(),
            next_stream: FIRST_LAYER_STREAM,
        }
    }

    /// A trained tensor of the current layer, named `path.name`.
    pub fn weight(&mut self, name: &str, shape: &[usize], init: Init) -> Value {
        let value = self.declare(name, shape, StateKind::Weight, init);
        let id = self.graph.state_of(value).unwrap_or_else(|| unreachable!("a weight is a state"));
        self.declared.push((id, value));
        value
    }

    /// A tensor of the current layer that is part of the model but not trained, named `path.name`.
    pub fn buffer(&mut self, name: &str, shape: &[usize], init: Init) -> Value {
        self.declare(name, shape, StateKind::Buffer, init)
    }

    fn declare(&mut self, name: &str, shape: &[usize], kind: StateKind, init: Init) -> Value {
        let name = format!("{}.{name}", self.path);
        let layer = self.graph.layer;
        self.graph.state(StateInfo { name, shape: shape.to_vec(), dtype: DType::F32, kind, init, layer })
    }

    /// Sets a buffer at the end of the step, when training.
    pub fn update_buffer(&mut self, buffer: Value, value: Value) {
        if let Some(id) = self.graph.state_of(buffer) {
            self.graph.update(id, value);
        }
    }

    /// Uniform numbers in `[0, 1)` of this shape, new at every step.
    pub fn random(&mut self, shape: &[usize]) -> Value {
        let stream = self.next_stream;
        self.next_stream += 1;
        let index = self.element_index(shape);
        let (seed, step) = random_inputs(&mut self.graph);
        self.graph.random(stream, seed, step, index)
    }

    fn element_index(&mut self, shape: &[usize]) -> Value {
        let mut index = self.graph.constant_u32(0, shape);
        let mut stride = 1;
        for axis in (0..shape.len()).rev() {
            if shape[axis] > 1 {
                let position = self.graph.iota(axis, shape);
                let stride_value = self.graph.constant_u32(stride, shape);
                let part = self.graph.mul(position, stride_value);
                index = self.graph.add(index, part);
            }
            stride *= shape[axis] as u32;
        }
        index
    }
}

/// The seed's words and the number of the step, as the host gives them.
pub fn random_inputs(graph: &mut Builder) -> ([Value; 2], Value) {
    let low = graph.input("seed_low", &[], DType::U32);
    let high = graph.input("seed_high", &[], DType::U32);
    let step = graph.input("step", &[], DType::U32);
    ([low, high], step)
}

/// What the targets of the data are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetType {
    /// One class of so many; `u32 [batch]`.
    Classes(usize),
    /// So many numbers; `f32 [batch, n]`.
    Values(usize),
}

/// A loss.
pub trait Loss: std::fmt::Debug {
    /// Whether it compares numbers by their difference, and so has no use for probabilities.
    fn is_regression(&self) -> bool {
        false
    }

    /// Whether each class counts with a weight of its own; `None` where it knows no classes.
    fn weighs_classes(&self) -> Option<bool> {
        None
    }

    /// Whether the loss takes this output of the model and these targets.
    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError>;

    /// The mean loss over the batch, a scalar. `output` is `[batch, …]`; targets are `u32 [batch]` or `f32 [batch, n]`.
    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value;
}

/// A penalty on weights.
pub trait Regularizer: std::fmt::Debug {
    /// The factor of the squared penalty; 0 where it has none.
    fn squared(&self) -> f64 {
        0.0
    }

    /// Whether it is always 0.
    fn changes_nothing(&self) -> bool {
        false
    }

    /// The penalty of one weight tensor, a scalar.
    fn penalty(&self, graph: &mut Builder, weight: Value) -> Value;
}

/// What the host knows when it computes a scalar for a step.
#[derive(Clone, Copy, Debug)]
pub struct StepContext {
    /// Updates done before this one.
    pub step: u64,
    /// The learning rate of this update.
    pub lr: f64,
}

/// A scalar that the host computes in f64 for each step and the device reads as f32.
#[derive(Clone)]
pub struct StepScalar {
    /// The name of the graph's input.
    pub name: String,
    /// Its value.
    pub value: Arc<dyn Fn(&StepContext) -> f64 + Send + Sync>,
}

/// What an optimizer is lowered into, for one weight.
pub struct UpdateBuilder<'a> {
    /// The graph.
    pub graph: &'a mut Builder,
    /// Scalars that the host computes for each step.
    pub scalars: &'a mut Vec<StepScalar>,
    /// The weight's name.
    pub weight_name: String,
    /// The weight's stage.
    pub layer: Option<u32>,
    /// Slots set in this step, with their new values.
    pub slots: Vec<(StateId, Value)>,
}

impl UpdateBuilder<'_> {
    /// A tensor kept for this weight from step to step, as `optimizer.name.weight`.
    pub fn slot(&mut self, name: &str, shape: &[usize], fill: f64) -> Value {
        let info = StateInfo {
            name: format!("optimizer.{name}.{}", self.weight_name),
            shape: shape.to_vec(),
            dtype: DType::F32,
            kind: StateKind::Optimizer,
            init: Init::Fill(fill),
            layer: self.layer,
        };
        self.graph.state(info)
    }

    /// Sets a slot at the end of the step.
    pub fn set_slot(&mut self, slot: Value, value: Value) {
        let id = self.graph.state_of(slot).unwrap_or_else(|| unreachable!("a slot is a state"));
        self.slots.push((id, value));
    }

    /// A scalar that the host computes for each step, in f64; shared by all weights under its name.
    pub fn scalar(&mut self, name: &str, value: impl Fn(&StepContext) -> f64 + Send + Sync + 'static) -> Value {
        if self.scalars.iter().all(|scalar| scalar.name != name) {
            self.scalars.push(StepScalar { name: name.to_owned(), value: Arc::new(value) });
        }
        self.graph.input(name, &[], DType::F32)
    }

    /// A scalar broadcast to the shape of `like`.
    pub fn spread(&mut self, scalar: Value, like: Value) -> Value {
        let shape = self.graph.shape(like).to_vec();
        self.graph.broadcast(scalar, &shape)
    }
}

/// How an optimizer draws weights to 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// Not at all.
    None,
    /// By adding so many times the weight to the gradient.
    Coupled(f64),
    /// By taking away so large a share of the weight, times the learning rate, beside the gradient's step.
    Decoupled(f64),
}

/// A rule by which gradients change weights.
pub trait Optimizer: std::fmt::Debug {
    /// The lowest and the highest learning rate that are usual.
    fn usual_rates(&self) -> [f64; 2] {
        [0.0, f64::INFINITY]
    }

    /// Whether each weight's step is divided by the size of its own gradients.
    fn is_adaptive(&self) -> bool {
        false
    }

    /// How it draws weights to 0.
    fn decay(&self) -> Decay {
        Decay::None
    }

    /// The learning rate before the schedule; `None` where it is to be found by a range test.
    fn learning_rate(&self) -> Option<f64>;

    /// Whether the parameters go together.
    ///
    /// # Errors
    /// When they do not, saying which.
    fn check(&self) -> Result<(), ShapeError> {
        Ok(())
    }

    /// The new weight.
    fn lower(&self, update: &mut UpdateBuilder, weight: Value, grad: Value) -> Value;
}

/// Sizes of the training that a schedule may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunShape {
    /// Updates in one epoch.
    pub steps_per_epoch: u64,
    /// Updates in all.
    pub total_steps: u64,
}

/// How the learning rate changes.
pub trait Schedule: std::fmt::Debug {
    /// The learning rate of an update (counted from 0) without warm-up; `base` is the optimizer's.
    fn rate(&self, base: f64, step: u64, run: &RunShape) -> f64;

    /// For so long the rate rises linearly from nearly 0.
    fn warmup(&self) -> Duration;

    /// Whether the rate is meant to stay.
    fn is_constant(&self) -> bool {
        false
    }

    /// After so many updates, given by the user, the rate has arrived where it stays.
    fn length(&self, _run: &RunShape) -> Option<u64> {
        None
    }

    /// The rate at which it is meant to arrive.
    fn target(&self) -> Option<f64> {
        None
    }

    /// The rate with warm-up: in its first `W` updates, update `t` has the share `(t + 1)/W` of [`Schedule::rate`].
    fn learning_rate(&self, base: f64, step: u64, run: &RunShape) -> f64 {
        let warmup = self.warmup().steps(run.steps_per_epoch);
        let rate = self.rate(base, step, run);
        if step < warmup { rate * (step + 1) as f64 / warmup as f64 } else { rate }
    }
}

/// How a weight begins.
pub trait Initializer: std::fmt::Debug {
    /// The distribution for a weight with so many inputs and outputs to each of its units.
    fn init(&self, fan_in: usize, fan_out: usize) -> Init;
}

/// A transform of training images. Geometric ones map coordinates; all of a pipeline's are composed, so that each
/// image is resampled once.
pub trait Augmentation: std::fmt::Debug {
    /// The image type after the transform; images are `[C, H, W]`.
    fn infer(&self, input: &Type) -> Result<Type, ShapeError>;

    /// Whether left and right may change places.
    fn mirrors(&self) -> bool {
        false
    }

    /// Whether no image is ever changed.
    fn changes_nothing(&self, _input: &Type) -> bool {
        false
    }

    /// For each pixel of the transformed image, where it comes from in the image before.
    fn lower(&self, images: &mut ImageBuilder, input: [usize; 2], output: [usize; 2], at: Coordinates) -> Coordinates;

    /// The same when measuring: nothing is random, and transforms that change the size take the centre.
    fn lower_evaluation(
        &self,
        images: &mut ImageBuilder,
        input: [usize; 2],
        output: [usize; 2],
        at: Coordinates,
    ) -> Coordinates {
        let offset = [0, 1].map(|axis| (input[axis] as f64 - output[axis] as f64) / 2.0);
        if offset == [0.0, 0.0] {
            return at;
        }
        // Half pixels round to even, as in torchvision's centre crop.
        Coordinates {
            y: images.graph.offset(at.y, offset[0].round_ties_even()),
            x: images.graph.offset(at.x, offset[1].round_ties_even()),
        }
    }
}

/// Coordinates in an image, in pixels from its first row and column; each `f32 [batch, height, width]`.
#[derive(Clone, Copy, Debug)]
pub struct Coordinates {
    /// Rows.
    pub y: Value,
    /// Columns.
    pub x: Value,
}

/// What augmentations are lowered into.
pub struct ImageBuilder<'a> {
    /// The graph.
    pub graph: &'a mut Builder,
    /// The index of each sample of the batch in the data set: `u32 [batch]`.
    pub rows: Value,
    /// The batch size.
    pub batch: usize,
    /// Whether some transform asks for linear interpolation.
    pub bilinear: bool,
    next_stream: u32,
}

impl<'a> ImageBuilder<'a> {
    /// A builder before the first augmentation.
    pub fn new(graph: &'a mut Builder, rows: Value) -> ImageBuilder<'a> {
        let batch = graph.shape(rows)[0];
        ImageBuilder { graph, rows, batch, bilinear: false, next_stream: 1 }
    }

    /// One uniform number in `[low, high)` for each sample, `f32 [batch]`; depends on the seed, the epoch's step and
    /// the sample, never on its place in the batch.
    pub fn random(&mut self, low: f64, high: f64) -> Value {
        let stream = self.next_stream;
        self.next_stream += 1;
        let (seed, step) = random_inputs(self.graph);
        let uniform = self.graph.random(stream, seed, step, self.rows);
        let scaled = self.graph.scale(uniform, high - low);
        self.graph.offset(scaled, low)
    }

    /// A whole number in `0..n` for each sample, as `f32 [batch]`.
    pub fn random_below(&mut self, n: usize) -> Value {
        let uniform = self.random(0.0, n as f64);
        let floor = self.graph.unary(crate::ir::Unary::Floor, uniform);
        // The product of the largest uniform number and n may round up to n.
        let last = self.graph.like(floor, n as f64 - 1.0);
        self.graph.binary(crate::ir::Binary::Min, floor, last)
    }

    /// A number for each sample spread over its pixels: `[batch]` to `[batch, height, width]`.
    pub fn per_pixel(&mut self, value: Value, size: [usize; 2]) -> Value {
        self.graph.broadcast_axis(value, 0, &[self.batch, size[0], size[1]])
    }
}

/// A number measured over a split.
pub trait Metric: std::fmt::Debug {
    /// Its name in files: `accuracy`, `top5`.
    fn name(&self) -> String;

    /// Whether it can be measured on this output and these targets.
    fn check(&self, output: &Type, targets: TargetType) -> Result<(), ShapeError>;

    /// The sum over the batch, of any shape; the host divides it by the number of samples.
    fn lower(&self, graph: &mut Builder, output: Value, targets: Value) -> Value;

    /// Whether larger is better.
    fn higher_is_better(&self) -> bool;
}

/// Where samples and targets are read from.
pub trait Source: std::fmt::Debug {
    /// What the headers say; reads as little as possible. Relative paths begin at `base`.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    fn header(&self, files: &dyn Files, base: &Path) -> Result<Header, FormatError>;

    /// All samples and targets.
    ///
    /// # Errors
    /// When a file is missing or malformed.
    fn load(&self, files: &dyn Files, base: &Path) -> Result<Dataset, FormatError>;

    /// Everything, if that is little; lints look at it.
    fn glance(&self, files: &dyn Files, base: &Path, header: &Header) -> Option<Dataset> {
        let elements = header.rows.saturating_mul(header.sample_shape.iter().product());
        if elements <= MAX_GLANCE { self.load(files, base).ok() } else { None }
    }

    /// How many samples each class has, if that can be counted quickly.
    fn class_counts(&self, files: &dyn Files, base: &Path, header: &Header) -> Option<Vec<u64>> {
        count_classes(&self.glance(files, base, header)?.targets)
    }
}

/// More elements than this take longer to read than a check may.
const MAX_GLANCE: usize = 1 << 17;

/// How many samples each class has.
pub fn count_classes(targets: &Targets) -> Option<Vec<u64>> {
    let Targets::Classes { labels, names } = targets else { return None };
    let mut counts = vec![0; names.len()];
    for label in labels {
        *counts.get_mut(*label as usize)? += 1;
    }
    Some(counts)
}
