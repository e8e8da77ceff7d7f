//! Opens the device that a program asks for.

use std::sync::Arc;

use super::checkpoint::pipeline_sha256;
use super::memory::{Limits, OutOfMemory, check_memory};
use super::prepare::{Prepared, prepare};
use crate::backend::{BackendError, DataBytes, Session, Setup, cpu, gang, gpu, peers};
use crate::check::program::{Devices, Program};
use crate::data::load::Loaded;
use crate::formats::{Dataset, Samples, Targets};
use crate::ir::graph::count;
use crate::ir::{DataInfo, States};
use crate::plan::{Fusion, Plan};

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none, or it fails.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// It is too small.
    #[error(transparent)]
    Memory(#[from] Box<OutOfMemory>),
}

/// Opens a session with the program's data on it: on one device, or on several that train together. `threads` is for the
/// CPU executor, whose replicas share them; all cores if `None`.
///
/// # Errors
/// When there is no such device, or it cannot hold the program, which is known before anything is allocated.
pub fn open_session(
    program: &Program,
    prepared: &Prepared,
    loaded: &Loaded,
    threads: Option<usize>,
) -> Result<Box<dyn Session>, OpenError> {
    let data = resident_data(program, prepared, loaded);
    if program.train.is_parallel() {
        return open_gang(program, prepared, data, threads);
    }
    let setup = Setup { plans: &prepared.plans, states: &prepared.states, data: &data };
    let adapter = choose(&program.train.devices)?;
    let limits = limits_of(adapter.as_ref());
    check_memory(program, prepared, &limits)?;
    Ok(match adapter {
        Some(adapter) => gpu::open(&setup, &adapter)?,
        None => cpu::open(&setup, threads)?,
    })
}

/// What a thread needs to open its session.
struct Parts {
    plans: Vec<Plan>,
    states: States,
    data: Vec<DataBytes>,
}

fn open_gang(
    program: &Program,
    prepared: &Prepared,
    data: Vec<DataBytes>,
    threads: Option<usize>,
) -> Result<Box<dyn Session>, OpenError> {
    let adapters: Vec<Option<gpu::Adapter>> = match &program.train.devices {
        Devices::Many(devices) => devices.iter().map(choose).collect::<Result<_, _>>()?,
        device => vec![choose(device)?],
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from) / peers::standing().local_size;
    let available = threads.unwrap_or_else(|| cores().max(1));
    let on_cpu = adapters.iter().filter(|adapter| adapter.is_none()).count();
    // Two kinds of executors have two kinds of plans, of the same steps.
    let mut kinds: Vec<(Fusion, Arc<Parts>)> = Vec::new();
    let mut replicas: Vec<gang::Open> = Vec::new();
    for adapter in adapters {
        let fusion = if adapter.is_some() { gpu::FUSION } else { cpu::FUSION };
        let known = kinds.iter().find(|(other, _)| *other == fusion).map(|(_, parts)| Arc::clone(parts));
        let parts = known.unwrap_or_else(|| {
            let own = prepare(program, fusion);
            let parts = Arc::new(Parts { plans: own.plans, states: own.states, data: data.clone() });
            kinds.push((fusion, Arc::clone(&parts)));
            parts
        });
        check_memory(program, prepared, &limits_of(adapter.as_ref()))?;
        replicas.push(Box::new(move || {
            let setup = Setup { plans: &parts.plans, states: &parts.states, data: &parts.data };
            match adapter {
                Some(adapter) => gpu::open(&setup, &adapter),
                None => cpu::open(&setup, Some((available / on_cpu).max(1))),
            }
        }));
    }
    let rows = program.data.splits.iter().map(|split| split.rows.to_string()).collect::<Vec<_>>().join(" ");
    let identity = format!("{} {rows}", pipeline_sha256(program));
    Ok(gang::open(prepared, replicas, program.train.shards.is_some(), peers::connect(), &identity)?)
}

