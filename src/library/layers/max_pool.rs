//! Pooling by the largest number.

use super::pool;
use super::window::Window;
use crate::ir::Value;
use crate::item;
use crate::library::{Layer, ModelBuilder, ShapeError, Type};
use crate::schema::{Border, Pair, Stride};

item! {
    /// Keeps the largest number of each window of an image.
    ///
    /// The size becomes `⌊(size + 2·padding − kernel)/stride⌋ + 1`: a rest at the right and the bottom is dropped.
    /// The border is ignored. As `torch.nn.MaxPool2d`.
    ///
    /// ```nnopt
    /// max_pool(2)
    /// ```
    "max_pool" aka "max_pool_2d", "max_pooling", "max_pooling_2d" => pub struct MaxPool: Layer {
        /// Size of the window: a number for a square, or `[height, width]`.
        kernel: Pair,
        /// How far the window moves; by its own size if `kernel`.
        stride: Stride = Stride::Kernel,
        /// Rows and columns added on each side, at most half the window.
        padding: Border = Border([0, 0]),
    }
}

impl MaxPool {
    fn window(&self) -> Window {
        pool::window("max_pool", self.kernel, self.stride, self.padding)
    }
}

impl Layer for MaxPool {
    fn changes_nothing(&self, input: &Type) -> bool {
        pool::changes_nothing(&self.window(), input)
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        pool::infer(&self.window(), input)
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let geometry = pool::geometry(&self.window(), &model.graph, input);
        model.graph.max_pool(input, geometry)
    }
}
