//! Opens the device that a program asks for.

use std::sync::Arc;

use half::f16;

use super::checkpoint::pipeline_sha256;
use super::memory::{Limits, OutOfMemory, check_memory, prepare_replicas};
use super::prepare::Prepared;
use crate::backend::peers::{Occasion, Peers};
use crate::backend::reopening::Reopening;
use crate::backend::{BackendError, DataBytes, Session, Setup, cpu, gang, gpu, peers};
use crate::check::program::{Devices, Program};
use crate::data::load::Loaded;
use crate::formats::{Dataset, Samples, Targets};
use crate::ir::graph::count;
use crate::ir::{DType, DataInfo, States};
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
/// CPU executor, whose replicas share them; all cores if `None`. Unless other processes train along, a GPU that is lost
/// can be opened again.
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
        return open_gang(program, prepared, &data, threads);
    }
    let devices = program.train.devices.clone();
    let adapter = choose(&devices)?;
    check_memory(program, prepared, &limits_of(adapter.as_ref(), 1))?;
    let choice = choice(program);
    let parts = Parts { plans: prepared.plans.clone(), states: prepared.states.clone(), data, choice };
    let Some(adapter) = adapter else { return Ok(parts.open(None, threads)?) };
    let mut first = Some(adapter);
    let open = move || {
        let adapter = first.take().map_or_else(|| choose_again(&devices), |adapter| Ok(Some(adapter)))?;
        parts.open(adapter, threads)
    };
    Ok(Box::new(Reopening::new(Box::new(open))?))
}

/// What a session is opened with.
struct Parts {
    plans: Vec<Plan>,
    states: States,
    data: Vec<DataBytes>,
    choice: gpu::Choice,
}

impl Parts {
    fn open(&self, adapter: Option<gpu::Adapter>, threads: Option<usize>) -> Result<Box<dyn Session>, BackendError> {
        let setup = Setup { plans: &self.plans, states: &self.states, data: &self.data };
        match adapter {
            Some(adapter) => gpu::open(&setup, &adapter, self.choice),
            None => cpu::open(&setup, threads),
        }
    }
}

/// Whether kernels may be chosen by a measurement: not where the bits must follow from the pipeline, nor in processes that
/// train together, which would each measure for themselves.
fn choice(program: &Program) -> gpu::Choice {
    if program.train.shards.is_some() || peers::standing().size > 1 {
        gpu::Choice::Fixed
    } else {
        gpu::Choice::Measured
    }
}

fn open_gang(
    program: &Program,
    prepared: &Prepared,
    data: &[DataBytes],
    threads: Option<usize>,
) -> Result<Box<dyn Session>, OpenError> {
    let devices = match &program.train.devices {
        Devices::Many(devices) => devices.clone(),
        device => vec![device.clone()],
    };
    let adapters: Vec<Option<gpu::Adapter>> = devices.iter().map(choose).collect::<Result<_, _>>()?;
    let cores = || std::thread::available_parallelism().map_or(1, usize::from) / peers::standing().local_size;
    let on_cpu = adapters.iter().filter(|adapter| adapter.is_none()).count();
    let threads = (threads.unwrap_or_else(|| cores().max(1)) / on_cpu.max(1)).max(1);
    let limits_of =
        |adapter: &Option<gpu::Adapter>| limits_of(adapter.as_ref(), replicas_on(adapter.as_ref(), &adapters));
    let limits: Vec<Limits> = adapters.iter().map(limits_of).collect();
    // Two kinds of executors have two kinds of plans, of the same steps.
    let mut kinds: Vec<(Fusion, Arc<Parts>)> = Vec::new();
    let mut parts: Vec<Arc<Parts>> = Vec::new();
    for (limits, own) in limits.iter().zip(prepare_replicas(program, &limits)?) {
        let known = kinds.iter().find(|(other, _)| *other == limits.fusion()).map(|(_, parts)| Arc::clone(parts));
        parts.push(known.unwrap_or_else(|| {
            let own = Prepared::clone(&own);
            let choice = choice(program);
            let parts = Arc::new(Parts { plans: own.plans, states: own.states, data: data.to_vec(), choice });
            kinds.push((limits.fusion(), Arc::clone(&parts)));
            parts
        }));
    }
    let rows = program.data.splits.iter().map(|split| split.rows.to_string()).collect::<Vec<_>>().join(" ");
    let identity = format!("{} {rows}", pipeline_sha256(program));
    let dealing = match (program.train.shards, program.train.balances) {
        (Some(_), _) => gang::Dealing::ByNumber,
        (None, true) => gang::Dealing::Measured,
        (None, false) => gang::Dealing::InTurn,
    };
    let prepared = prepared.clone();
    let mut first = Some(adapters);
    let mut open = move |peers: Option<Box<dyn Peers>>| {
        let again = |device: &Devices| if *device == Devices::Cpu { Ok(None) } else { choose_again(device) };
        let adapters = first.take().map_or_else(|| devices.iter().map(again).collect::<Result<_, _>>(), Ok)?;
        let replicas = adapters.into_iter().zip(&parts).map(|(adapter, parts)| {
            let parts = Arc::clone(parts);
            let open: gang::Open = Box::new(move || parts.open(adapter, Some(threads)));
            open
        });
        gang::open(&prepared, replicas.collect(), dealing, peers, &identity)
    };
    match peers::connect() {
        // Others would wait at another place of the training.
        Some(peers) => Ok(open(Some(peers))?),
        None => Ok(Box::new(Reopening::new(Box::new(move || open(None)))?)),
    }
}

