//! How weights begin.

use std::ops::Deref;
use std::sync::Arc;

use super::Initializer;
use crate::schema::{FromArg, Given, Mismatch, Schema, make_nested};

pub mod kaiming_normal;
pub mod kaiming_uniform;
pub mod normal;
pub mod uniform;
pub mod xavier_normal;
pub mod xavier_uniform;
pub mod zeros;

/// Every initializer, in the order of the reference.
pub const ALL: &[&Schema<dyn Initializer>] = &[
    &kaiming_uniform::KaimingUniform::SCHEMA,
    &kaiming_normal::KaimingNormal::SCHEMA,
    &xavier_uniform::XavierUniform::SCHEMA,
    &xavier_normal::XavierNormal::SCHEMA,
    &normal::Normal::SCHEMA,
    &uniform::Uniform::SCHEMA,
    &zeros::Zeros::SCHEMA,
];

/// An initializer as the value of a parameter.
#[derive(Clone, Debug)]
pub struct InitializerArg {
    item: Arc<dyn Initializer>,
    text: String,
}

impl Default for InitializerArg {
    /// PyTorch's default of `Linear` and `Conv2d`: uniform in `±1/√fan_in`.
    fn default() -> InitializerArg {
        let item = kaiming_uniform::KaimingUniform::pytorch_default();
        InitializerArg { text: "kaiming_uniform(a = 2.23606797749979)".to_owned(), item: Arc::new(item) }
    }
}

impl Deref for InitializerArg {
    type Target = dyn Initializer;

    fn deref(&self) -> &Self::Target {
        &*self.item
    }
}

impl FromArg for InitializerArg {
    fn expected() -> String {
        "an initializer such as `kaiming_normal`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let made = make_nested(given, "initializer", ALL)?;
        Ok(InitializerArg { text: made.show(), item: Arc::from(made.item) })
    }

    fn show(&self) -> String {
        self.text.clone()
    }

    fn words() -> Vec<&'static str> {
        ALL.iter().map(|schema| schema.name).collect()
    }
}
