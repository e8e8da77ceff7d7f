//! Several devices that train together: replicas of the model, whose gradients are added up on the host.
//!
//! Each replica has a thread and a session of its own. The parts of an update are dealt out in turn, or by what each
//! replica has taken for one so far ([`Dealing`]); when the weights are to be updated, every replica's sums of gradients are read, added up in a fixed order that does not depend on who was
//! first, and given to all, which then apply them alike. Weights and optimizer states so stay equal without ever being
//! compared.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use super::peers::Peers;
use super::{BackendError, Session};
use crate::ir::StateId;
use crate::ir::graph::{StateKind, count};
use crate::lower::{GUARD, Mode, gradient_state};
use crate::plan::Place;
use crate::plan::prepare::Prepared;

/// Opens the session of a replica, on its thread.
pub type Open = Box<dyn FnOnce() -> Result<Box<dyn Session>, BackendError> + Send>;

/// How the parts of an update are dealt out, and added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealing {
    /// In turn; each replica adds up its own.
    InTurn,
    /// In turn; each part is added up by itself, so that the order of the sum does not depend on the replicas.
    ByNumber,
    /// To the replica that will be done first, as measured; each adds up its own.
    Measured,
}

/// After so many updates the parts are dealt in turn again, so that replicas without parts are measured too.
const MEASURE_EVERY: u64 = 50;
/// The weight of the latest update in what a part takes.
const LATEST: f64 = 0.25;

/// What a gang knows of the steps.
struct Steps {
    /// By plan.
    modes: Vec<Mode>,
    /// Words of a step's inputs, by plan.
    row_words: Vec<usize>,
    /// The states that are exchanged before an update.
    exchanged: Exchanged,
    /// Sums over samples, which are added up over the replicas.
    summed: Vec<StateId>,
    /// Those of them that the parts of an update add to, and their words.
    summed_in_training: Vec<StateId>,
    sum_words: Vec<usize>,
    guard: Option<StateId>,
}

/// The states that are exchanged, in their order in [`Collected`].
#[derive(Clone)]
struct Exchanged {
    /// Sums of gradients: added up.
    gradients: Vec<(StateId, usize)>,
    /// Running statistics: averaged.
    statistics: Vec<(StateId, usize)>,
}

/// What a replica has after its part of an update.
struct Collected {
    numbers: Vec<f32>,
    guard: u32,
    /// Seconds from the first part to here.
    seconds: f64,
}

enum Command {
    Write(StateId, Arc<Vec<u32>>),
    Read(StateId, Sender<Result<Vec<u32>, BackendError>>),
    Run(usize, Vec<u32>),
    /// Sends what is exchanged, and with `reset` begins anew: gradients from zero, statistics from these.
    Collect {
        reset: Option<Arc<Vec<f32>>>,
        to: Sender<Result<Collected, BackendError>>,
    },
    /// Takes what the replicas have together, and updates the weights.
    Apply {
        together: Arc<Collected>,
        plan: usize,
        row: Vec<u32>,
    },
    Wait(Sender<Result<(), BackendError>>),
}

/// A replica from outside.
struct Replica {
    name: String,
    scratch_bytes: u64,
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    /// Parts of the present update that it has.
    parts: usize,
    /// Seconds that it takes for one, once it is known.
    seconds_of_part: Option<f64>,
}

/// The session of several devices.
pub struct Gang {
    replicas: Vec<Replica>,
    steps: Steps,
    dealing: Dealing,
    /// Updates so far.
    updates: u64,
    /// Parts of the present update that have been dealt out.
    parts: usize,
    /// What the parts have sent or will send, in their order.
    pending: Vec<Receiver<Result<Collected, BackendError>>>,
    /// Running statistics from which every part begins, if each is collected by itself.
    base: Arc<Vec<f32>>,
    /// Other processes that train along.
    peers: Option<Box<dyn Peers>>,
    /// The replicas of each process.
    of_rank: Vec<usize>,
    /// Sums over the samples of the training, of each process, as they were at the last update.
    known: Vec<Vec<f32>>,
}

