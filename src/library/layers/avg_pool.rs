//! Pooling by the mean.

use super::pool;
use super::window::Window;
use crate::ir::Value;
use crate::item;
use crate::library::{Layer, ModelBuilder, ShapeError, Type};
use crate::schema::{Border, Pair, Stride};

item! {
    /// Averages each window of an image.
    ///
    /// The size becomes `⌊(size + 2·padding − kernel)/stride⌋ + 1`: a rest at the right and the bottom is dropped.
    /// The border counts as zeros (`count_include_pad`). As `torch.nn.AvgPool2d`.
    ///
    /// ```nnopt
    /// avg_pool(2)
    /// ```
    "avg_pool" aka "avg_pool_2d", "average_pooling", "average_pooling_2d", "average_pool" => pub struct AvgPool: Layer {
        /// Size of the window: a number for a square, or `[height, width]`.
        kernel: Pair,
        /// How far the window moves; by its own size if `kernel`.
        stride: Stride = Stride::Kernel,
        /// Rows and columns added on each side, at most half the window.
        padding: Border = Border([0, 0]),
    }
}

impl AvgPool {
    fn window(&self) -> Window {
        pool::window("avg_pool", self.kernel, self.stride, self.padding)
    }
}

impl Layer for AvgPool {
    fn changes_nothing(&self, input: &Type) -> bool {
        pool::changes_nothing(&self.window(), input)
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        pool::infer(&self.window(), input)
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let geometry = pool::geometry(&self.window(), &model.graph, input);
        model.graph.avg_pool(input, geometry)
    }
}
