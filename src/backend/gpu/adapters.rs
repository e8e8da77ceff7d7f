//! The adapters of this machine, and the choice of one.

use std::sync::OnceLock;

use crate::backend::BackendError;

use super::identity::{Identity, identify, is_uuid, place_on_bus};

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
    /// What no other device has, not even one of the same name; empty where the driver does not say.
    pub uuid: String,
    /// Bytes of its own memory, whatever else uses it; `None` where the driver does not say.
    pub memory_bytes: Option<u64>,
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
    /// Numbers of vendor and device.
    model: [u32; 2],
    pub(super) inner: wgpu::Adapter,
}

/// All adapters, in the order of the drivers.
pub fn adapters() -> Vec<Adapter> {
    let all = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    all.into_iter().enumerate().map(|(index, inner)| Adapter::new(index, inner)).collect()
}

/// The adapter that `wanted` means: `auto` or `gpu` (the best that is not software), its index, its UUID or the begin of
/// it, its place on the PCI bus, its backend (the best of it), or a part of its name or driver in any case.
///
/// # Errors
/// When there is no such adapter; the error lists those that there are.
pub fn select(wanted: &str) -> Result<Adapter, BackendError> {
    let all = adapters();
    choose(&all, wanted)
        .cloned()
        .ok_or_else(|| BackendError::NoAdapter { wanted: wanted.to_owned(), found: describe_found(&all, wanted) })
}

/// The indices of all adapters that can run the kernels and that such a name means: one, if it is an index, a UUID or a
/// place on the bus, else each card once.
pub fn matching(wanted: &str) -> Vec<usize> {
    let wanted = wanted.trim().to_lowercase();
    let all = adapters();
    if let Some(adapter) = identified(&all, &wanted) {
        return vec![adapter.index];
    }
    let by_backend = all.iter().any(|adapter| adapter.is_of(&wanted));
    let is_meant = |adapter: &&Adapter| if by_backend { adapter.is_of(&wanted) } else { adapter.is_named(&wanted) };
    let usable = all.iter().filter(is_meant).filter(|adapter| adapter.shortcoming().is_none());
    distinct(&usable.map(Card::of).collect::<Vec<_>>())
}

/// The indices of all real GPUs that can run the kernels, each card once.
///
/// # Errors
/// When there is none.
pub fn all() -> Result<Vec<usize>, BackendError> {
    let found = adapters();
    let usable = found.iter().filter(|adapter| !adapter.software && adapter.shortcoming().is_none());
    let cards: Vec<Card> = usable.map(Card::of).collect();
    let indices = distinct(&cards);
    if indices.is_empty() {
        return Err(BackendError::NoAdapter { wanted: "all".to_owned(), found: describe_found(&found, "all") });
    }
    Ok(indices)
}

/// What tells whether two adapters are one card.
#[derive(Clone, Copy)]
struct Card<'a> {
    index: usize,
    backend: &'a str,
    bus: &'a str,
    /// Numbers of vendor and device, by which all backends name a model.
    model: [u32; 2],
}

impl Card<'_> {
    fn of(adapter: &Adapter) -> Card<'_> {
        let Adapter { index, backend, bus, model, .. } = adapter;
        Card { index: *index, backend, bus, model: *model }
    }
}

/// The indices of the adapters that are different cards: a card that two drivers of one backend list at one place of the
/// bus counts once, and cards of one model are taken from the backend that lists the most of them, since Direct3D does
/// not say at which place of the bus a card is.
fn distinct(cards: &[Card]) -> Vec<usize> {
    let mut kept: Vec<Card> = Vec::new();
    for card in cards {
        let is_known = |other: &Card| {
            card.backend == other.backend && card.backend == "vulkan" && !card.bus.is_empty() && card.bus == other.bus
        };
        if !kept.iter().any(is_known) {
            kept.push(*card);
        }
    }
    let number = |backend: &str, model: [u32; 2]| {
        kept.iter().filter(|other| other.backend == backend && other.model == model).count()
    };
    let is_best = |card: &&Card| {
        let rivals = kept.iter().filter(|other| other.model == card.model && other.backend != card.backend);
        rivals.into_iter().all(|rival| {
            let (own, others) = (number(card.backend, card.model), number(rival.backend, card.model));
            // Of as many in both, those of the backend that is listed first.
            let first = |backend: &str| kept.iter().position(|it| it.backend == backend && it.model == card.model);
            own > others || (own == others && first(card.backend) < first(rival.backend))
        })
    };
    kept.iter().filter(is_best).map(|card| card.index).collect()
}