/// Opens all replicas of this process at once. `peers` are the other processes, all of which must train the same: what `identity` says.
///
/// # Errors
/// That of the first replica that cannot be opened, or of a peer.
pub fn open(
    prepared: &Prepared,
    replicas: Vec<Open>,
    dealing: Dealing,
    mut peers: Option<Box<dyn Peers>>,
    identity: &str,
) -> Result<Box<dyn Session>, BackendError> {
    let of_rank = match &mut peers {
        None => vec![replicas.len()],
        Some(peers) => {
            let identity = identity.chars().map(u32::from);
            let all = peers.gather(&std::iter::once(replicas.len() as u32).chain(identity).collect::<Vec<_>>())?;
            if let Some(rank) = all.iter().position(|other| other.get(1..) != all[0].get(1..)) {
                let reason = "its pipeline, or the data that it reads, is not that of rank 0".to_owned();
                return Err(BackendError::Peer { rank, reason });
            }
            all.iter().map(|other| other.first().map_or(0, |&count| count as usize)).collect()
        }
    };
    let steps = Steps::new(prepared);
    let mut opening = Vec::new();
    for open in replicas {
        let (commands, receiver) = channel();
        let (opened, ready) = channel();
        let exchanged = steps.exchanged.clone();
        let guard = steps.guard;
        let thread = std::thread::spawn(move || match open() {
            Ok(session) => {
                // Nobody listens any more only if another replica could not be opened.
                drop(opened.send(Ok((session.device(), session.scratch_bytes()))));
                serve(session, &receiver, &exchanged, guard);
            }
            Err(error) => drop(opened.send(Err(error))),
        });
        opening.push((commands, thread, ready));
    }
    let mut gang = Gang {
        replicas: Vec::new(),
        dealing,
        updates: 0,
        parts: 0,
        pending: Vec::new(),
        base: Arc::new(vec![0.0; steps.exchanged.statistics.iter().map(|(_, words)| words).sum()]),
        peers,
        known: vec![vec![0.0; steps.sum_words.iter().sum()]; of_rank.len()],
        of_rank,
        steps,
    };
    for (commands, thread, ready) in opening {
        let opened = ready.recv().unwrap_or_else(|_| Err(panicked("a replica")));
        let (name, scratch_bytes) = opened?;
        let (commands, thread) = (Some(commands), Some(thread));
        gang.replicas.push(Replica { name, scratch_bytes, commands, thread, parts: 0, seconds_of_part: None });
    }
    Ok(Box::new(gang))
}

fn panicked(name: &str) -> BackendError {
    BackendError::Failed { device: name.to_owned(), reason: "its thread has ended; see the message above".to_owned() }
}

impl Steps {
    fn new(prepared: &Prepared) -> Steps {
        let states = &prepared.states;
        let words = |id: StateId| (id, count(&states.info(id).shape));
        let weights = states.infos().iter().filter(|info| info.kind == StateKind::Weight);
        let gradients = weights.filter_map(|info| states.find(&gradient_state(&info.name))).map(words).collect();
        let sets = |mode: Mode, id: StateId| {
            let plans =
                prepared.steps.iter().filter(|step| step.spec.mode == mode).map(|step| &prepared.plans[step.plan]);
            let mut kernels = plans.flat_map(|plan| &plan.kernels);
            kernels.any(|kernel| kernel.outputs().iter().any(|buffer| buffer.place == Place::State(id)))
        };
        let ids = || (0..states.infos().len()).map(|index| StateId(index as u32));
        let is = |id: StateId, kind| states.info(id).kind == kind;
        let statistics =
            ids().filter(|&id| is(id, StateKind::Buffer) && sets(Mode::Accumulate, id)).map(words).collect();
        let guard = states.find(GUARD);
        let summed: Vec<StateId> = ids().filter(|&id| is(id, StateKind::Metric) && Some(id) != guard).collect();
        let summed_in_training: Vec<StateId> =
            summed.iter().copied().filter(|&id| sets(Mode::Accumulate, id)).collect();
        Steps {
            modes: prepared.steps.iter().map(|step| step.spec.mode).collect(),
            row_words: prepared.plans.iter().map(|plan| plan.step.words).collect(),
            exchanged: Exchanged { gradients, statistics },
            sum_words: summed_in_training.iter().map(|&id| words(id).1).collect(),
            summed_in_training,
            summed,
            guard,
        }
    }
}