/// Finds out which devices `all` stands for and, where processes train together, how many replicas there are in all. Of
/// processes on one machine each takes a GPU of its own, where the pipeline names none.
///
/// # Errors
/// When there is no real GPU, or a peer does not answer.
pub fn settle_devices(program: &mut Program) -> Result<(), BackendError> {
    let standing = peers::standing();
    if standing.local_size > 1 && matches!(program.train.devices, Devices::Auto | Devices::Gpu | Devices::All) {
        let found = gpu::all();
        match (&program.train.devices, found) {
            (Devices::Auto, Err(_)) => program.train.devices = Devices::Cpu,
            (_, found) => {
                let found = found?;
                program.settle_devices(vec![found[standing.local_rank % found.len()]]);
            }
        }
    }
    if program.train.devices == Devices::All {
        program.settle_devices(gpu::all()?);
    }
    if let Some(mut peers) = peers::connect() {
        let own = program.train.replicas();
        let all = peers.gather(&[own as u32])?;
        program.train.elsewhere = all.iter().map(|count| count[0] as usize).sum::<usize>() - own;
    }
    Ok(())
}

/// What the program's device can hold; the first of several.
///
/// # Errors
/// When there is no such device.
pub fn limits(program: &Program) -> Result<Limits, BackendError> {
    Ok(limits_of(choose(&program.train.devices)?.as_ref()))
}

fn limits_of(adapter: Option<&gpu::Adapter>) -> Limits {
    adapter.map_or_else(Limits::of_cpu, Limits::of_adapter)
}

/// What plans for the program's device may fuse. A device that is named and not there is taken for a GPU.
pub fn fusion(program: &Program) -> Fusion {
    match choose(&program.train.devices) {
        Ok(None) => cpu::FUSION,
        Ok(Some(_)) | Err(_) => gpu::FUSION,
    }
}

/// The WGSL of each dispatch of a plan on the program's device, with the kernels that it runs; `None` if that is the
/// CPU executor. A device that is named and not there is taken for a GPU.
///
/// # Errors
/// When a kernel cannot be run on any adapter.
pub fn wgsl(program: &Program, plan: &Plan) -> Result<Option<Vec<(String, String)>>, String> {
    match choose(&program.train.devices) {
        Ok(None) => Ok(None),
        Ok(Some(adapter)) => gpu::wgsl(plan, adapter.software).map(Some),
        Err(_) => gpu::wgsl(plan, false).map(Some),
    }
}

/// The adapter that is meant, the first of several; none for the CPU executor.
fn choose(devices: &Devices) -> Result<Option<gpu::Adapter>, BackendError> {
    Ok(match devices {
        Devices::Cpu => None,
        Devices::Auto => gpu::select("auto").ok(),
        Devices::Gpu => Some(gpu::select("gpu")?),
        Devices::Named(name) => Some(gpu::select(name)?),
        Devices::Index(index) => Some(gpu::select(&index.to_string())?),
        Devices::Many(devices) => choose(&devices[0])?,
        Devices::All => gpu::all()?.first().map(|index| gpu::select(&index.to_string())).transpose()?,
    })
}

/// The bytes of the data sets that the plans read, each once.
pub fn resident_data(program: &Program, prepared: &Prepared, loaded: &Loaded) -> Vec<DataBytes> {
    let mut all: Vec<DataBytes> = Vec::new();
    for info in prepared.plans.iter().flat_map(|plan| &plan.data) {
        if all.iter().any(|known| known.info.name == info.name) {
            continue;
        }
        let (source, kind) =
            info.name.rsplit_once('.').unwrap_or_else(|| unreachable!("data sets are named `source.kind`"));
        let index = program.data.sources.iter().position(|other| other.name == source);
        let index = index.unwrap_or_else(|| unreachable!("a data set belongs to a source"));
        let bytes = bytes_of(&loaded.datasets[index], kind, info);
        all.push(DataBytes { info: info.clone(), bytes: Arc::new(bytes) });
    }
    all
}

fn bytes_of(dataset: &Dataset, kind: &str, info: &DataInfo) -> Vec<u8> {
    let bytes = match (kind, &dataset.samples, &dataset.targets) {
        ("samples", Samples::U8(bytes), _) => bytes.to_vec(),
        ("samples", Samples::F32(values), _) => bytemuck::cast_slice(values).to_vec(),
        (_, _, Targets::Classes { labels, .. }) => bytemuck::cast_slice(labels).to_vec(),
        (_, _, Targets::Values { data, .. }) => bytemuck::cast_slice(data).to_vec(),
    };
    assert_eq!(bytes.len(), count(&info.shape) * info.dtype.size(), "`{}` has its size", info.name);
    bytes
}