impl Adapter {
    fn new(index: usize, inner: wgpu::Adapter) -> Adapter {
        let info = inner.get_info();
        let limits = inner.limits();
        let features = inner.features();
        let Identity { uuid, memory_bytes } = identify(&inner);
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
            uuid,
            memory_bytes,
            model: [info.vendor, info.device],
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

    /// Whether this, in lower case, is its backend.
    fn is_of(&self, backend: &str) -> bool {
        self.backend.to_lowercase() == backend
    }

    /// Whether this, in lower case, is a part of its name or driver; a number is none.
    fn is_named(&self, part: &str) -> bool {
        let has = |text: &String| text.to_lowercase().contains(part);
        !part.is_empty() && part.parse::<usize>().is_err() && (has(&self.name) || has(&self.driver))
    }

    /// Names the model of the device and the driver: equal cards have the same.
    pub(super) fn model_key(&self) -> String {
        let Adapter { name, backend, driver, model: [vendor, device], .. } = self;
        format!("{backend} {name} {driver} {vendor:x} {device:x}")
    }

    /// Names device and driver, for caches.
    pub(super) fn key(&self) -> String {
        let Adapter { bus, uuid, .. } = self;
        format!("{} {bus} {uuid}", self.model_key())
    }

    /// The name, and what tells the adapter from others of the name, for people.
    fn described(&self) -> String {
        let Adapter { index, name, kind, backend, bus, uuid, .. } = self;
        let own = [("bus ", bus), ("UUID ", uuid)].map(|(what, text)| match &**text {
            "" => String::new(),
            text => format!(", {what}{text}"),
        });
        format!("{index} `{name}` ({kind}, {backend}{})", own.concat())
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
    let best = |among: &mut dyn Iterator<Item = &'a Adapter>| among.min_by_key(|adapter| rank(adapter));
    if wanted == "auto" || wanted == "gpu" {
        return best(&mut all.iter().filter(|adapter| !adapter.software && adapter.shortcoming().is_none()));
    }
    if wanted.is_empty() {
        return None;
    }
    // What names one adapter comes before what several may share.
    identified(all, &wanted)
        .or_else(|| best(&mut all.iter().filter(|adapter| adapter.is_of(&wanted))))
        .or_else(|| all.iter().find(|adapter| adapter.is_named(&wanted)))
}

/// The adapter of this index, UUID or place on the bus.
fn identified<'a>(all: &'a [Adapter], wanted: &str) -> Option<&'a Adapter> {
    let index = wanted.parse::<usize>().ok();
    let place = place_on_bus(wanted);
    index
        .and_then(|index| all.get(index))
        .or_else(|| all.iter().find(|adapter| is_uuid(wanted, &adapter.uuid)))
        .or_else(|| all.iter().find(|adapter| place.is_some() && place_on_bus(&adapter.bus) == place))
}

/// The order in which adapters are preferred.
fn rank(adapter: &Adapter) -> (bool, u8) {
    let kind = match adapter.kind {
        "discrete GPU" => 0,
        "integrated GPU" => 1,
        "virtual GPU" => 2,
        _ => 3,
    };
    (adapter.shortcoming().is_some(), kind)
}

