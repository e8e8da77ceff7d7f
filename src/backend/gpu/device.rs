//! A device with its failures made visible: every wait is bounded, a lost device is noticed at the next call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wgpu::{BufferUsages, PollType};

use crate::backend::BackendError;

use super::adapters::Adapter;
use super::cache::DiskCache;
use super::grants::Grants;
use super::tune::Choices;

/// How long to wait for one submission, which is meant to last less than a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// The variable of the environment that says how many seconds to wait instead, for devices that are slow or shared.
const PATIENCE_VARIABLE: &str = "NNOPTC_PATIENCE";

/// The stack of a thread that calls a driver: NVIDIA's ran out of the usual 2 MiB beneath an unoptimized build.
pub const STACK_BYTES: usize = 16 << 20;

static HUNG: AtomicBool = AtomicBool::new(false);

/// Whether a device of this process did not finish its work. Its driver may then wait for it when the process ends.
pub fn is_hung() -> bool {
    HUNG.load(Ordering::Relaxed)
}

/// How long to wait for a submission, by what the environment says.
fn patience(given: Option<&str>) -> Result<Duration, String> {
    let Some(text) = given else { return Ok(PATIENCE) };
    let seconds = text.trim().parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| {
        let usual = PATIENCE.as_secs();
        format!(
            "`{PATIENCE_VARIABLE}` is `{text}`, expected the seconds to wait for a piece of work, such as {usual}; set it \
             to such a number or leave it out"
        )
    })
}

/// What went wrong first.
#[derive(Clone, Debug)]
enum Failure {
    Lost(String),
    Error(String),
}

/// A wgpu device and its queue.
pub(super) struct Gpu {
    pub name: String,
    /// Device and driver, which decide the bits of results.
    pub kind: String,
    pub software: bool,
    /// What its kernels may use.
    pub grants: Grants,
    /// The tiles of products that do not have the usual one.
    pub choices: Choices,
    /// What becomes of the text of kernels before it is compiled.
    #[cfg(test)]
    pub rewrite: Option<fn(&str) -> String>,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub limits: wgpu::Limits,
    pub cache: Option<DiskCache>,
    /// Whether the turns of every loop of a kernel are counted once more, as wgpu does to end those that do not end. Our
    /// loops do; on a GPU the count keeps the driver from unrolling any, which makes products slow. Drivers that compute on
    /// the CPU would unroll all, and compile for minutes.
    pub counts_turns: bool,
    /// How long a submission may take.
    pub patience: Duration,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Gpu {
    /// A new device on the adapter.
    pub fn open(adapter: &Adapter) -> Result<Gpu, BackendError> {
        let failed = |reason: String| BackendError::Failed { device: adapter.name.clone(), reason };
        if let Some(shortcoming) = adapter.shortcoming() {
            return Err(failed(shortcoming));
        }
        let patience = patience(std::env::var(PATIENCE_VARIABLE).ok().as_deref()).map_err(failed)?;
        let limits = adapter.inner.limits();
        let mut grants = Grants::of(adapter);
        let mut request = request(adapter, &limits, grants);
        if request.is_err() && grants.matrix.is_some() {
            // The rest is enough for all kernels.
            grants.matrix = None;
            request = self::request(adapter, &limits, grants);
        }
        let (device, queue) = request.map_err(|error| failed(error.to_string()))?;
        let failure = Arc::new(Mutex::new(None));
        let lost = Arc::clone(&failure);
        device.set_device_lost_callback(move |reason, message| {
            // Our own drop of the device is no loss; nobody looks any more.
            note(&lost, Failure::Lost(format!("{reason:?}: {message}")));
        });
        let error = Arc::clone(&failure);
        device.on_uncaptured_error(Arc::new(move |what| note(&error, Failure::Error(what.to_string()))));
        Ok(Gpu {
            name: adapter.name.clone(),
            kind: format!("{}, {}", adapter.name, adapter.driver),
            software: adapter.software,
            grants,
            choices: Choices::default(),
            #[cfg(test)]
            rewrite: None,
            cache: DiskCache::open(adapter, &device),
            device,
            queue,
            limits,
            counts_turns: adapter.software,
            patience,
            failure,
        })
    }

    /// Whether all is well so far.
    pub fn check(&self) -> Result<(), BackendError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match failure {
            None => Ok(()),
            Some(Failure::Lost(reason)) => Err(BackendError::Lost { device: self.name.clone(), reason }),
            Some(Failure::Error(reason)) => Err(self.failed(reason)),
        }
    }

