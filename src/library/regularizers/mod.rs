//! Penalties on weights.

use std::ops::Deref;
use std::sync::Arc;

use super::Regularizer;
use crate::schema::{FromArg, Given, Mismatch, Schema, make_nested};

pub mod elastic;
pub mod l1;
pub mod l2;

/// Every regularizer, in the order of the reference.
pub const ALL: &[&Schema<dyn Regularizer>] = &[&l1::L1::SCHEMA, &l2::L2::SCHEMA, &elastic::Elastic::SCHEMA];

/// A regularizer as the value of a parameter.
#[derive(Clone, Debug)]
pub struct RegularizerArg {
    item: Arc<dyn Regularizer>,
    text: String,
}

impl Deref for RegularizerArg {
    type Target = dyn Regularizer;

    fn deref(&self) -> &Self::Target {
        &*self.item
    }
}

impl FromArg for RegularizerArg {
    fn expected() -> String {
        "a regularizer such as `l2(1e-4)`".to_owned()
    }

    fn from_arg(given: &Given) -> Result<Self, Mismatch> {
        let made = make_nested(given, "regularizer", ALL)?;
        Ok(RegularizerArg { text: made.show(), item: Arc::from(made.item) })
    }

    fn show(&self) -> String {
        self.text.clone()
    }

    fn words() -> Vec<&'static str> {
        ALL.iter().map(|schema| schema.name).collect()
    }
}
