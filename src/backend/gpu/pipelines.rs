//! From WGSL to pipelines that share one layout of bindings.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::OnceLock;

use rayon::prelude::*;
use wgpu::naga;
use wgpu::naga::valid::{Capabilities, ValidationFlags, Validator};

use crate::backend::BackendError;

use super::cache::DiskCache;
use super::device::{Gpu, STACK_BYTES};
use super::source::{ARENA, ARENA_HALVES, BINDINGS, PARAMS, STATE_HALVES, STATES, STEP};

/// What is checked while a kernel runs where not all is: neither that every loop ends nor that no divisor is 0.
const CHECKS: wgpu::ShaderRuntimeChecks = {
    let mut checks = wgpu::ShaderRuntimeChecks::checked();
    checks.force_loop_bounding = false;
    checks.int_div_checks = false;
    checks
};

/// The layout of bindings that all kernels share.
pub(super) struct Bindings {
    pub group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

impl Bindings {
    /// Parameters (so many bytes, at a dynamic offset), arena, states, step row (at a dynamic offset), data sets, the arena
    /// and the states as halves.
    pub fn new(gpu: &Gpu, params_bytes: u64) -> Bindings {
        let entry = |binding: u32| {
            let (ty, dynamic) = match binding {
                PARAMS => (wgpu::BufferBindingType::Uniform, true),
                ARENA | STATES | ARENA_HALVES | STATE_HALVES => {
                    (wgpu::BufferBindingType::Storage { read_only: false }, false)
                }
                _ => (wgpu::BufferBindingType::Storage { read_only: true }, binding == STEP),
            };
            wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty,
                    has_dynamic_offset: dynamic,
                    min_binding_size: NonZeroU64::new(if binding == PARAMS { params_bytes } else { 16 }),
                },
                count: None,
            }
        };
        let entries: Vec<_> = (PARAMS..BINDINGS).map(entry).collect();
        let group = gpu
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("nnoptc"), entries: &entries });
        let pipeline = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("nnoptc"),
            bind_group_layouts: &[Some(&group)],
            immediate_size: 0,
        });
        Bindings { group, pipeline }
    }
}

/// Compiles each text once; the result has a pipeline for each text, in their order.
pub(super) fn compile(
    gpu: &Gpu,
    bindings: &Bindings,
    texts: &[(&str, &str)],
) -> Result<Vec<wgpu::ComputePipeline>, BackendError> {
    let mut indices: HashMap<&str, usize> = HashMap::new();
    let mut distinct: Vec<(&str, &str)> = Vec::new();
    for (name, text) in texts {
        indices.entry(text).or_insert_with(|| {
            distinct.push((name, text));
            distinct.len() - 1
        });
    }
    let compile = || distinct.par_iter().map(|(name, text)| pipeline(gpu, bindings, name, text)).collect();
    let pipelines: Vec<wgpu::ComputePipeline> = match compilers() {
        Some(threads) => threads.install(compile),
        None => compile(),
    };
    gpu.check()?;
    if let Some(cache) = &gpu.cache {
        cache.save();
    }
    Ok(texts.iter().map(|(_, text)| pipelines[indices[text]].clone()).collect())
}

/// Threads for the drivers' compilers, which need more of a stack than threads usually have; none where a system allows no
/// more threads.
fn compilers() -> Option<&'static rayon::ThreadPool> {
    static COMPILERS: OnceLock<Option<rayon::ThreadPool>> = OnceLock::new();
    let make = || rayon::ThreadPoolBuilder::new().stack_size(STACK_BYTES).build().ok();
    COMPILERS.get_or_init(make).as_ref()
}

fn pipeline(gpu: &Gpu, bindings: &Bindings, name: &str, text: &str) -> wgpu::ComputePipeline {
    // wgpu does the same again; its words for a mistake of ours would not name the kernel.
    if cfg!(debug_assertions) {
        validate(name, text);
    }
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(name), source: wgpu::ShaderSource::Wgsl(text.into()) };
    let module = if gpu.counts_turns {
        gpu.device.create_shader_module(descriptor)
    } else {
        // SAFETY: every loop of every kernel counts to a bound that the host has set, and every divisor is a size or a
        // stride, which are at least 1. Indices stay checked.
        unsafe { gpu.device.create_shader_module_trusted(descriptor, CHECKS) }
    };
    gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(name),
        layout: Some(&bindings.pipeline),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            constants: &[],
            // Every kernel writes its workgroup memory before it reads it.
            zero_initialize_workgroup_memory: false,
        },
        cache: gpu.cache.as_ref().map(DiskCache::handle),
    })
}

/// Holds generated text to the rules of WGSL.
///
/// # Panics
/// When it breaks one, which is a mistake of ours.
pub(super) fn validate(name: &str, text: &str) {
    let module = match naga::front::wgsl::parse_str(text) {
        Ok(module) => module,
        Err(error) => panic!("wrong WGSL for `{name}`: {}\n{text}", error.emit_to_string(text)),
    };
    let known = Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX;
    let result = Validator::new(ValidationFlags::all(), known).validate(&module);
    if let Err(error) = result {
        panic!("wrong WGSL for `{name}`: {}\n{text}", error.emit_to_string(text));
    }
}
