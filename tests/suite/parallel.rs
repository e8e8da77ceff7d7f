//! Several devices that train together: equal gradients, equal weights whatever the number, statistics of all of them, real
//! data to its threshold, and failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nnoptc::backend::gang::Dealing;
use nnoptc::backend::{BackendError, Meet, Session};
use nnoptc::check::program::Program;
use nnoptc::check::{Compilation, Request, compile};
use nnoptc::data::load::{Loaded, load};
use nnoptc::diagnostic::Severity;
use nnoptc::formats::{Disk, Memory};
use nnoptc::ir::{StateId, StateInfo, StateKind};
use nnoptc::lower::Mode;
use nnoptc::plan::prepare::prepare;
use nnoptc::train::device::{fusion, open_session};
use nnoptc::train::events::{Status, Summary};
use nnoptc::train::initialize::initial_words;
use nnoptc::train::memory::{Limits, memory_on_gpu, prepare_replicas};

use crate::harness::{adapters, number, relative_error};
use crate::training::{accuracy, has_mnist, program, repository, train};

/// `train.devices=[…]` of these.
fn devices(names: &[String]) -> String {
    format!("train.devices=[{}]", names.join(", "))
}

/// The two software adapters, as a list; empty where there are none.
fn both() -> Vec<String> {
    adapters().iter().map(|adapter| adapter.index.to_string()).collect()
}

fn short(devices: &str, more: &[&str]) -> Summary {
    let sets = [&["train.epochs=2", devices], more].concat();
    let summary = train(&program("examples/digits.nnopt", &sets), Some(2));
    assert_eq!(summary.status, Status::Completed, "{summary:?}");
    summary
}

/// By how much one update of all that a batch has moves the weights, at a rate of 1 without momentum: the gradient.
fn after_one_update(devices: &str) -> Vec<(String, Vec<f64>)> {
    let sets = [
        devices,
        "optimizer=sgd(lr = 1)",
        "schedule=constant",
        "train.epochs=1",
        // One batch in an epoch.
        "train.batch=1000",
        "train.drop_last=true",
        "train.early_stop=none",
    ];
    let program = program("examples/digits.nnopt", &sets);
    let prepared = prepare(&program, fusion(&program));
    let loaded = load(&program, &Disk).unwrap();
    let mut session = open_session(&program, &prepared, &loaded, Some(2)).unwrap();
    nnoptc::train::run::run(&program, &prepared, &loaded, &mut *session, None, &mut crate::training::Silent).unwrap();
    let infos = prepared.states.infos().iter().enumerate().filter(|(_, info)| info.kind == StateKind::Weight);
    infos
        .map(|(index, info)| {
            let words = session.read_state(StateId(index as u32)).unwrap();
            let moved = words.into_iter().zip(initial_words(info, program.train.seed));
            let by = |(end, start)| number(start, info.dtype) - number(end, info.dtype);
            (info.name.clone(), moved.map(by).collect())
        })
        .collect()
}

#[test]
fn the_first_gradient_is_that_of_one_device() {
    let alone = after_one_update("train.devices=cpu");
    assert!(!alone.is_empty());
    let mut gangs = vec![vec!["cpu".to_owned(); 2], vec!["cpu".to_owned(); 4]];
    if !both().is_empty() {
        gangs.push(both());
        gangs.push([both(), vec!["cpu".to_owned(), "cpu".to_owned()]].concat());
    }
    for gang in gangs {
        let together = after_one_update(&devices(&gang));
        for ((name, found), (_, wanted)) in together.iter().zip(&alone) {
            let error = relative_error(found, wanted, 0.0);
            assert!(error <= 1e-6, "{name} on {gang:?}: {error:e}");
        }
    }
}

