//! Normalization over the batch.

use crate::ir::graph::Init;
use crate::ir::{Unary, Value};
use crate::item;
use crate::library::{Layer, ModelBuilder, Role, ShapeError, Type};
use crate::schema::{Positive, Share};

item! {
    /// Brings each feature, or each channel of an image, to mean 0 and variance 1 over the batch.
    ///
    /// `y = (x − mean)/√(variance + eps)·weight + bias`. Training takes the batch's mean and (biased) variance and
    /// keeps running ones: `running ← (1 − momentum)·running + momentum·batch`, with the unbiased variance; evaluation
    /// takes the running ones. As `torch.nn.BatchNorm2d`; Keras's `momentum` is 1 minus this one.
    ///
    /// ```nnopt
    /// batch_norm(momentum = 0.01)
    /// ```
    "batch_norm" => pub struct BatchNorm: Layer {
        /// Share of the batch's statistics that enters the running ones.
        momentum: Share = Share(0.1),
        /// Added to the variance, against division by 0.
        eps: Positive = Positive(1e-5),
        /// Whether to scale and shift the result by learned numbers.
        affine: bool = true,
    }
}

impl Layer for BatchNorm {
    fn role(&self) -> Role {
        Role::Normalization
    }

    fn needs_batch(&self) -> bool {
        true
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        match input.shape[..] {
            [_] | [_, _, _] => Ok(Type::features(input.shape.clone())),
            _ => Err(ShapeError::new(format!(
                "`batch_norm` takes [batch, features] or [batch, channels, height, width], found {}",
                input.show()
            ))),
        }
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let shape = model.graph.shape(input).to_vec();
        let features = [shape[1]];
        let affine = self.affine.then(|| {
            let weight = model.weight("weight", &features, Init::Fill(1.0));
            (weight, model.weight("bias", &features, Init::Fill(0.0)))
        });
        let running_mean = model.buffer("running_mean", &features, Init::Fill(0.0));
        let running_variance = model.buffer("running_var", &features, Init::Fill(1.0));
        let (mean, variance) = if model.training {
            let axes: Vec<usize> = (0..shape.len()).filter(|&axis| axis != 1).collect();
            let (mean, variance) = mean_and_variance(model, input, &axes);
            let mean = model.graph.reshape(mean, &features);
            let variance = model.graph.reshape(variance, &features);
            let samples: usize = axes.iter().map(|&axis| shape[axis]).product();
            // Bessel-corrected here, biased in the forward pass: PyTorch does both.
            let correction = samples as f64 / (samples.max(2) - 1) as f64;
            let unbiased = model.graph.scale(variance, correction);
            self.keep(model, running_mean, mean);
            self.keep(model, running_variance, unbiased);
            (mean, variance)
        } else {
            (running_mean, running_variance)
        };
        let mean = model.graph.broadcast_axis(mean, 1, &shape);
        let centered = model.graph.sub(input, mean);
        let scale = inverse_deviation(model, variance, self.eps.0);
        let scale = model.graph.broadcast_axis(scale, 1, &shape);
        let normal = model.graph.mul(centered, scale);
        let Some((weight, bias)) = affine else { return normal };
        let weight = model.graph.broadcast_axis(weight, 1, &shape);
        let bias = model.graph.broadcast_axis(bias, 1, &shape);
        let scaled = model.graph.mul(normal, weight);
        model.graph.add(scaled, bias)
    }
}

impl BatchNorm {
    fn keep(&self, model: &mut ModelBuilder, running: Value, batch: Value) {
        let old = model.graph.scale(running, 1.0 - self.momentum.0);
        let new = model.graph.scale(batch, self.momentum.0);
        let next = model.graph.add(old, new);
        model.update_buffer(running, next);
    }
}

/// Mean and biased variance over axes, which stay with size 1.
///
/// The variance is the mean of squared deviations: the difference of mean square and squared mean loses all digits
/// where the mean is large.
pub fn mean_and_variance(model: &mut ModelBuilder, x: Value, axes: &[usize]) -> (Value, Value) {
    let shape = model.graph.shape(x).to_vec();
    let mean = model.graph.mean(x, axes);
    let spread = model.graph.broadcast(mean, &shape);
    let deviation = model.graph.sub(x, spread);
    let square = model.graph.mul(deviation, deviation);
    (mean, model.graph.mean(square, axes))
}

/// `1/√(variance + eps)`
pub fn inverse_deviation(model: &mut ModelBuilder, variance: Value, eps: f64) -> Value {
    let safe = model.graph.offset(variance, eps);
    let deviation = model.graph.unary(Unary::Sqrt, safe);
    model.graph.unary(Unary::Reciprocal, deviation)
}