fn describe_found(all: &[Adapter], wanted: &str) -> String {
    if all.is_empty() {
        return "no driver was found; install the driver of the GPU (Vulkan, Metal or Direct3D 12), or train on the \
                CPU with `devices = cpu`"
            .to_owned();
    }
    let list: Vec<String> = all.iter().map(Adapter::described).collect();
    let advice = if matches!(wanted.trim().to_lowercase().as_str(), "auto" | "gpu" | "all") {
        "none of them is a usable GPU; name one of them to use it all the same, or train with `devices = cpu`"
    } else {
        "expected the number of one of them, a part of its name, its UUID, its place on the PCI bus or its backend"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_two_backends_list_counts_once() {
        let card = |index, backend, bus, device| Card { index, backend, bus, model: [0x10de, device] };
        // Windows: Vulkan, then Direct3D, which does not tell equal cards apart.
        let both = [
            card(0, "vulkan", "0000:01:00.0", 0x2684),
            card(1, "vulkan", "0000:02:00.0", 0x2684),
            card(2, "dx12", "0000:01:00.0", 0x2684),
            card(3, "dx12", "0000:01:00.0", 0x2684),
        ];
        assert_eq!(distinct(&both), [0, 1]);
        // One of them has no Vulkan driver.
        assert_eq!(distinct(&both[1..]), [2, 3]);
        assert_eq!(distinct(&[card(0, "dx12", "", 1), card(1, "vulkan", "", 2), card(2, "dx12", "", 2)]), [0, 1]);
        // Equal cards of which nothing is known are different ones.
        assert_eq!(distinct(&[card(0, "vulkan", "", 1), card(1, "vulkan", "", 1)]), [0, 1]);
        // Two Vulkan drivers for one card.
        assert_eq!(distinct(&[card(4, "vulkan", "0000:01:00.0", 1), card(5, "vulkan", "0000:01:00.0", 1)]), [4]);
        assert_eq!(distinct(&[]), [0; 0]);
    }

    /// Adapters of one name, made of one that is there; none where there is none.
    fn twins() -> Vec<Adapter> {
        let Some(real) = adapters().into_iter().find(|adapter| adapter.shortcoming().is_none()) else {
            return Vec::new();
        };
        let twin = |index: usize, software, backend: &str, bus: &str, uuid: &str| Adapter {
            index,
            name: "Twin 4090".to_owned(),
            backend: backend.to_owned(),
            bus: bus.to_owned(),
            uuid: uuid.to_owned(),
            kind: if software { "CPU" } else { "discrete GPU" },
            software,
            ..real.clone()
        };
        vec![
            twin(0, true, "vulkan", "", "6d657361-3235-2e30-2e37-2d327e627000"),
            twin(1, false, "vulkan", "0000:01:00.0", "11111111-2222-3333-4444-555555555555"),
            twin(2, false, "vulkan", "0000:65:00.0", "11111111-2222-3333-4444-666666666666"),
            twin(3, false, "dx12", "", ""),
        ]
    }

    #[test]
    fn adapters_of_one_name_are_told_apart() {
        let all = twins();
        if all.is_empty() {
            return;
        }
        for (wanted, index) in [
            ("auto", Some(1)),
            ("gpu", Some(1)),
            ("0", Some(0)),
            ("2", Some(2)),
            ("4", None),
            // The UUID, also as nvidia-smi writes it, or its begin.
            ("11111111-2222-3333-4444-666666666666", Some(2)),
            ("GPU-11111111-2222-3333-4444-666666666666", Some(2)),
            ("6D657361-3235", Some(0)),
            ("11111111-2222-3333-4444-777777777777", None),
            // The place on the bus, as Vulkan, lspci and nvidia-smi write it.
            ("0000:65:00.0", Some(2)),
            ("65:00.0", Some(2)),
            ("00000000:01:00.0", Some(1)),
            ("66:00.0", None),
            // A backend is its best adapter.
            ("vulkan", Some(1)),
            ("DX12", Some(3)),
            ("metal", None),
            ("twin", Some(0)),
            ("4090", None),
            ("Twin 4090", Some(0)),
            ("", None),
        ] {
            assert_eq!(choose(&all, wanted).map(|adapter| adapter.index), index, "{wanted}");
        }
    }

    #[test]
    fn an_adapter_that_is_not_there_is_an_error_that_tells_those_that_are_apart() {
        let all = twins();
        if all.is_empty() {
            return;
        }
        let expected = "found 1 `Twin 4090` (discrete GPU, vulkan, bus 0000:01:00.0, UUID \
                        11111111-2222-3333-4444-555555555555), 3 `Twin 4090` (discrete GPU, dx12); expected the number of \
                        one of them, a part of its name, its UUID, its place on the PCI bus or its backend";
        assert_eq!(describe_found(&[all[1].clone(), all[3].clone()], "H100"), expected);
    }
}