/// Digits as images, through batch normalization of channels and of features, in branches as well.
fn compiled(sync: bool, sets: &[&str]) -> (Compilation, Memory) {
    let text = "nnopt 1
data { train = csv(\"data/digits.csv\", target = label, shape = [1, 8, 8]); normalize = auto }
model {
    branch {
        { conv2d(4, kernel = 3, padding = 1) -> batch_norm(sync = SYNC) -> relu }
        { conv2d(3, kernel = 3, padding = 1) -> batch_norm(sync = SYNC, affine = false) -> relu }
    } join concat
    max_pool(2)
    flatten
    linear(16) -> batch_norm(sync = SYNC) -> relu
    linear(classes)
}
loss      = cross_entropy
optimizer = sgd(lr = 0.1)
train { epochs = 1; batch = 48; seed = 3 }
";
    let rows = std::fs::read_to_string(repository("examples/data/digits.csv")).unwrap();
    // Whole batches, and seven rows that no number of devices divides.
    let rows: Vec<&str> = rows.lines().take(1 + 2 * 48 + 7).collect();
    let files = Memory::new()
        .with("p.nnopt", text.replace("SYNC", if sync { "true" } else { "false" }).as_str())
        .with("data/digits.csv", rows.join("\n").as_str());
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    (compile(&Request { path: "p.nnopt".into(), sets, profile: None }, &files).unwrap(), files)
}

/// The same without mistakes.
fn normalized(sync: bool, sets: &[&str]) -> (Program, Loaded) {
    let (compilation, files) = compiled(sync, sets);
    let program = compilation.program.unwrap_or_else(|| panic!("{:?}", compilation.diagnostics));
    let loaded = load(&program, &files).unwrap();
    (program, loaded)
}

/// By how much a training moves the model: weights and running statistics.
fn learned(sync: bool, sets: &[&str]) -> Vec<(String, Vec<f64>)> {
    let (program, loaded) = normalized(sync, sets);
    let prepared = prepare(&program, fusion(&program));
    let mut session = open_session(&program, &prepared, &loaded, Some(2)).unwrap();
    let silent = &mut crate::training::Silent;
    let summary = nnoptc::train::run::run(&program, &prepared, &loaded, &mut *session, None, silent).unwrap();
    assert_eq!(summary.status, Status::Completed);
    let is_model = |info: &StateInfo| matches!(info.kind, StateKind::Weight | StateKind::Buffer);
    let infos = prepared.states.infos().iter().enumerate().filter(|(_, info)| is_model(info));
    infos
        .map(|(index, info)| {
            let words = session.read_state(StateId(index as u32)).unwrap();
            let moved = words.into_iter().zip(initial_words(info, program.train.seed));
            let by = |(end, start)| number(end, info.dtype) - number(start, info.dtype);
            (info.name.clone(), moved.map(by).collect())
        })
        .collect()
}

/// The largest error of a tensor of the model, and its name. What hardly moves has no error: `batch_norm` takes back what the
/// bias of the layer before it adds.
fn worst(found: &[(String, Vec<f64>)], wanted: &[(String, Vec<f64>)]) -> (f64, String) {
    let errors = found.iter().zip(wanted).map(|((name, found), (other, wanted))| {
        assert_eq!(name, other);
        (relative_error(found, wanted, 1e-3), name.clone())
    });
    errors.max_by(|(a, _), (b, _)| a.total_cmp(b)).unwrap()
}

#[test]
fn synchronized_statistics_are_those_of_one_device() {
    let cpus = |count: usize| devices(&vec!["cpu".to_owned(); count]);
    let alone = learned(true, &["train.devices=cpu"]);
    // Without other devices there is nothing to synchronize.
    assert_eq!(alone, learned(false, &["train.devices=cpu"]));
    let mut gangs = vec![cpus(2), cpus(3), cpus(4)];
    if !both().is_empty() {
        gangs.push(devices(&both()));
        gangs.push(devices(&[both(), vec!["cpu".to_owned()]].concat()));
    }
    for gang in gangs {
        let (error, name) = worst(&learned(true, &[&gang]), &alone);
        assert!(error <= 1e-4, "{name} on {gang}: {error:e}");
    }
    let (error, _) = worst(&learned(false, &[&cpus(3)]), &alone);
    assert!(error >= 0.1, "each device has statistics of its own without `sync`: {error:e}");
}

#[test]
fn the_parts_of_an_accumulated_update_have_statistics_of_their_own() {
    // Two devices with two parts each compute the first half of a batch together, and then the second.
    let sets = ["train.accumulate=2", "train.drop_last=true"];
    let alone = learned(true, &[&sets[..], &["train.devices=cpu"]].concat());
    let (error, name) = worst(&learned(true, &[&sets[..], &["train.devices=[cpu, cpu]"]].concat()), &alone);
    assert!(error <= 1e-4, "{name}: {error:e}");
}

#[test]
fn statistics_are_synchronized_in_16_bits() {
    for precision in ["train.precision=mixed", "train.precision=f16_storage"] {
        let alone = learned(true, &[precision, "train.devices=cpu"]);
        let mut gangs = vec![vec!["cpu".to_owned(); 2]];
        gangs.extend((!both().is_empty()).then(both));
        for gang in gangs {
            let (error, name) = worst(&learned(true, &[precision, &devices(&gang)]), &alone);
            // Numbers of 16 bits have three digits.
            assert!(error <= 2e-2, "{name} on {gang:?}, {precision}: {error:e}");
        }
    }
}

/// The codes of what is wrong.
fn errors(sync: bool, sets: &[&str]) -> Vec<&'static str> {
    let (compilation, _) = compiled(sync, sets);
    let errors = compilation.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|diagnostic| diagnostic.code.0).collect()
}

