//! Layers of the model.

use super::Layer;
use crate::schema::Schema;

pub mod avg_pool;
pub mod batch_norm;
pub mod conv2d;
pub mod dropout;
pub mod elu;
pub mod flatten;
pub mod gelu;
pub mod global_avg_pool;
pub mod layer_norm;
pub mod leaky_relu;
pub mod linear;
pub mod max_pool;
mod pool;
pub mod relu;
pub mod reshape;
pub mod sigmoid;
pub mod silu;
pub mod softmax;
pub mod tanh;
mod window;

/// Every layer, in the order of the reference.
pub const ALL: &[&Schema<dyn Layer>] = &[
    &linear::Linear::SCHEMA,
    &conv2d::Conv2d::SCHEMA,
    &max_pool::MaxPool::SCHEMA,
    &avg_pool::AvgPool::SCHEMA,
    &global_avg_pool::GlobalAvgPool::SCHEMA,
    &batch_norm::BatchNorm::SCHEMA,
    &layer_norm::LayerNorm::SCHEMA,
    &dropout::Dropout::SCHEMA,
    &flatten::Flatten::SCHEMA,
    &reshape::Reshape::SCHEMA,
    &relu::Relu::SCHEMA,
    &leaky_relu::LeakyRelu::SCHEMA,
    &elu::Elu::SCHEMA,
    &gelu::Gelu::SCHEMA,
    &silu::Silu::SCHEMA,
    &sigmoid::Sigmoid::SCHEMA,
    &tanh::Tanh::SCHEMA,
    &softmax::Softmax::SCHEMA,
];
