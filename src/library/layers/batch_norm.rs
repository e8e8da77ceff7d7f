//! Normalization over the batch.

use crate::ir::Value;
use crate::ir::graph::Init;
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
    /// Where several devices train together, each has statistics of its own part of the batch, and the running ones are
    /// averaged. With `sync` they have those of all parts that they compute at the same time, and the gradient goes through
    /// them, as with `torch.nn.SyncBatchNorm`: better where a device has few samples, slower since the devices wait for each
    /// other at each such layer, forwards and backwards.
    ///
    /// ```nnopt
    /// batch_norm(momentum = 0.01)
    /// ```
    "batch_norm" aka "bn", "batch_norm_2d", "batch_normalization" => pub struct BatchNorm: Layer {
        /// Share of the batch's statistics that enters the running ones.
        momentum: Share = Share(0.1),
        /// Added to the variance, against division by 0.
        eps: Positive = Positive(1e-5),
        /// Whether to scale and shift the result by learned numbers.
        affine: bool = true,
        /// Whether devices that train together take the statistics of all their samples.
        sync: bool = false,
    }
}

impl Layer for BatchNorm {
    fn role(&self) -> Role {
        Role::Normalization
    }

    fn needs_batch(&self) -> bool {
        true
    }

    fn is_synchronized(&self) -> bool {
        self.sync
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
        let normal = if model.training {
            let axes: Vec<usize> = (0..shape.len()).filter(|&axis| axis != 1).collect();
            let whole = if self.sync && model.together {
                let name = format!("{}.exchanged", model.path);
                model.graph.standardize_together(input, &axes, self.eps.0, &name)
            } else {
                model.graph.standardize(input, &axes, self.eps.0)
            };
            let mean = model.graph.reshape(whole.mean, &features);
            let variance = model.graph.reshape(whole.variance, &features);
            // Bessel-corrected here, biased in the forward pass: PyTorch does both.
            let unbiased = whole.unbiased(&mut model.graph, variance);
            self.keep(model, running_mean, mean);
            self.keep(model, running_variance, unbiased);
            whole.result
        } else {
            let mean = model.graph.broadcast_axis(running_mean, 1, &shape);
            let centered = model.graph.sub(input, mean);
            let scale = model.graph.inverse_deviation(running_variance, self.eps.0);
            let scale = model.graph.broadcast_axis(scale, 1, &shape);
            model.graph.mul(centered, scale)
        };
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