    /// The device did what it must not.
    pub fn failed(&self, reason: String) -> BackendError {
        BackendError::Failed { device: self.name.clone(), reason }
    }

    /// A buffer of zeros, of which a kernel sees all.
    pub fn buffer(&self, what: &str, bytes: u64, usage: BufferUsages) -> Result<wgpu::Buffer, BackendError> {
        let visible = usage.contains(BufferUsages::STORAGE);
        let allowed = if visible {
            self.limits.max_buffer_size.min(self.limits.max_storage_buffer_binding_size)
        } else {
            self.limits.max_buffer_size
        };
        if bytes > allowed {
            let device = self.name.clone();
            return Err(BackendError::TooLarge { what: what.to_owned(), needed: bytes, allowed, device });
        }
        let size = bytes.max(16).next_multiple_of(4);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation: false,
        });
        self.check()?;
        Ok(buffer)
    }

    /// Waits for a submission; `work` says what it runs.
    pub fn wait_for(&self, submission: wgpu::SubmissionIndex, work: &str) -> Result<(), BackendError> {
        let wait = PollType::Wait { submission_index: Some(submission), timeout: Some(self.patience) };
        match self.device.poll(wait) {
            Ok(_) => self.check(),
            Err(wgpu::PollError::Timeout) => {
                // Dropping a device or its queue waits for the work, which may never end: these are never dropped.
                std::mem::forget((self.device.clone(), self.queue.clone()));
                HUNG.store(true, Ordering::Relaxed);
                let seconds = self.patience.as_secs_f64();
                Err(BackendError::Hung { device: self.name.clone(), work: work.to_owned(), seconds })
            }
            Err(error) => {
                // A submission to a lost device does not count; whether it is lost shows at a poll.
                self.device.poll(PollType::Poll).ok();
                self.check()?;
                Err(self.failed(error.to_string()))
            }
        }
    }

    /// Parts of a buffer (where they begin, and their length), after each other and after all work that was submitted.
    pub fn read(&self, buffer: &wgpu::Buffer, parts: &[(u64, u64)]) -> Result<Vec<u8>, BackendError> {
        self.check()?;
        let bytes = parts.iter().map(|(_, length)| length).sum();
        if bytes == 0 {
            return Ok(Vec::new());
        }
        let staging = self.buffer("a staging buffer", bytes, BufferUsages::COPY_DST | BufferUsages::MAP_READ)?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut to = 0;
        for &(offset, length) in parts.iter().filter(|(_, length)| *length > 0) {
            encoder.copy_buffer_to_buffer(buffer, offset, &staging, to, length);
            to += length;
        }
        let submission = self.queue.submit([encoder.finish()]);
        let (sender, receiver) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only if the wait below failed.
            sender.send(result).unwrap_or_default();
        });
        self.wait_for(submission, "reading back")?;
        match receiver.try_recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(self.failed(format!("could not read back: {error}"))),
            Err(_) => return Err(self.failed("could not read back: the driver did not answer".to_owned())),
        }
        let view = staging.get_mapped_range(..bytes).map_err(|error| self.failed(error.to_string()))?;
        Ok(view.to_vec())
    }
}

/// Asks the driver for a device.
fn request(
    adapter: &Adapter,
    limits: &wgpu::Limits,
    grants: Grants,
) -> Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError> {
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("nnoptc"),
        required_features: grants.features(adapter),
        required_limits: limits.clone(),
        experimental_features: experimental(grants),
        ..Default::default()
    };
    pollster::block_on(adapter.inner.request_device(&descriptor))
}

/// Unlocks what wgpu calls experimental, for adapters with cooperative matrices alone.
fn experimental(grants: Grants) -> wgpu::ExperimentalFeatures {
    if grants.matrix.is_none() {
        return wgpu::ExperimentalFeatures::disabled();
    }
    // SAFETY: this asks to know that wgpu may be wrong in such features. Only `matrix_tile` writes text for them; tests hold
    // all of it to naga's rules and run it with plain loops, and no session uses it before the self-test has passed.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

fn note(failure: &Mutex<Option<Failure>>, what: Failure) {
    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_a_number_of_seconds() {
        assert_eq!(patience(None), Ok(PATIENCE));
        assert_eq!(patience(Some(" 2.5 ")), Ok(Duration::from_millis(2500)));
        for wrong in ["", "a minute", "0", "-1", "nan", "inf", "1e300"] {
            let text = patience(Some(wrong)).expect_err(wrong);
            assert!(text.starts_with(&format!("`NNOPTC_PATIENCE` is `{wrong}`, expected the seconds")), "{text}");
        }
    }
}
