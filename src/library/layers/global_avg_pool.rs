//! The mean of each channel.

use super::window::image;
use crate::ir::Value;
use crate::item;
use crate::library::{Layer, ModelBuilder, ShapeError, Type};

item! {
    /// Averages each channel of an image over all its pixels: `[C, H, W]` becomes `[C]`.
    ///
    /// As `torch.nn.AdaptiveAvgPool2d(1)` and `flatten`.
    ///
    /// ```nnopt
    /// global_avg_pool
    /// ```
    "global_avg_pool" aka "adaptive_avg_pool", "adaptive_avg_pool_2d", "global_average_pooling", "global_average_pooling_2d" => pub struct GlobalAvgPool: Layer {}
}

impl Layer for GlobalAvgPool {
    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        let [channels, _, _] = image("global_avg_pool", input)?;
        Ok(Type { shape: vec![channels], meaning: input.meaning })
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let sizes = model.graph.shape(input)[..2].to_vec();
        let mean = model.graph.mean(input, &[2, 3]);
        model.graph.reshape(mean, &sizes)
    }
}
