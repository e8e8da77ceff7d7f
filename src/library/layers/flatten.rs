//! Images as features.

use crate::ir::Value;
use crate::ir::graph::count;
use crate::item;
use crate::library::{Layer, ModelBuilder, ShapeError, Type};

item! {
    /// Puts all numbers of a sample on one axis: `[C, H, W]` becomes `[C·H·W]`.
    ///
    /// Channels vary slowest, columns fastest.
    ///
    /// ```nnopt
    /// flatten
    /// ```
    "flatten" => pub struct Flatten: Layer {}
}

impl Layer for Flatten {
    fn changes_nothing(&self, input: &Type) -> bool {
        input.shape.len() == 1
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        Ok(Type { shape: vec![count(&input.shape)], meaning: input.meaning })
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let shape = model.graph.shape(input);
        let sizes = [shape[0], count(&shape[1..])];
        model.graph.reshape(input, &sizes)
    }
}
