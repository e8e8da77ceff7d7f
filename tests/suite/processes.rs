//! Processes that train together, as threads that talk as processes do: equal weights whatever their number, and what is
//! noticed; and what the replicas of a gang exchange bucket by bucket. `scripts/test-mpi` has real processes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nnoptc::backend::gang::{self, Dealing};
use nnoptc::backend::peers::{Occasion, Peers, Standing, share};
use nnoptc::backend::{BackendError, Session, Setup, alone, cpu, gpu};
use nnoptc::check::program::Program;
use nnoptc::check::{Request, compile};
use nnoptc::data::load::{Loaded, load};
use nnoptc::formats::Memory;
use nnoptc::ir::{StateId, StateKind};
use nnoptc::lower::{Mode, gradient_state, scaler};
use nnoptc::plan::prepare::{Prepared, prepare};
use nnoptc::train::device::{open_session, resident_data};
use nnoptc::train::events::{Event, Observer, Scaling, Summary};
use nnoptc::train::run::run;

use crate::harness::adapters;
use crate::parallel::Unmet;
use crate::training::{Silent, repository};

/// What everyone gives, by rank.
type Given = Vec<Vec<Vec<u32>>>;

/// Where the processes meet.
struct Hall {
    size: usize,
    state: Mutex<Meeting>,
    changed: Condvar,
}

#[derive(Default)]
struct Meeting {
    number: usize,
    given: Vec<Option<Vec<Vec<u32>>>>,
    last: Arc<Given>,
    /// Who has gone.
    gone: Option<usize>,
}

/// One of the processes.
struct Member {
    hall: Arc<Hall>,
    rank: usize,
}

impl Member {
    fn all(size: usize) -> Vec<Member> {
        let state = Mutex::new(Meeting { given: vec![None; size], ..Meeting::default() });
        let hall = Arc::new(Hall { size, state, changed: Condvar::new() });
        (0..size).map(|rank| Member { hall: Arc::clone(&hall), rank }).collect()
    }

    fn meet(&self, mine: Vec<Vec<u32>>) -> Result<Arc<Given>, BackendError> {
        let mut meeting = self.hall.state.lock().unwrap();
        let number = meeting.number;
        meeting.given[self.rank] = Some(mine);
        if meeting.given.iter().all(Option::is_some) {
            meeting.last = Arc::new(meeting.given.iter_mut().filter_map(Option::take).collect());
            meeting.number += 1;
            self.hall.changed.notify_all();
        }
        while meeting.number == number {
            if let Some(rank) = meeting.gone {
                return Err(BackendError::Peer { rank, reason: "it has gone".to_owned() });
            }
            let (next, late) = self.hall.changed.wait_timeout(meeting, Duration::from_secs(120)).unwrap();
            assert!(!late.timed_out(), "a process does not come");
            meeting = next;
        }
        Ok(Arc::clone(&meeting.last))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hall.state.lock().unwrap().gone.get_or_insert(self.rank);
        self.hall.changed.notify_all();
    }
}

impl Peers for Member {
    fn standing(&self) -> Standing {
        Standing { rank: self.rank, size: self.hall.size, local_rank: self.rank, local_size: self.hall.size }
    }

    fn gather(&mut self, _: Occasion, mine: &[u32]) -> Result<Vec<Vec<u32>>, BackendError> {
        Ok(self.meet(vec![mine.to_vec()])?.iter().map(|given| given[0].clone()).collect())
    }

    fn scatter(&mut self, words: usize, mine: &[&[u32]]) -> Result<Vec<Vec<Vec<u32>>>, BackendError> {
        let own = share(words, self.rank, self.hall.size);
        let all = self.meet(mine.iter().map(|part| part.to_vec()).collect())?;
        assert!(all.iter().flatten().all(|part| part.len() == words));
        Ok(all.iter().map(|given| given.iter().map(|part| part[own.clone()].to_vec()).collect()).collect())
    }
}

/// A net whose gradients are three buckets.
const WIDE: &str = "linear(520) -> relu -> linear(520) -> relu -> linear(520) -> relu";
/// One whose devices meet in the middle of a step.
const SYNCHRONIZED: &str =
    "linear(24) -> batch_norm(sync = true) -> relu -> linear(24) -> batch_norm(sync = true) -> relu";

