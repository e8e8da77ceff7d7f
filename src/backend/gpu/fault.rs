//! The faults of GPUs among those of [`crate::backend::faults`].
//!
//! `hang 40` lets the 40th submission of the process's trainings never end, `lose 7 30` destroys the device at its 7th and
//! 30th, `wrong barriers` changes what the adapter answered in that part of the self-test.

use std::sync::atomic::{AtomicU64, Ordering};

use super::device::Gpu;
use crate::backend::faults::wanted;

/// Waits for a word that nobody writes.
const ENDLESS: &str = "
@group(0) @binding(0) var<storage, read_write> words: array<atomic<u32>>;

@compute @workgroup_size(1)
fn main() {
    while (atomicLoad(&words[0]) == 0u) {
        atomicAdd(&words[1], 1u);
    }
}
";

/// Counts a submission of a training, and lets it go wrong if that is wanted of it.
pub(super) fn strike(gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) {
    static SUBMISSIONS: AtomicU64 = AtomicU64::new(0);
    let number = (SUBMISSIONS.fetch_add(1, Ordering::Relaxed) + 1).to_string();
    let is_meant = |kind| wanted(kind).is_some_and(|list| list.split(' ').any(|other| other == number));
    if is_meant("lose") {
        gpu.device.destroy();
    }
    if is_meant("hang") {
        run_endless(&gpu.device, encoder);
    }
}

/// Changes what the adapter answered in a part of the self-test.
pub(super) fn tamper(part: &str, answers: &mut [u32]) {
    if wanted("wrong").as_deref() == Some(part) {
        answers[0] ^= f32::NAN.to_bits();
    }
}

fn run_endless(device: &wgpu::Device, encoder: &mut wgpu::CommandEncoder) {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("endless"),
        source: wgpu::ShaderSource::Wgsl(ENDLESS.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some("endless"),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    });
    let words = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("endless"),
        size: 16,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some("endless"),
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: words.as_entire_binding() }],
    });
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &bind_group, &[]);
    pass.dispatch_workgroups(1, 1, 1);
}