#[test]
fn a_sample_for_each_device_is_enough_for_statistics_of_all() {
    let sets = ["train.devices=[cpu, cpu, cpu]", "train.batch=3"];
    // The last batch has one sample.
    assert_eq!(errors(true, &sets), ["E0404"]);
    let sets = [&sets[..], &["train.drop_last=true"]].concat();
    assert_eq!(errors(false, &sets), ["E0404"]);
    let alone = learned(true, &["train.devices=cpu", "train.batch=3", "train.drop_last=true", "optimizer.lr=1e-3"]);
    let (error, name) = worst(&learned(true, &[&sets[..], &["optimizer.lr=1e-3"]].concat()), &alone);
    assert!(error <= 1e-3, "{name}: {error:e}");
}

#[test]
fn devices_that_cannot_wait_for_each_other_are_refused() {
    let codes = |set: &str| errors(true, &["train.devices=[cpu, cpu]", "train.drop_last=true", set]);
    assert_eq!(codes("train.balance=measured"), ["E0307"]);
    assert_eq!(codes("train.reproducible=shards(8)"), ["E0307"]);
    assert_eq!(codes("train.accumulate=2"), [""; 0]);
}

#[test]
fn shards_give_the_same_bits_on_any_number_of_replicas() {
    let shards = ["train.reproducible=shards(8)", "train.batch=64"];
    let mut kinds = vec!["cpu".to_owned()];
    kinds.extend(adapters().iter().map(|adapter| adapter.index.to_string()));
    for kind in kinds {
        let hash = |replicas: usize| short(&devices(&vec![kind.clone(); replicas]), &shards).weights_sha256;
        let one = hash(1);
        for replicas in [2, 4] {
            assert_eq!(hash(replicas), one, "{replicas} replicas of {kind}");
        }
    }
    // Also with statistics that every replica keeps, random numbers, and 16 bits.
    let hash = |replicas: usize| {
        let list = devices(&vec!["cpu".to_owned(); replicas]);
        let sets = [
            &*list,
            "train.epochs=1",
            "train.reproducible=shards(8)",
            "train.precision=mixed",
            "train.early_stop=none",
        ];
        train(&program("examples/digits_cnn.nnopt", &sets), Some(2)).weights_sha256
    };
    assert_eq!(hash(1), hash(4));
}

#[test]
fn replicas_learn_what_one_device_learns() {
    let list = devices(&["cpu".to_owned(), "cpu".to_owned()]);
    for path in ["examples/digits.nnopt", "examples/digits_cnn.nnopt"] {
        let summary = train(&program(path, &[&list]), None);
        let accuracy = summary.test.iter().find(|(name, _)| name == "accuracy").unwrap().1;
        assert!(accuracy >= 0.95, "{path}: {accuracy}");
    }
}

#[test]
fn two_different_adapters_learn_mnist_together() {
    if both().len() < 2 || !has_mnist() {
        return;
    }
    // The whole training where everything is tested; it takes minutes.
    let (epochs, least) = if std::env::var_os("CI").is_some() { (5, 0.97) } else { (1, 0.93) };
    let figure = accuracy("examples/mnist_mlp.nnopt", &[&devices(&both()), &format!("train.epochs={epochs}")]);
    assert!(figure >= least, "{figure}");
}

/// A session that fails after some steps.
struct Failing {
    inner: Box<dyn Session>,
    steps: usize,
}

impl Session for Failing {
    fn device(&self) -> String {
        self.inner.device()
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.inner.write_state(id, words)
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        self.inner.read_state(id)
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        if self.steps == 0 {
            return Err(BackendError::Lost { device: "the second".to_owned(), reason: "pulled out".to_owned() });
        }
        self.steps -= 1;
        self.inner.run(plan, rows)
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.inner.wait()
    }
}

