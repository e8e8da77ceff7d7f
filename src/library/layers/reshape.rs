//! The same numbers under other sizes.

use crate::ir::Value;
use crate::ir::graph::count;
use crate::item;
use crate::library::{Layer, Meaning, ModelBuilder, ShapeError, Type};
use crate::schema::Count;

item! {
    /// Gives a sample other sizes with the same numbers in the same order.
    ///
    /// The batch axis is not part of the shape.
    ///
    /// ```nnopt
    /// reshape([1, 28, 28])
    /// ```
    "reshape" => pub struct Reshape: Layer {
        /// The sizes; their product is the number of elements of a sample.
        shape: Vec<Count>,
    }
}

impl Reshape {
    fn sizes(&self) -> Vec<usize> {
        self.shape.iter().map(|size| size.0).collect()
    }
}

impl Layer for Reshape {
    fn changes_nothing(&self, input: &Type) -> bool {
        self.sizes() == input.shape
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        let shape = self.sizes();
        if shape.is_empty() {
            return Err(ShapeError::new("the shape of `reshape` is empty").at("shape").help("give at least one size"));
        }
        let (given, found) = (count(&shape), count(&input.shape));
        if given != found {
            let message = format!("`reshape` to {given} elements, the value before it has {found}");
            let note = format!("{} and {}", product(&shape), product(&input.shape));
            return Err(ShapeError::new(message)
                .at("shape")
                .note(note)
                .help(format!("choose sizes whose product is {found}")));
        }
        let keeps = shape == input.shape || input.meaning == Meaning::Probabilities;
        Ok(Type { shape, meaning: if keeps { input.meaning } else { Meaning::Features } })
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let mut sizes = vec![model.graph.shape(input)[0]];
        sizes.extend(self.sizes());
        model.graph.reshape(input, &sizes)
    }
}

/// `2·3 = 6`
fn product(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    match shape {
        [one] => one.to_string(),
        _ => format!("{} = {}", sizes.join("·"), count(shape)),
    }
}