/// Finds out which devices `all` stands for and, where processes train together, how many replicas there are in all. Of
/// processes on one machine each takes a GPU of its own, where the pipeline leaves the choice open: names none, or has a
/// name that several have.
///
/// # Errors
/// When there is no real GPU, or a peer does not answer.
pub fn settle_devices(program: &mut Program) -> Result<(), BackendError> {
    let standing = peers::standing();
    if let (Devices::Named(name), true) = (&program.train.devices, standing.local_size > 1) {
        let found = gpu::matching(name);
        // Where there is none, the error says what there is.
        if !found.is_empty() {
            program.settle_devices(vec![found[standing.local_rank % found.len()]]);
        }
    }
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
        let all = peers.gather(Occasion::Other, &[own as u32])?;
        program.train.elsewhere = all.iter().map(|count| count[0] as usize).sum::<usize>() - own;
    }
    Ok(())
}

/// What the program's device can hold; of several, what that with the least can.
///
/// # Errors
/// When there is no such device.
pub fn limits(program: &Program) -> Result<Limits, BackendError> {
    let Devices::Many(devices) = &program.train.devices else {
        return Ok(limits_of(choose(&program.train.devices)?.as_ref(), 1));
    };
    let adapters: Vec<Option<gpu::Adapter>> = devices.iter().map(choose).collect::<Result<_, _>>()?;
    let each = adapters.iter().map(|adapter| limits_of(adapter.as_ref(), replicas_on(adapter.as_ref(), &adapters)));
    let least = each.min_by_key(|limits| limits.total.unwrap_or(u64::MAX).min(limits.arena.unwrap_or(u64::MAX)));
    Ok(least.unwrap_or_else(|| unreachable!("a list of devices has one")))
}

fn limits_of(adapter: Option<&gpu::Adapter>, replicas: usize) -> Limits {
    adapter.map_or_else(Limits::of_cpu, |adapter| Limits::of_adapter(adapter, replicas))
}

/// How many of these are on this adapter.
fn replicas_on(adapter: Option<&gpu::Adapter>, all: &[Option<gpu::Adapter>]) -> usize {
    let index = |adapter: &gpu::Adapter| adapter.index;
    all.iter().filter(|other| other.as_ref().map(index) == adapter.map(index)).count()
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
        Ok(Some(adapter)) => gpu::wgsl_on(plan, &adapter, choice(program)).map(Some),
        Err(_) => gpu::wgsl(plan, false, true).map(Some),
    }
}

/// How the program's device stores numbers of 16 bits, for people: the first of several.
pub fn half_storage(program: &Program) -> String {
    match choose(&program.train.devices) {
        Ok(None) => {
            "the CPU rounds numbers of 16 bits and keeps them in 32: the same results, no memory saved".to_owned()
        }
        Ok(Some(adapter)) => {
            let name = &adapter.name;
            match gpu::has_native_halves(&adapter) {
                Ok(true) => format!("`{name}` stores numbers of 16 bits by itself (`f16` of WGSL)"),
                Ok(false) => format!("`{name}` stores numbers of 16 bits as halves of words: its driver has no `f16`"),
                Err(error) => format!("how `{name}` stores numbers of 16 bits is not known: {error}"),
            }
        }
        Err(error) => format!("how numbers of 16 bits are stored is not known: {error}"),
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

/// The adapter that takes the place of one that was lost: a GPU, since the plans are for one.
fn choose_again(devices: &Devices) -> Result<Option<gpu::Adapter>, BackendError> {
    match devices {
        Devices::Auto => gpu::select("auto").map(Some),
        devices => choose(devices),
    }
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
        ("samples", Samples::F32(values), _) if info.dtype == DType::F16 => {
            values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()
        }
        ("samples", Samples::F32(values), _) => bytemuck::cast_slice(values).to_vec(),
        (_, _, Targets::Classes { labels, .. }) => bytemuck::cast_slice(labels).to_vec(),
        (_, _, Targets::Values { data, .. }) => bytemuck::cast_slice(data).to_vec(),
    };
    assert_eq!(bytes.len(), count(&info.shape) * info.dtype.size(), "`{}` has its size", info.name);
    bytes
}
