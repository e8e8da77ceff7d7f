//! The adapters of this machine, and the choice of one.

use std::sync::OnceLock;

use crate::backend::BackendError;

/// What an adapter must allow: WebGPU's guaranteed limits, which every kernel keeps to.
const STORAGE_BUFFERS: u32 = 8;
const INVOCATIONS: u32 = 256;
const WORKGROUP_BYTES: u32 = 16 << 10;
const WORKGROUPS: u32 = 65_535;

/// A GPU, or a driver that plays one.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Position in the list of [`adapters`].
    pub index: usize,
    /// The device's name.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`.
    pub backend: String,
    /// Its place on the PCI bus, which tells equal cards apart: `0000:65:00.0`; empty where the driver does not say.
    pub bus: String,
    /// The driver's name and version.
    pub driver: String,
    /// `discrete GPU`, `integrated GPU`, `virtual GPU`, `CPU` or `unknown`.
    pub kind: &'static str,
    /// The driver computes on the CPU.
    pub software: bool,
    /// The largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// The largest part of a buffer that a kernel can see, in bytes.
    pub max_binding_bytes: u64,
    /// Workgroup memory, in bytes.
    pub max_workgroup_bytes: u32,
    /// Invocations of a workgroup.
    pub max_invocations: u32,
    /// Fewest and most invocations of a subgroup; none without subgroups.
    pub subgroups: Option<[u32; 2]>,
    /// Sizes and types of cooperative matrices: `16×16×16 f16 → f32`.
    pub matrices: Vec<String>,
    /// Features of interest, by their WebGPU names.
    pub features: Vec<&'static str>,
    pub(super) inner: wgpu::Adapter,
}

/// All adapters, in the order of the drivers.
pub fn adapters() -> Vec<Adapter> {
    let all = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    all.into_iter().enumerate().map(|(index, inner)| Adapter::new(index, inner)).collect()
}

/// The adapter that `wanted` means: `auto` or `gpu` (the best that is not software), its index, a part of its name or
/// driver in any case, its backend, or its place on the bus.
pub fn select(wanted: &str) -> Result<Adapter, BackendError> {
    let all = adapters();
    choose(&all, wanted)
        .cloned()
        .ok_or_else(|| BackendError::NoAdapter { wanted: wanted.to_owned(), found: describe_found(&all, wanted) })
}

/// The indices of all real GPUs that can run the kernels.
///
/// # Errors
/// When there is none.
pub fn all() -> Result<Vec<usize>, BackendError> {
    let found = adapters();
    let usable = found.iter().filter(|adapter| !adapter.software && adapter.shortcoming().is_none());
    let indices: Vec<usize> = usable.map(|adapter| adapter.index).collect();
    if indices.is_empty() {
        return Err(BackendError::NoAdapter { wanted: "all".to_owned(), found: describe_found(&found, "all") });
    }
    Ok(indices)
}

impl Adapter {
    fn new(index: usize, inner: wgpu::Adapter) -> Adapter {
        let info = inner.get_info();
        let limits = inner.limits();
        let features = inner.features();
        let known = [
            (wgpu::Features::SHADER_F16, "shader-f16"),
            (wgpu::Features::SUBGROUP, "subgroups"),
            (wgpu::Features::TIMESTAMP_QUERY, "timestamp-query"),
            (wgpu::Features::PIPELINE_CACHE, "pipeline-cache"),
            (wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative-matrix"),
        ];
        Adapter {
            index,
            name: info.name,
            backend: info.backend.to_str().to_owned(),
            bus: info.device_pci_bus_id,
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete GPU",
                wgpu::DeviceType::IntegratedGpu => "integrated GPU",
                wgpu::DeviceType::VirtualGpu => "virtual GPU",
                wgpu::DeviceType::Cpu => "CPU",
                wgpu::DeviceType::Other => "unknown",
            },
            software: info.device_type == wgpu::DeviceType::Cpu,
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            subgroups: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some([info.subgroup_min_size, info.subgroup_max_size]),
            matrices: inner.cooperative_matrix_properties().iter().map(show_matrix).collect(),
            features: known.iter().filter(|(flag, _)| features.contains(*flag)).map(|(_, name)| *name).collect(),
            inner,
        }
    }

    /// Why the kernels cannot run here, if so.
    pub fn shortcoming(&self) -> Option<String> {
        let limits = self.inner.limits();
        let needed = [
            ("storage buffers a stage", limits.max_storage_buffers_per_shader_stage, STORAGE_BUFFERS),
            ("invocations a workgroup", limits.max_compute_invocations_per_workgroup, INVOCATIONS),
            ("bytes of workgroup memory", limits.max_compute_workgroup_storage_size, WORKGROUP_BYTES),
            ("workgroups a dimension", limits.max_compute_workgroups_per_dimension, WORKGROUPS),
        ];
        let lacking = needed.iter().find(|(_, allowed, least)| allowed < least);
        lacking.map(|(what, allowed, least)| format!("it allows {allowed} {what}, {least} are needed"))
    }

    /// Names device and driver, for caches.
    pub(super) fn key(&self) -> String {
        let info = self.inner.get_info();
        let Adapter { name, backend, driver, .. } = self;
        format!("{backend} {name} {driver} {:x} {:x} {}", info.vendor, info.device, info.device_pci_bus_id)
    }
}

fn show_matrix(matrix: &wgpu::CooperativeMatrixProperties) -> String {
    let wgpu::CooperativeMatrixProperties { m_size, n_size, k_size, ab_type, cr_type, .. } = matrix;
    format!(
        "{m_size}×{n_size}×{k_size} {} → {}",
        format!("{ab_type:?}").to_lowercase(),
        format!("{cr_type:?}").to_lowercase()
    )
}

fn choose<'a>(all: &'a [Adapter], wanted: &str) -> Option<&'a Adapter> {
    let wanted = wanted.trim().to_lowercase();
    if wanted == "auto" || wanted == "gpu" {
        let rank = |adapter: &&Adapter| match adapter.kind {
            "discrete GPU" => 0,
            "integrated GPU" => 1,
            "virtual GPU" => 2,
            _ => 3,
        };
        return all.iter().filter(|adapter| !adapter.software && adapter.shortcoming().is_none()).min_by_key(rank);
    }
    if let Ok(index) = wanted.parse::<usize>() {
        return all.get(index);
    }
    let has = |adapter: &&Adapter| {
        let Adapter { name, driver, bus, backend, .. } = adapter;
        !wanted.is_empty()
            && ([name, driver].iter().any(|text| text.to_lowercase().contains(&wanted))
                || bus.to_lowercase() == wanted
                || backend.to_lowercase() == wanted)
    };
    all.iter().find(has)
}

fn describe_found(all: &[Adapter], wanted: &str) -> String {
    if all.is_empty() {
        return "no driver was found; install the driver of the GPU (Vulkan, Metal or Direct3D 12), or train on the \
                CPU with `devices = cpu`"
            .to_owned();
    }
    let list: Vec<String> =
        all.iter().map(|adapter| format!("{} `{}` ({})", adapter.index, adapter.name, adapter.kind)).collect();
    let advice = if matches!(wanted.trim().to_lowercase().as_str(), "auto" | "gpu" | "all") {
        "none of them is a usable GPU; name one of them to use it all the same, or train with `devices = cpu`"
    } else {
        "give an index or a part of a name"
    };
    format!("found {}; {advice}", list.join(", "))
}

fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        descriptor.flags = wgpu::InstanceFlags::empty();
        wgpu::Instance::new(descriptor)
    })
}