/// Does what is commanded until nobody commands any more. After a failure, only the failure is told.
fn serve(mut session: Box<dyn Session>, commands: &Receiver<Command>, exchanged: &Exchanged, guard: Option<StateId>) {
    let mut failure: Option<BackendError> = None;
    // When the first part of the present update began.
    let mut began: Option<Instant> = None;
    let fail = |result: Result<(), BackendError>, failure: &mut Option<BackendError>| {
        if let (Err(error), None) = (result, &failure) {
            *failure = Some(error);
        }
    };
    while let Ok(command) = commands.recv() {
        // Those who wait for an answer and have gone away have failed themselves.
        match (command, failure.clone()) {
            (Command::Read(_, to), Some(error)) => drop(to.send(Err(error))),
            (Command::Collect { to, .. }, Some(error)) => drop(to.send(Err(error))),
            (Command::Wait(to), Some(error)) => drop(to.send(Err(error))),
            (Command::Write(..) | Command::Run(..) | Command::Apply { .. }, Some(_)) => {}
            (Command::Write(id, words), None) => fail(session.write_state(id, &words), &mut failure),
            (Command::Run(plan, rows), None) => {
                began.get_or_insert_with(Instant::now);
                fail(session.run(plan, &rows), &mut failure);
            }
            (Command::Read(id, to), None) => drop(to.send(session.read_state(id))),
            (Command::Wait(to), None) => drop(to.send(session.wait())),
            (Command::Collect { reset, to }, None) => {
                let collected = collect(session.as_mut(), exchanged, guard, began.take());
                if let Some(base) = reset {
                    fail(begin_anew(session.as_mut(), exchanged, &base), &mut failure);
                }
                drop(to.send(collected));
            }
            (Command::Apply { together, plan, row }, None) => {
                began = None;
                fail(apply(session.as_mut(), exchanged, guard, &together, plan, &row), &mut failure);
            }
        }
    }
}

fn collect(
    session: &mut dyn Session,
    exchanged: &Exchanged,
    guard: Option<StateId>,
    began: Option<Instant>,
) -> Result<Collected, BackendError> {
    let exchanged = exchanged.gradients.iter().chain(&exchanged.statistics).map(|(id, _)| *id);
    let mut words = session.read_states(&exchanged.chain(guard).collect::<Vec<_>>())?;
    let guard = if guard.is_some() { words.pop().unwrap_or(0) } else { 0 };
    let numbers = bytemuck::cast_vec(words);
    let seconds = began.map_or(0.0, |began| began.elapsed().as_secs_f64());
    Ok(Collected { numbers, guard, seconds })
}

fn begin_anew(session: &mut dyn Session, exchanged: &Exchanged, statistics: &[f32]) -> Result<(), BackendError> {
    for &(id, words) in &exchanged.gradients {
        session.write_state(id, &vec![0; words])?;
    }
    write_floats(session, &exchanged.statistics, statistics)
}

fn write_floats(
    session: &mut dyn Session,
    states: &[(StateId, usize)],
    mut numbers: &[f32],
) -> Result<(), BackendError> {
    for &(id, words) in states {
        let (own, rest) = numbers.split_at(words);
        session.write_state(id, bytemuck::cast_slice(own))?;
        numbers = rest;
    }
    Ok(())
}

fn apply(
    session: &mut dyn Session,
    exchanged: &Exchanged,
    guard: Option<StateId>,
    together: &Collected,
    plan: usize,
    row: &[u32],
) -> Result<(), BackendError> {
    let states = [&exchanged.gradients[..], &exchanged.statistics].concat();
    write_floats(session, &states, &together.numbers)?;
    if let Some(id) = guard {
        session.write_state(id, &[together.guard])?;
    }
    session.run(plan, row)
}

impl Gang {
    fn command(&self, replica: usize, command: Command) -> Result<(), BackendError> {
        let replica = &self.replicas[replica];
        let sender = replica.commands.as_ref().unwrap_or_else(|| unreachable!("it is taken only at the end"));
        sender.send(command).map_err(|_| panicked(&replica.name))
    }

    /// Asks one replica and waits for its answer.
    fn ask<T>(
        &self,
        replica: usize,
        command: impl FnOnce(Sender<Result<T, BackendError>>) -> Command,
    ) -> Result<T, BackendError> {
        let (to, answer) = channel();
        self.command(replica, command(to))?;
        answer.recv().unwrap_or_else(|_| Err(panicked(&self.replicas[replica].name)))
    }