/// Digits, in such a net.
fn digits(hidden: &str, sets: &[&str]) -> (Program, Loaded) {
    let text = std::fs::read_to_string(repository("examples/digits.nnopt")).unwrap();
    let wide = text.replace("linear(64) -> relu", hidden);
    assert_ne!(wide, text);
    let rows = std::fs::read_to_string(repository("examples/data/digits.csv")).unwrap();
    // Enough for some updates.
    let rows: Vec<&str> = rows.lines().take(301).collect();
    let files = Memory::new().with("p.nnopt", wide.as_str()).with("data/digits.csv", rows.join("\n").as_str());
    let sets = [&["train.epochs=1", "train.early_stop=none"], sets].concat();
    let sets = sets.into_iter().map(str::to_owned).collect();
    let compilation = compile(&Request { path: "p.nnopt".into(), sets, profile: None }, &files).unwrap();
    let program = compilation.program.unwrap_or_else(|| panic!("{:?}", compilation.diagnostics));
    let loaded = load(&program, &files).unwrap();
    (program, loaded)
}

fn wide(sets: &[&str]) -> (Program, Loaded) {
    digits(WIDE, sets)
}

/// Changes the session of a replica: its process, its number there, what it runs.
type Change = fn(usize, usize, &Prepared, Box<dyn Session>) -> Box<dyn Session>;

/// Opens replicas on the CPU as one gang, alone or with others.
fn open(
    program: &Program,
    loaded: &Loaded,
    prepared: &Prepared,
    replicas: usize,
    member: Option<Member>,
    change: Change,
) -> Result<Box<dyn Session>, BackendError> {
    let rank = member.as_ref().map_or(0, |member| member.rank);
    let replicas = (0..replicas).map(|replica| {
        let prepared = prepared.clone();
        let data = resident_data(program, &prepared, loaded);
        let open: gang::Open = Box::new(move || {
            let setup = Setup { plans: &prepared.plans, states: &prepared.states, data: &data };
            Ok(change(rank, replica, &prepared, cpu::open(&setup, Some(1))?))
        });
        open
    });
    let dealing = if program.train.shards.is_some() { Dealing::ByNumber } else { Dealing::InTurn };
    let peers = member.map(|member| -> Box<dyn Peers> { Box::new(member) });
    gang::open(prepared, replicas.collect(), dealing, peers, "the same")
}

fn as_it_is(_: usize, _: usize, _: &Prepared, session: Box<dyn Session>) -> Box<dyn Session> {
    session
}

