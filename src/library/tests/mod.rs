//! What holds for every item, and what items say about shapes.

mod items;
mod read;
mod shapes;
mod training;

use super::{Layer, ModelBuilder, ShapeError, Type};
use crate::ir::graph::States;
use crate::ir::{Builder, DType};
use crate::schema::{Made, Schema, make_from_table};

/// Makes the item that a call text says.
fn make<T: ?Sized>(table: &[&'static Schema<T>], text: &str) -> Made<T> {
    let mut diagnostics = Vec::new();
    let made = make_from_table(&read::call(text), "item", table, &mut diagnostics);
    made.unwrap_or_else(|| panic!("`{text}`: {diagnostics:?}"))
}

fn layer(text: &str) -> Made<dyn Layer> {
    make(super::layers::ALL, text)
}

/// The shape after a layer, which the lowered graph must have, too.
fn infer(text: &str, input: &[usize]) -> Result<Vec<usize>, ShapeError> {
    let made = layer(text);
    let output = made.item.infer(&Type::features(input))?;
    for training in [true, false] {
        let mut model = ModelBuilder::new(Builder::new(States::default()), training);
        let shape: Vec<usize> = [&[3], input].concat();
        let value = model.graph.input("x", &shape, DType::F32);
        let result = made.item.lower(&mut model, value);
        assert_eq!(model.graph.shape(result), [&[3], &output.shape[..]].concat(), "`{text}` of {input:?}");
    }
    Ok(output.shape)
}

/// The error of a layer as `param: message | note | help`.
fn error(text: &str, input: &[usize]) -> String {
    show(&infer(text, input).expect_err(text))
}

fn show(error: &ShapeError) -> String {
    let param = error.param.map(|param| format!("{param}: ")).unwrap_or_default();
    let note = error.note.as_ref().map(|note| format!(" | {note}")).unwrap_or_default();
    let help = error.help.as_ref().map(|help| format!(" | {help}")).unwrap_or_default();
    format!("{param}{}{note}{help}", error.message)
}