    fn rank(&self) -> usize {
        self.peers.as_ref().map_or(0, |peers| peers.standing().rank)
    }

    /// Who has a part: the process, and its replica.
    fn owner(&self, part: usize) -> (usize, usize) {
        let mut replica = part % self.of_rank.iter().sum::<usize>();
        for (rank, &replicas) in self.of_rank.iter().enumerate() {
            if replica < replicas {
                return (rank, replica);
            }
            replica -= replicas;
        }
        unreachable!("every part has a replica")
    }

    /// Deals out the next part of an update.
    fn run_part(&mut self, plan: usize, row: &[u32]) -> Result<(), BackendError> {
        let (rank, in_turn) = self.owner(self.parts);
        self.parts += 1;
        if rank != self.rank() {
            return Ok(());
        }
        let replica = self.done_first().unwrap_or(in_turn);
        self.replicas[replica].parts += 1;
        self.command(replica, Command::Run(plan, row.to_vec()))?;
        if self.dealing == Dealing::ByNumber {
            let (to, collected) = channel();
            let reset = Some(Arc::clone(&self.base));
            self.command(replica, Command::Collect { reset, to })?;
            self.pending.push(collected);
        }
        Ok(())
    }

    /// The replica of this process that would be done first with one more part; `None` where parts are dealt in turn.
    fn done_first(&self) -> Option<usize> {
        if self.dealing != Dealing::Measured || self.updates % MEASURE_EVERY < 2 {
            return None;
        }
        let end = |replica: &Replica| Some((replica.parts + 1) as f64 * replica.seconds_of_part?);
        let ends = self.replicas.iter().map(end).collect::<Option<Vec<f64>>>()?;
        (0..ends.len()).min_by(|&a, &b| ends[a].total_cmp(&ends[b]))
    }

    /// Learns how long a part takes a replica. The first update of all is left out: drivers are slow then.
    fn learn(&mut self, replica: usize, seconds: f64) {
        let Replica { parts, seconds_of_part, .. } = &mut self.replicas[replica];
        if self.updates > 0 && *parts > 0 {
            let now = seconds / *parts as f64;
            *seconds_of_part = Some(seconds_of_part.map_or(now, |before| before + LATEST * (now - before)));
        }
    }

    /// What the parts of this process have left, each by itself or each replica's together.
    fn collect(&mut self) -> Result<Vec<Collected>, BackendError> {
        if self.dealing != Dealing::ByNumber {
            // A small batch may not have had a part for everyone.
            for replica in (0..self.replicas.len()).filter(|&replica| self.replicas[replica].parts > 0) {
                let (to, collected) = channel();
                self.command(replica, Command::Collect { reset: None, to })?;
                self.pending.push(collected);
            }
        }
        let answers = std::mem::take(&mut self.pending);
        let answers = answers.into_iter().map(|answer| answer.recv().unwrap_or_else(|_| Err(panicked("a replica"))));
        let collected: Vec<Collected> = answers.collect::<Result<_, _>>()?;
        if self.dealing == Dealing::Measured {
            let busy: Vec<usize> = (0..self.replicas.len()).filter(|&index| self.replicas[index].parts > 0).collect();
            busy.into_iter().zip(&collected).for_each(|(replica, own)| self.learn(replica, own.seconds));
        }
        Ok(collected)
    }

    /// Adds up what the parts have left, and lets all replicas update their weights.
    fn apply(&mut self, plan: usize, row: &[u32]) -> Result<(), BackendError> {
        let own = self.collect();
        let all = match self.peers.take() {
            None => own?,
            Some(mut peers) => {
                let exchanged = self.exchange(peers.as_mut(), own);
                self.peers = Some(peers);
                exchanged?
            }
        };
        self.parts = 0;
        self.updates += 1;
        self.replicas.iter_mut().for_each(|replica| replica.parts = 0);
        let terms = all.len();
        let sum = all.into_iter().reduce(|mut sum, own| {
            sum.numbers.iter_mut().zip(&own.numbers).for_each(|(sum, own)| *sum += own);
            sum.guard = first_of(sum.guard, own.guard);
            sum
        });
        let Some(mut together) = sum else { return Ok(()) };
        let gradients: usize = self.steps.exchanged.gradients.iter().map(|(_, words)| words).sum();
        let statistics = &mut together.numbers[gradients..];
        statistics.iter_mut().for_each(|sum| *sum /= terms as f32);
        if self.dealing == Dealing::ByNumber {
            self.base = Arc::new(statistics.to_vec());
        }
        let together = Arc::new(together);
        for replica in 0..self.replicas.len() {
            let together = Arc::clone(&together);
            self.command(replica, Command::Apply { together, plan, row: row.to_vec() })?;
        }
        Ok(())
    }