/// Trains a net in so many processes with so many replicas each.
fn processes(
    hidden: &str,
    count: usize,
    replicas: usize,
    sets: &[&str],
    change: Change,
) -> Vec<Result<Summary, String>> {
    let list = format!("train.devices=[{}]", vec!["cpu"; replicas].join(", "));
    let sets = [sets, &[list.as_str()]].concat();
    std::thread::scope(|scope| {
        let one = |member: Member| {
            let sets = &sets;
            scope.spawn(move || {
                let (mut program, loaded) = digits(hidden, sets);
                program.train.elsewhere = (count - 1) * replicas;
                let prepared = prepare(&program, cpu::FUSION);
                let mut session = open(&program, &loaded, &prepared, replicas, Some(member), change).unwrap();
                let summary = run(&program, &prepared, &loaded, &mut *session, None, &mut Silent);
                summary.map_err(|error| error.to_string())
            })
        };
        let threads: Vec<_> = Member::all(count).into_iter().map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The hash that all processes come to.
fn hash(count: usize, replicas: usize, sets: &[&str]) -> String {
    hash_of(WIDE, count, replicas, sets)
}

fn hash_of(hidden: &str, count: usize, replicas: usize, sets: &[&str]) -> String {
    let all = processes(hidden, count, replicas, sets, as_it_is).into_iter();
    let hashes: Vec<String> = all.map(|summary| summary.unwrap().weights_sha256).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    hashes[0].clone()
}

#[test]
fn processes_come_to_the_weights_of_one() {
    let shards = ["train.reproducible=shards(4)", "train.batch=64"];
    let (program, loaded) = wide(&[&shards[..], &["train.devices=cpu"]].concat());
    let prepared = prepare(&program, cpu::FUSION);
    let mut session = open_session(&program, &prepared, &loaded, Some(2)).unwrap();
    let alone = run(&program, &prepared, &loaded, &mut *session, None, &mut Silent).unwrap().weights_sha256;
    // Also where processes have unequal numbers of parts, and several replicas.
    for (count, replicas) in [(2, 1), (3, 1), (2, 2)] {
        assert_eq!(hash(count, replicas, &shards), alone, "{count} processes of {replicas}");
    }
}

#[test]
fn without_shards_replicas_are_added_up_in_the_order_of_the_processes() {
    let sets = ["train.batch=64"];
    let one = hash(1, 4, &sets);
    assert_eq!(hash(2, 2, &sets), one);
    assert_eq!(hash(4, 1, &sets), one);
}

#[test]
fn replicas_of_all_processes_have_their_statistics_together() {
    let (program, _) = digits(SYNCHRONIZED, &["train.devices=cpu"]);
    // Of the last batch, two of four replicas have nothing, which may be all that a process has.
    assert_eq!(program.data.splits[0].rows % 52, 2);
    for sets in [&["train.batch=52"][..], &["train.batch=64"], &["train.batch=64", "train.accumulate=2"]] {
        let one = hash_of(SYNCHRONIZED, 1, 4, sets);
        for (count, replicas) in [(2, 2), (4, 1)] {
            assert_eq!(hash_of(SYNCHRONIZED, count, replicas, sets), one, "{count} processes of {replicas}, {sets:?}");
        }
    }
}

/// In the second process, the replica fails where it is to meet others.
fn fails(rank: usize, _: usize, _: &Prepared, inner: Box<dyn Session>) -> Box<dyn Session> {
    if rank == 1 { Box::new(Unmet { inner, meetings: 0, panics: false }) } else { inner }
}

#[test]
fn no_process_waits_for_one_whose_replica_fails_where_others_meet_it() {
    let all = processes(SYNCHRONIZED, 2, 2, &["train.batch=64"], fails);
    let messages: Vec<String> = all.into_iter().map(|result| result.unwrap_err()).collect();
    assert!(messages[0].contains("rank 1 has failed"), "{messages:?}");
    assert!(messages[1].contains("pulled out"), "{messages:?}");
}

/// A session that changes a state after an update or a part of one.
struct Changing {
    inner: Box<dyn Session>,
    /// The plans after which it does.
    plans: Vec<bool>,
    /// Runs of them until then.
    left: usize,
    state: StateId,
    change: fn(&mut u32),
}

impl Session for Changing {
    fn device(&self) -> String {
        self.inner.device()
    }

    fn kind(&self) -> String {
        self.inner.kind()
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.inner.write_state(id, words)
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        self.inner.read_state(id)
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        self.inner.run(plan, rows)?;
        if self.plans[plan] && self.left > 0 {
            self.left -= 1;
            if self.left == 0 {
                let mut words = self.inner.read_state(self.state)?;
                (self.change)(&mut words[0]);
                self.inner.write_state(self.state, &words)?;
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.inner.wait()
    }
}

fn changing(
    inner: Box<dyn Session>,
    prepared: &Prepared,
    mode: Mode,
    state: StateId,
    change: fn(&mut u32),
) -> Box<dyn Session> {
    let plans = prepared.steps.iter().map(|step| step.spec.mode == mode).collect();
    Box::new(Changing { inner, plans, left: 2, state, change })
}

fn first_weight(prepared: &Prepared) -> usize {
    prepared.states.infos().iter().position(|info| info.kind == StateKind::Weight).unwrap()
}

/// In the second process, a bit of a weight changes after the second update.
fn one_bit(rank: usize, _: usize, prepared: &Prepared, session: Box<dyn Session>) -> Box<dyn Session> {
    if rank == 0 {
        return session;
    }
    changing(session, prepared, Mode::Apply, StateId(first_weight(prepared) as u32), |word| *word ^= 1)
}

/// The same in the second replica of a process.
fn one_bit_of_a_replica(_: usize, replica: usize, prepared: &Prepared, session: Box<dyn Session>) -> Box<dyn Session> {
    one_bit(replica, 0, prepared, session)
}

#[test]
fn weights_that_differ_at_the_end_are_an_error_for_all() {
    for result in processes(WIDE, 2, 1, &["train.batch=64"], one_bit) {
        let message = result.unwrap_err();
        let wanted = "rank 1 has failed: its weights on `CPU, ";
        assert!(message.starts_with(wanted) && message.contains("are not those of rank 0"), "{message}");
    }
    let message = processes(WIDE, 1, 2, &["train.batch=64"], one_bit_of_a_replica).remove(0).unwrap_err();
    assert!(message.contains("the weights of two of its replicas are not equal"), "{message}");
}

/// What a training says of loss scaling, epoch by epoch.
#[derive(Default)]
struct Scales(Vec<Scaling>);

impl Observer for Scales {
    fn event(&mut self, event: &Event) {
        if let Event::Epoch(record) = event {
            self.0.extend(record.scaling);
        }
    }
}

/// Tells the loss scale that it has in the end.
struct Told {
    inner: Box<dyn Session>,
    scale: StateId,
    to: Arc<Mutex<Vec<f32>>>,
}

impl Session for Told {
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

    fn wait(&mut self) -> Result<(), BackendError> {
        self.inner.wait()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let scale = f32::from_bits(self.inner.read_state(self.scale).unwrap()[0]);
        self.to.lock().unwrap().push(scale);
    }
}

#[test]
fn an_overflow_on_one_device_skips_the_update_on_all() {
    // The CPU, and the software adapters where there are some: three kinds of executors of mixed precision.
    let adapters: Vec<Option<&gpu::Adapter>> = std::iter::once(None).chain(adapters().iter().map(Some)).collect();
    let adapters = if adapters.len() == 1 { vec![None, None] } else { adapters };
    let list = format!("train.devices=[{}]", vec!["cpu"; adapters.len()].join(", "));
    let (program, loaded) = wide(&["train.batch=60", "train.precision=mixed", &list]);
    for overflows in [false, true] {
        let prepared = prepare(&program, cpu::FUSION);
        let told = Arc::new(Mutex::new(Vec::new()));
        let replicas = adapters.iter().enumerate().map(|(index, adapter)| {
            let fusion = if adapter.is_some() { gpu::FUSION } else { cpu::FUSION };
            let prepared = prepare(&program, fusion);
            let data = resident_data(&program, &prepared, &loaded);
            let (to, adapter) = (Arc::clone(&told), adapter.cloned());
            let open: gang::Open = Box::new(move || {
                let setup = Setup { plans: &prepared.plans, states: &prepared.states, data: &data };
                let inner = match adapter {
                    Some(adapter) => gpu::open(&setup, &adapter, gpu::Choice::Fixed)?,
                    None => cpu::open(&setup, Some(1))?,
                };
                let weight = &prepared.states.infos()[first_weight(&prepared)].name;
                let gradient = prepared.states.find(&gradient_state(weight)).unwrap();
                let infinity: fn(&mut u32) = |word| *word = f32::INFINITY.to_bits();
                let inner = if overflows && index == 1 {
                    changing(inner, &prepared, Mode::Accumulate, gradient, infinity)
                } else {
                    inner
                };
                let scale = prepared.states.find(scaler::SCALE).unwrap();
                Ok(Box::new(Told { inner, scale, to }))
            });
            open
        });
        let mut session = gang::open(&prepared, replicas.collect(), Dealing::InTurn, None, "").unwrap();
        let mut scales = Scales::default();
        run(&program, &prepared, &loaded, &mut *session, None, &mut scales).unwrap();
        drop(session);
        let (scale, skipped) = if overflows { (32_768.0, 1) } else { (65_536.0, 0) };
        assert_eq!(scales.0, [Scaling { scale, skipped }]);
        assert_eq!(*told.lock().unwrap(), vec![scale as f32; adapters.len()]);
    }
}

/// A part of an update of the wide net, and the groups of gradients in the order in which it ends them.
fn a_part(prepared: &Prepared) -> (usize, Vec<u32>, Vec<Vec<StateId>>) {
    let step = prepared.steps.iter().find(|step| step.spec.mode == Mode::Accumulate).unwrap();
    let plan = &prepared.plans[step.plan];
    let mut row = vec![0_u32; plan.step.words];
    for (name, offset, words, _) in &plan.step.inputs {
        match name.as_str() {
            "rows" => row[*offset..offset + words].iter_mut().enumerate().for_each(|(row, word)| *word = row as u32),
            "share" => row[*offset] = 1_f32.to_bits(),
            _ => {}
        }
    }
    let last = plan.last_writes(prepared.states.infos().len());
    let infos = prepared.states.infos().iter().filter(|info| info.kind == StateKind::Weight);
    let mut ids: Vec<StateId> = infos.map(|info| prepared.states.find(&gradient_state(&info.name)).unwrap()).collect();
    ids.sort_by_key(|id| last[id.index()]);
    assert_eq!(ids.len(), 8);
    (step.plan, row, ids.chunks(2).map(<[StateId]>::to_vec).collect())
}

fn initialized(program: &Program, prepared: &Prepared, session: &mut dyn Session) {
    for (index, info) in prepared.states.infos().iter().enumerate() {
        let words = nnoptc::train::initialize::initial_words(info, program.train.seed);
        session.write_state(StateId(index as u32), &words).unwrap();
    }
}

#[test]
fn what_is_given_while_a_part_runs_is_what_it_leaves() {
    let devices: Vec<Option<&gpu::Adapter>> = std::iter::once(None).chain(adapters().iter().map(Some)).collect();
    let (program, loaded) = wide(&["train.batch=64", "train.devices=[cpu, cpu]"]);
    for adapter in devices {
        let prepared = prepare(&program, if adapter.is_some() { gpu::FUSION } else { cpu::FUSION });
        let data = resident_data(&program, &prepared, &loaded);
        let setup = Setup { plans: &prepared.plans, states: &prepared.states, data: &data };
        let mut session = adapter
            .map_or_else(|| cpu::open(&setup, Some(2)), |adapter| gpu::open(&setup, adapter, gpu::Choice::Fixed))
            .unwrap();
        initialized(&program, &prepared, &mut *session);
        let (plan, row, mut groups) = a_part(&prepared);
        // A group of nothing, and one that no kernel writes.
        groups.push(Vec::new());
        groups.push(vec![StateId(first_weight(&prepared) as u32)]);
        for _ in 0..3 {
            let mut given = Vec::new();
            session.run_and_give(plan, &row, &groups, &mut |words| given.push(words), &mut alone).unwrap();
            let left: Vec<Vec<u32>> = groups.iter().map(|group| session.read_states(group).unwrap()).collect();
            assert!(given == left, "on {}", session.device());
            assert!(given[..4].iter().all(|group| group.iter().any(|&word| word != 0)), "there are gradients");
        }
    }
}

#[test]
fn gradients_are_given_before_the_part_is_done() {
    let (program, loaded) = wide(&["train.batch=64", "train.devices=[cpu, cpu]"]);
    // Where a part is one chain, it is done as a whole.
    let prepared = prepare(&program, nnoptc::plan::Fusion { chains: false, ..cpu::FUSION });
    let data = resident_data(&program, &prepared, &loaded);
    let setup = Setup { plans: &prepared.plans, states: &prepared.states, data: &data };
    let mut session = cpu::open(&setup, Some(1)).unwrap();
    initialized(&program, &prepared, &mut *session);
    let (plan, row, groups) = a_part(&prepared);
    // Who takes the first group ends the part there.
    let mut enough = |_| panic!("enough");
    let ended = catch_unwind(AssertUnwindSafe(|| session.run_and_give(plan, &row, &groups, &mut enough, &mut alone)));
    assert!(ended.is_err());
    let mut has_gradient = |group: &[StateId]| session.read_states(group).unwrap().iter().any(|&word| word != 0);
    assert!(has_gradient(&groups[0]));
    assert!(!has_gradient(&groups[3]));
}