#[test]
fn a_replica_that_fails_ends_the_training_with_its_message() {
    let list = devices(&["cpu".to_owned(), "cpu".to_owned()]);
    let program = program("examples/digits.nnopt", &[&list]);
    let prepared = prepare(&program, fusion(&program));
    let loaded = load(&program, &Disk).unwrap();
    for panics in [false, true] {
        let replicas = (0..2)
            .map(|index| {
                let (plans, states) = (prepared.plans.clone(), prepared.states.clone());
                let data = nnoptc::train::device::resident_data(&program, &prepared, &loaded);
                let open: nnoptc::backend::gang::Open = Box::new(move || {
                    assert!(!(panics && index == 1), "this replica is meant to panic");
                    let setup = nnoptc::backend::Setup { plans: &plans, states: &states, data: &data };
                    let inner = nnoptc::backend::cpu::open(&setup, Some(1))?;
                    let steps = if index == 1 { 20 } else { usize::MAX };
                    Ok(Box::new(Failing { inner, steps }))
                });
                open
            })
            .collect();
        let opened = nnoptc::backend::gang::open(&prepared, replicas, Dealing::InTurn, None, "");
        let message = match opened {
            Err(error) => error.to_string(),
            Ok(mut session) => {
                let silent = &mut crate::training::Silent;
                let result = nnoptc::train::run::run(&program, &prepared, &loaded, &mut *session, None, silent);
                result.err().map_or_else(|| "it went well".to_owned(), |error| error.to_string())
            }
        };
        let wanted = if panics { "its thread has ended" } else { "the device `the second` was lost: pulled out" };
        assert!(message.contains(wanted), "{message}");
    }
}

/// A session that fails, or panics, when it is to meet others for the sixth time.
pub struct Unmet {
    pub inner: Box<dyn Session>,
    pub meetings: usize,
    pub panics: bool,
}

impl Session for Unmet {
    fn device(&self) -> String {
        self.inner.device()
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.inner.write_state(id, words)
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        self.inner.read_state(id)
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        self.inner.run(plan, rows)
    }

    fn run_and_give(
        &mut self,
        plan: usize,
        row: &[u32],
        groups: &[Vec<StateId>],
        give: &mut dyn FnMut(Vec<u32>),
        meet: Meet,
    ) -> Result<(), BackendError> {
        let (meetings, panics) = (&mut self.meetings, self.panics);
        let mut once_more = |own| {
            *meetings += 1;
            if *meetings < 6 {
                return meet(own);
            }
            assert!(!panics, "this replica is meant to panic");
            Err(BackendError::Lost { device: "the second".to_owned(), reason: "pulled out".to_owned() })
        };
        self.inner.run_and_give(plan, row, groups, give, &mut once_more)
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.inner.wait()
    }
}

#[test]
fn nobody_waits_for_a_replica_that_fails_where_others_meet_it() {
    // The sixth meeting is in the first part of an update, or in the last one.
    for (accumulate, panics) in [(1, false), (1, true), (2, false), (2, true)] {
        let sets = ["train.devices=[cpu, cpu, cpu]", &format!("train.accumulate={accumulate}")];
        let (program, loaded) = normalized(true, &sets);
        let prepared = prepare(&program, fusion(&program));
        let replicas = (0..3)
            .map(|index| {
                let (plans, states) = (prepared.plans.clone(), prepared.states.clone());
                let data = nnoptc::train::device::resident_data(&program, &prepared, &loaded);
                let open: nnoptc::backend::gang::Open = Box::new(move || {
                    let setup = nnoptc::backend::Setup { plans: &plans, states: &states, data: &data };
                    let inner = nnoptc::backend::cpu::open(&setup, Some(1))?;
                    Ok(if index == 1 { Box::new(Unmet { inner, meetings: 0, panics }) } else { inner })
                });
                open
            })
            .collect();
        let mut session = nnoptc::backend::gang::open(&prepared, replicas, Dealing::InTurn, None, "").unwrap();
        let silent = &mut crate::training::Silent;
        let result = nnoptc::train::run::run(&program, &prepared, &loaded, &mut *session, None, silent);
        let message = result.unwrap_err().to_string();
        let wanted = if panics { "its thread has ended" } else { "the device `the second` was lost: pulled out" };
        assert!(message.contains(wanted), "{message}");
        // Its threads end as well.
        drop(session);
    }
}

/// Takes its time for every part of an update, and counts them.
struct Slow {
    inner: Box<dyn Session>,
    /// The plans that are parts of updates.
    counted: Vec<bool>,
    words: Vec<usize>,
    delay: Duration,
    parts: Arc<AtomicUsize>,
}

impl Session for Slow {
    fn device(&self) -> String {
        "a slow one".to_owned()
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.inner.write_state(id, words)
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        self.inner.read_state(id)
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        if self.counted[plan] {
            let parts = rows.len() / self.words[plan];
            self.parts.fetch_add(parts, Ordering::Relaxed);
            std::thread::sleep(self.delay * parts as u32);
        }
        self.inner.run(plan, rows)
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.inner.wait()
    }
}