    /// What the parts of all processes have left, in the order of the parts or of the replicas; with it go the sums over
    /// samples. A process that has failed says so instead, and all end.
    fn exchange(
        &mut self,
        peers: &mut dyn Peers,
        own: Result<Vec<Collected>, BackendError>,
    ) -> Result<Vec<Collected>, BackendError> {
        let sums = own.and_then(|own| Ok((own, self.own_sums()?)));
        let mut message: Vec<u32> = Vec::new();
        match &sums {
            Ok((own, sums)) => {
                message.extend([0, own.len() as u32]);
                for collected in own {
                    message.push(collected.guard);
                    message.extend(collected.numbers.iter().map(|number| number.to_bits()));
                }
                message.extend(sums.iter().map(|number| number.to_bits()));
            }
            Err(error) => {
                message.push(1);
                message.extend(error.to_string().chars().map(u32::from));
            }
        }
        let standing = peers.standing();
        let all = peers.gather(&message)?;
        sums?;
        let words = |states: &[(StateId, usize)]| states.iter().map(|(_, words)| words).sum::<usize>();
        let each = words(&self.steps.exchanged.gradients) + words(&self.steps.exchanged.statistics);
        let mut found: Vec<Vec<Collected>> = Vec::new();
        for (rank, message) in all.iter().enumerate() {
            let malformed = || BackendError::Peer { rank, reason: "it trains something else".to_owned() };
            let (Some(&status), Some(rest)) = (message.first(), message.get(1..)) else { return Err(malformed()) };
            if status != 0 {
                let reason = rest.iter().filter_map(|&letter| char::from_u32(letter)).collect();
                return Err(BackendError::Peer { rank, reason });
            }
            let (Some(&count), Some(rest)) = (rest.first(), rest.get(1..)) else { return Err(malformed()) };
            let length = count as usize * (1 + each);
            let (Some(terms), Some(sums)) = (rest.get(..length), rest.get(length..)) else { return Err(malformed()) };
            let term = |words: &[u32]| Collected {
                seconds: 0.0,
                guard: words[0],
                numbers: words[1..].iter().map(|&word| f32::from_bits(word)).collect(),
            };
            found.push(terms.chunks(1 + each).map(term).collect());
            self.known[rank] = sums.iter().map(|&word| f32::from_bits(word)).collect();
        }
        if self.dealing != Dealing::ByNumber {
            return Ok(found.into_iter().flatten().collect());
        }
        let mut queues: Vec<_> = found.into_iter().map(Vec::into_iter).collect();
        let in_order = (0..self.parts).map(|part| {
            let rank = self.owner(part).0;
            let missing = BackendError::Peer { rank, reason: "it has lost a part of the batch".to_owned() };
            queues[rank].next().ok_or(missing)
        });
        debug_assert!(standing.size == self.of_rank.len());
        in_order.collect()
    }

    /// The sums over the training samples of this process, all after each other.
    fn own_sums(&self) -> Result<Vec<f32>, BackendError> {
        let mut all = Vec::new();
        for &id in &self.steps.summed_in_training {
            all.extend(self.sum_over_replicas(id)?);
        }
        Ok(all)
    }

    fn sum_over_replicas(&self, id: StateId) -> Result<Vec<f32>, BackendError> {
        let mut sum: Vec<f32> = Vec::new();
        for replica in 0..self.replicas.len() {
            let words = self.ask(replica, |to| Command::Read(id, to))?;
            sum.resize(words.len(), 0.0);
            sum.iter_mut().zip(&words).for_each(|(sum, word)| *sum += f32::from_bits(*word));
        }
        Ok(sum)
    }

    /// Where a sum lies among those that are exchanged.
    fn place_of_sum(&self, id: StateId) -> Option<std::ops::Range<usize>> {
        let sums = &self.steps.summed_in_training;
        let at = sums.iter().position(|other| *other == id)?;
        let start = self.steps.sum_words[..at].iter().sum();
        Some(start..start + self.steps.sum_words[at])
    }

    fn is_statistic(&self, id: StateId) -> bool {
        self.steps.exchanged.statistics.iter().any(|(other, _)| *other == id)
    }
}

/// The earlier of two steps that ended the training; 0 is none.
fn first_of(a: u32, b: u32) -> u32 {
    if a == 0 || b == 0 { a.max(b) } else { a.min(b) }
}

impl Session for Gang {
    fn device(&self) -> String {
        let mut names: Vec<(&str, usize)> = Vec::new();
        for replica in &self.replicas {
            match names.iter_mut().find(|(name, _)| *name == replica.name) {
                Some((_, times)) => *times += 1,
                None => names.push((&replica.name, 1)),
            }
        }
        let each = names
            .iter()
            .map(|(name, times)| if *times == 1 { (*name).to_owned() } else { format!("{times} × {name}") });
        each.collect::<Vec<_>>().join(" + ")
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        let shared = Arc::new(words.to_vec());
        for replica in 0..self.replicas.len() {
            self.command(replica, Command::Write(id, Arc::clone(&shared)))?;
        }
        if let Some(place) = self.place_of_sum(id) {
            let mut known = self.known.iter_mut();
            if let Some(first) = known.next() {
                first[place.clone()].copy_from_slice(bytemuck::cast_slice(words));
            }
            known.for_each(|other| other[place.clone()].fill(0.0));
        }
        if self.dealing == Dealing::ByNumber && self.is_statistic(id) {
            let mut base = self.base.to_vec();
            let before = self.steps.exchanged.statistics.iter().take_while(|(other, _)| *other != id);
            let start: usize = before.map(|(_, words)| words).sum();
            base[start..start + words.len()].copy_from_slice(bytemuck::cast_slice(words));
            self.base = Arc::new(base);
        }
        Ok(())
    }

    fn read_state(&mut self, id: StateId) -> Result<Vec<u32>, BackendError> {
        if !self.steps.summed.contains(&id) {
            return self.ask(0, |to| Command::Read(id, to));
        }
        match self.place_of_sum(id).filter(|_| self.peers.is_some()) {
            None => Ok(bytemuck::cast_vec(self.sum_over_replicas(id)?)),
            Some(place) => {
                let mut sum = vec![0.0; place.len()];
                for known in &self.known {
                    sum.iter_mut().zip(&known[place.clone()]).for_each(|(sum, own): (&mut f32, _)| *sum += own);
                }
                Ok(bytemuck::cast_vec(sum))
            }
        }
    }

    fn run(&mut self, plan: usize, rows: &[u32]) -> Result<(), BackendError> {
        let words = self.steps.row_words[plan];
        match self.steps.modes[plan] {
            Mode::Accumulate => rows.chunks(words).try_for_each(|row| self.run_part(plan, row)),
            Mode::Apply => rows.chunks(words).try_for_each(|row| self.apply(plan, row)),
            Mode::Update | Mode::Evaluate | Mode::Predict => self.command(0, Command::Run(plan, rows.to_vec())),
        }
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        (0..self.replicas.len()).try_for_each(|replica| self.ask(replica, Command::Wait))
    }

    fn agree(&mut self, numbers: Vec<f64>) -> Result<Vec<f64>, BackendError> {
        let Some(peers) = &mut self.peers else { return Ok(numbers) };
        let words: Vec<u32> =
            numbers.iter().flat_map(|number| [number.to_bits() as u32, (number.to_bits() >> 32) as u32]).collect();
        let all = peers.gather(&words)?;
        let number = |pair: &[u32]| f64::from_bits(u64::from(pair[0]) | u64::from(pair[1]) << 32);
        Ok(all[0].chunks_exact(2).map(number).collect())
    }

    fn scratch_bytes(&self) -> u64 {
        self.replicas.iter().map(|replica| replica.scratch_bytes).max().unwrap_or(0)
    }
}

impl Drop for Gang {
    fn drop(&mut self) {
        for replica in &mut self.replicas {
            replica.commands = None;
        }
        for replica in &mut self.replicas {
            if let Some(thread) = replica.thread.take() {
                // A thread that has panicked has said so.
                drop(thread.join());
            }
        }
    }
}