#[test]
fn a_slow_device_gets_fewer_parts_where_they_are_balanced() {
    let list = devices(&["cpu".to_owned(), "cpu".to_owned()]);
    let run = |balance: &str| {
        let settings = [&list, balance, "train.epochs=2", "train.early_stop=none"];
        let program = program("examples/digits.nnopt", &settings);
        let prepared = prepare(&program, fusion(&program));
        let loaded = load(&program, &Disk).unwrap();
        let parts = [0, 1].map(|_| Arc::new(AtomicUsize::new(0)));
        let replicas = (0..2).map(|index| {
            let (plans, states) = (prepared.plans.clone(), prepared.states.clone());
            let data = nnoptc::train::device::resident_data(&program, &prepared, &loaded);
            let modes = prepared.steps.iter().map(|step| step.spec.mode == Mode::Accumulate).collect();
            let words = prepared.plans.iter().map(|plan| plan.step.words).collect();
            let (parts, delay) = (Arc::clone(&parts[index]), Duration::from_millis([2, 12][index]));
            let open: nnoptc::backend::gang::Open = Box::new(move || {
                let setup = nnoptc::backend::Setup { plans: &plans, states: &states, data: &data };
                let inner = nnoptc::backend::cpu::open(&setup, Some(1))?;
                Ok(Box::new(Slow { inner, counted: modes, words, delay, parts }))
            });
            open
        });
        let dealing = if program.train.balances { Dealing::Measured } else { Dealing::InTurn };
        let mut session = nnoptc::backend::gang::open(&prepared, replicas.collect(), dealing, None, "").unwrap();
        let silent = &mut crate::training::Silent;
        let summary = nnoptc::train::run::run(&program, &prepared, &loaded, &mut *session, None, silent).unwrap();
        (parts.map(|parts| parts.load(Ordering::Relaxed)), summary)
    };
    let (equal, expected) = run("train.balance=equal");
    assert_eq!(equal[0], equal[1]);
    let (balanced, found) = run("train.balance=measured");
    // Four parts for each where there was one, six of seven of them for the faster one.
    assert_eq!(balanced[0] + balanced[1], 4 * (equal[0] + equal[1]));
    assert!(balanced[0] > 3 * balanced[1], "{balanced:?}");
    let [expected, found] = [expected, found].map(|summary| summary.test[0].1);
    assert!((found / expected - 1.0).abs() < 1e-3, "the test loss is {found}, with equal parts {expected}");
}

#[test]
fn a_plan_says_how_a_batch_is_divided() {
    let example = crate::training::repository("examples/digits.nnopt");
    let folder = tempfile::tempdir().unwrap();
    let says = |sets: &[&str]| {
        let mut arguments = vec!["plan", example.to_str().unwrap()];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let output = crate::cli::nnoptc(folder.path(), &arguments);
        let text = crate::cli::text(&output.stdout).to_owned();
        assert!(output.status.success(), "{text}");
        text.lines().find(|line| line.starts_with("a batch of")).map(str::to_owned)
    };
    let two = "train.devices=[cpu, cpu]";
    // The global batch is what a device has × devices × accumulation.
    for (sets, wanted) in [
        (&["train.devices=cpu"][..], None),
        (&["train.devices=cpu", "train.accumulate=4"], Some("a batch of 64 is 4 parts of 16")),
        (&[two], Some("a batch of 64 is 2 devices, 32 samples each")),
        (&[two, "train.accumulate=2"], Some("a batch of 64 is 2 devices, each 2 parts of 16 samples")),
        (&[two, "train.reproducible=shards(8)"], Some("a batch of 64 is 8 shards on 2 devices, 8 samples each")),
        (
            &[two, "train.balance=measured"],
            Some("a batch of 64 is 8 parts of 8 samples, for 2 devices by their measured speed"),
        ),
    ] {
        assert_eq!(says(sets).as_deref(), wanted, "{sets:?}");
    }
}

#[test]
fn each_device_of_a_gang_is_held_to_its_own_plan() {
    let program = program("examples/digits_cnn.nnopt", &["train.devices=[cpu, cpu]"]);
    let cpu = Limits { device: "CPU".to_owned(), total: None, arena: None, gpu: false };
    let gpu = |arena| Limits { device: "a GPU".to_owned(), arena: Some(arena), gpu: true, ..cpu.clone() };
    let needed = memory_on_gpu(&program, program.train.precision).arena;
    assert!(prepare_replicas(&program, &[cpu.clone(), gpu(needed)]).is_ok());
    let error = prepare_replicas(&program, &[cpu.clone(), gpu(needed - 1)]).err().unwrap();
    assert_eq!(error.device, "a GPU");
    // The plan of the first device has reductions that no GPU runs, and says something else.
    assert_ne!(prepare(&program, nnoptc::backend::cpu::FUSION).memory().arena, needed);
}
