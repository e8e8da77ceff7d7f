//! Several devices that train together: replicas of the model, whose gradients are added up on the host.
//!
//! Each replica has a thread and a session of its own. The parts of an update are dealt out in turn, or by what each
//! replica has taken for one so far ([`Dealing`]); when the weights are to be updated, every replica's sums of gradients
//! come bucket by bucket, while the rest of its last part runs, are added up in a fixed order that does not depend on who
//! was first, and are given to all, which then apply them alike. Weights and optimizer states so stay equal, which is
//! looked at once, at the end.
//!
//! Where a part has exchanges ([`crate::plan::Plan::exchanges`]), the parts that follow each other, one for each replica, are
//! a round: they begin when all of them have been dealt out, and meet at every exchange.

mod exchange;
mod meeting;
mod replica;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::peers::{Occasion, Peers};
use super::{BackendError, Session, gpu};
use crate::ir::StateId;
use crate::ir::graph::{StateKind, count};
use crate::lower::{GUARD, Mode};
use crate::plan::prepare::Prepared;
use crate::plan::{Place, Plan};
use exchange::{Exchanged, Rest, add, in_order, sum_with, together};
use meeting::{Meeting, Met, meet};
use replica::{Command, DIGEST_WORDS, Piece, Replica, serve};

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
    exchanged: Arc<Exchanged>,
    /// Sums over samples, which are added up over the replicas.
    summed: Vec<StateId>,
    /// Those of them that the parts of an update add to, and their words.
    summed_in_training: Vec<StateId>,
    sum_words: Vec<usize>,
    /// The words of what is exchanged in the middle of a part of an update, in order.
    meetings: Vec<usize>,
}

/// The last part that a replica has, or one of the parts that are added up by themselves.
struct Term {
    replica: usize,
    pieces: Receiver<Result<Piece, BackendError>>,
}

/// The session of several devices.
pub struct Gang {
    replicas: Vec<Replica>,
    /// The devices of all processes.
    names: Vec<String>,
    steps: Steps,
    dealing: Dealing,
    /// Updates so far.
    updates: u64,
    /// Parts of the present update that have been dealt out.
    parts: usize,
    /// Those of them that make up a round and have not begun; 0 where replicas do not meet.
    round: usize,
    /// What the parts of the present update send, in their order, if each is collected by itself.
    pending: Vec<Term>,
    /// Running statistics from which every part begins, if each is collected by itself.
    base: Arc<Vec<f32>>,
    /// Other processes that train along.
    peers: Option<Box<dyn Peers>>,
    /// The replicas of each process.
    of_rank: Vec<usize>,
    /// Sums over the samples of the training, of each process, as they were at the last update.
    known: Vec<Vec<f32>>,
    /// An update has failed.
    failed: bool,
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
            let all = peers
                .gather(Occasion::Other, &std::iter::once(replicas.len() as u32).chain(identity).collect::<Vec<_>>())?;
            if let Some(rank) = all.iter().position(|other| other.get(1..) != all[0].get(1..)) {
                let reason = "its pipeline, or the data that it reads, is not that of rank 0".to_owned();
                return Err(BackendError::Peer { rank, reason });
            }
            all.iter().map(|other| other.first().map_or(0, |&count| count as usize)).collect()
        }
    };
    let steps = Steps::new(prepared);
    let may_meet = dealing == Dealing::InTurn || steps.meetings.is_empty();
    assert!(may_meet, "replicas meet only where each has one part of a round");
    let mut opening = Vec::new();
    for open in replicas {
        let (commands, receiver) = channel();
        let (opened, ready) = channel();
        let exchanged = Arc::clone(&steps.exchanged);
        let work = move || match open() {
            Ok(session) => {
                // Nobody listens any more only if another replica could not be opened.
                drop(opened.send(Ok((session.device(), session.kind(), session.scratch_bytes()))));
                serve(session, &receiver, &exchanged);
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let thread = std::thread::Builder::new().stack_size(gpu::STACK_BYTES).spawn(work).map_err(|error| {
            let reason = format!("there is no thread for it: {error}");
            BackendError::Failed { device: format!("replica {}", opening.len() + 1), reason }
        })?;
        opening.push((commands, thread, ready));
    }
    let mut gang = Gang {
        replicas: Vec::new(),
        names: Vec::new(),
        dealing,
        updates: 0,
        parts: 0,
        round: 0,
        pending: Vec::new(),
        base: Arc::new(vec![0.0; steps.exchanged.statistics_words()]),
        peers,
        known: vec![vec![0.0; steps.sum_words.iter().sum()]; of_rank.len()],
        of_rank,
        steps,
        failed: false,
    };
    for (commands, thread, ready) in opening {
        let opened = ready.recv().unwrap_or_else(|_| Err(panicked("a replica")));
        let (name, kind, scratch_bytes) = opened?;
        let (commands, thread) = (Some(commands), Some(thread));
        let (parts, latest, seconds_of_part) = (0, None, None);
        gang.names.push(name.clone());
        gang.replicas.push(Replica { name, kind, scratch_bytes, commands, thread, parts, latest, seconds_of_part });
    }
    if let Some(peers) = &mut gang.peers {
        let own: Vec<u32> = gang.names.join("\n").chars().map(u32::from).collect();
        let all = peers.gather(Occasion::Other, &own)?;
        let text = |letters: &Vec<u32>| letters.iter().filter_map(|&letter| char::from_u32(letter)).collect::<String>();
        gang.names = all.iter().flat_map(|own| text(own).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
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
        let parts = prepared.steps.iter().filter(|step| step.spec.mode == Mode::Accumulate);
        let mut parts = parts.map(|step| &prepared.plans[step.plan]);
        let part = parts.next();
        let exchanged = Exchanged::new(states, part, statistics);
        let met = |plan: &Plan| plan.exchanges.iter().map(|(_, id)| words(*id)).collect::<Vec<_>>();
        let meetings = part.map_or_else(Vec::new, met);
        assert!(parts.all(|plan| met(plan) == meetings), "parts of all sizes meet at the same places");
        let guard = states.find(GUARD);
        let summed: Vec<StateId> = ids().filter(|&id| is(id, StateKind::Metric) && Some(id) != guard).collect();
        let summed_in_training: Vec<StateId> =
            summed.iter().copied().filter(|&id| sets(Mode::Accumulate, id)).collect();
        Steps {
            modes: prepared.steps.iter().map(|step| step.spec.mode).collect(),
            row_words: prepared.plans.iter().map(|plan| plan.step.words).collect(),
            exchanged: Arc::new(exchanged),
            sum_words: summed_in_training.iter().map(|&id| words(id).1).collect(),
            summed_in_training,
            summed,
            meetings: meetings.into_iter().map(|(_, words)| words).collect(),
        }
    }
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
        if !self.steps.meetings.is_empty() {
            if self.round == self.of_rank.iter().sum::<usize>() {
                self.run_together()?;
            }
            self.round += 1;
        }
        let (rank, in_turn) = self.owner(self.parts);
        self.parts += 1;
        if rank != self.rank() {
            return Ok(());
        }
        let replica = self.done_first().unwrap_or(in_turn);
        self.replicas[replica].parts += 1;
        let step = (plan, row.to_vec());
        if self.dealing == Dealing::ByNumber {
            let term = self.collect(replica, Some(step), Some(Arc::clone(&self.base)), None)?;
            self.pending.push(term);
        } else if let Some((plan, row)) = self.replicas[replica].latest.replace(step) {
            self.command(replica, Command::Run(plan, row))?;
        }
        Ok(())
    }

    /// Lets a replica send what is exchanged.
    fn collect(
        &self,
        replica: usize,
        last: Option<replica::Step>,
        reset: Option<Arc<Vec<f32>>>,
        meeting: Option<Meeting>,
    ) -> Result<Term, BackendError> {
        let (to, pieces) = channel();
        self.command(replica, Command::Collect { last, reset, meeting, to })?;
        Ok(Term { replica, pieces })
    }

    /// Lets the replicas run the parts of a round, which were kept back, and meet.
    fn run_together(&mut self) -> Result<(), BackendError> {
        let mut met = Vec::new();
        for replica in 0..self.replicas.len() {
            if let Some(step) = self.replicas[replica].latest.take() {
                let (here, there) = Met::new(&self.replicas[replica].name);
                self.command(replica, Command::RunTogether(step, there))?;
                met.push(here);
            }
        }
        self.meet(&met)
    }

    /// Meets those of the round's replicas that are of this process, as often as a part has exchanges. All processes do so,
    /// also those that have none.
    fn meet(&mut self, met: &[Met]) -> Result<(), BackendError> {
        if std::mem::take(&mut self.round) > 0 {
            meet(&self.steps.meetings, met, self.peers.as_deref_mut())?;
        }
        Ok(())
    }

    /// Gives the replicas the parts that were kept back, as parts that others follow.
    fn release(&mut self) -> Result<(), BackendError> {
        if !self.steps.meetings.is_empty() {
            return self.run_together();
        }
        for replica in 0..self.replicas.len() {
            if let Some((plan, row)) = self.replicas[replica].latest.take() {
                self.command(replica, Command::Run(plan, row))?;
            }
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

    /// What the parts of this process send, each by itself or each replica's together; meets the replicas, if they meet.
    fn terms(&mut self) -> Result<Vec<Term>, BackendError> {
        if self.dealing == Dealing::ByNumber {
            return Ok(std::mem::take(&mut self.pending));
        }
        // A small batch may not have had a part for everyone.
        let busy = (0..self.replicas.len()).filter(|&replica| self.replicas[replica].parts > 0);
        let busy: Vec<usize> = busy.collect();
        let (mut terms, mut met) = (Vec::new(), Vec::new());
        for replica in busy {
            let last = self.replicas[replica].latest.take();
            let meeting = (last.is_some() && self.round > 0).then(|| {
                let (here, there) = Met::new(&self.replicas[replica].name);
                met.push(here);
                there
            });
            terms.push(self.collect(replica, last, None, meeting)?);
        }
        self.meet(&met)?;
        Ok(terms)
    }

    /// The next that a part sends.
    fn piece(&self, term: &Term) -> Result<Piece, BackendError> {
        term.pieces.recv().unwrap_or_else(|_| Err(panicked(&self.replicas[term.replica].name)))
    }

    /// What a part sends last.
    fn rest(&mut self, term: &Term) -> Result<Rest, BackendError> {
        let piece = self.piece(term)?;
        if self.dealing == Dealing::Measured {
            self.learn(term.replica, piece.seconds);
        }
        Ok(self.steps.exchanged.rest(piece.words))
    }

    /// Gives all replicas the sums of a bucket.
    fn take(&self, bucket: usize, sums: Vec<f32>) -> Result<(), BackendError> {
        let sums = Arc::new(sums);
        (0..self.replicas.len()).try_for_each(|replica| self.command(replica, Command::Take(bucket, Arc::clone(&sums))))
    }

    /// Adds up what the parts have left, and lets all replicas update their weights.
    fn apply(&mut self, plan: usize, row: &[u32]) -> Result<(), BackendError> {
        #[cfg(debug_assertions)]
        super::faults::in_an_update()?;
        let terms = self.terms()?;
        let all = match self.peers.take() {
            None => self.add_up(&terms)?,
            Some(mut peers) => {
                let all = self.add_up_with(peers.as_mut(), &terms);
                self.peers = Some(peers);
                all?
            }
        };
        self.parts = 0;
        self.updates += 1;
        self.replicas.iter_mut().for_each(|replica| replica.parts = 0);
        let Some(rest) = together(all, &self.steps.exchanged.shared) else { return Ok(()) };
        if self.dealing == Dealing::ByNumber {
            self.base = Arc::new(rest.statistics.clone());
        }
        let rest = Arc::new(rest);
        for replica in 0..self.replicas.len() {
            self.command(replica, Command::Apply { rest: Arc::clone(&rest), step: (plan, row.to_vec()) })?;
        }
        Ok(())
    }

    /// Adds up the gradients of all parts, one after the other, and gives away each bucket when the last has it; gives
    /// what else the parts have.
    fn add_up(&mut self, terms: &[Term]) -> Result<Vec<Rest>, BackendError> {
        let buckets = self.steps.exchanged.buckets.len();
        let mut sums: Vec<Vec<f32>> = Vec::with_capacity(buckets);
        let mut all = Vec::with_capacity(terms.len());
        for (index, term) in terms.iter().enumerate() {
            for bucket in 0..buckets {
                let own = bytemuck::cast_vec(self.piece(term)?.words);
                match sums.get_mut(bucket) {
                    Some(sum) => add(sum, &own),
                    None => sums.push(own),
                }
                if index + 1 == terms.len() {
                    self.take(bucket, std::mem::take(&mut sums[bucket]))?;
                }
            }
            all.push(self.rest(term)?);
        }
        Ok(all)
    }

    /// As [`Gang::add_up`], over the parts of all processes, in the order of the parts or of the replicas; with it go the
    /// sums over samples.
    fn add_up_with(&mut self, peers: &mut dyn Peers, terms: &[Term]) -> Result<Vec<Rest>, BackendError> {
        let by_number = self.dealing == Dealing::ByNumber;
        let dealt = by_number.then(|| (0..self.parts).map(|part| self.owner(part).0).collect::<Vec<_>>());
        let exchanged = Arc::clone(&self.steps.exchanged);
        for (index, bucket) in exchanged.buckets.iter().enumerate() {
            let own: Vec<Vec<u32>> =
                terms.iter().map(|term| Ok(self.piece(term)?.words)).collect::<Result<_, BackendError>>()?;
            let sums = sum_with(peers, &own, bucket.words, self.parts, dealt.as_deref())?;
            self.take(index, sums)?;
        }
        let mut message = vec![terms.len() as u32];
        for term in terms {
            let rest = self.rest(term)?;
            message.push(rest.guard);
            message.extend(rest.statistics.iter().map(|number| number.to_bits()));
        }
        message.extend(self.own_sums()?.iter().map(|number| number.to_bits()));
        let each = 1 + exchanged.statistics_words();
        let mut found: Vec<Vec<Rest>> = Vec::new();
        for (rank, message) in peers.gather(Occasion::Update, &message)?.iter().enumerate() {
            let malformed = || BackendError::Peer { rank, reason: "it trains something else".to_owned() };
            let (&count, rest) = message.split_first().ok_or_else(malformed)?;
            let (all, sums) = rest.split_at_checked(count as usize * each).ok_or_else(malformed)?;
            let floats = |words: &[u32]| words.iter().map(|&word| f32::from_bits(word)).collect::<Vec<f32>>();
            found.push(all.chunks(each).map(|own| Rest { guard: own[0], statistics: floats(&own[1..]) }).collect());
            self.known[rank] = floats(sums);
        }
        in_order(found, dealt.as_deref())
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

    /// The digests of some states on all replicas of this process, each behind the kind of its device, as a message.
    fn digests(&self, ids: &[StateId]) -> Result<Vec<u32>, BackendError> {
        let ids = Arc::new(ids.to_vec());
        let mut answers = Vec::new();
        for replica in 0..self.replicas.len() {
            let (to, answer) = channel();
            self.command(replica, Command::Digest(Arc::clone(&ids), to))?;
            answers.push(answer);
        }
        let mut message = Vec::new();
        for (replica, answer) in self.replicas.iter().zip(answers) {
            let digest = answer.recv().unwrap_or_else(|_| Err(panicked(&replica.name)))?;
            message.push(replica.kind.chars().count() as u32);
            message.extend(replica.kind.chars().map(u32::from));
            message.extend(digest);
        }
        Ok(message)
    }
}

/// Looks for a replica whose digest is not that of the first of its kind.
fn compare_digests(all: &[Vec<u32>]) -> Result<(), BackendError> {
    let mut known: HashMap<&[u32], (usize, &[u32])> = HashMap::new();
    for (rank, message) in all.iter().enumerate() {
        let mut left = &message[..];
        while let Some((&letters, rest)) = left.split_first() {
            let malformed = || BackendError::Peer { rank, reason: "it trains something else".to_owned() };
            let (kind, rest) = rest.split_at_checked(letters as usize).ok_or_else(malformed)?;
            let (digest, rest) = rest.split_at_checked(DIGEST_WORDS).ok_or_else(malformed)?;
            left = rest;
            let &mut (first, wanted) = known.entry(kind).or_insert((rank, digest));
            if digest != wanted {
                let kind: String = kind.iter().filter_map(|&letter| char::from_u32(letter)).collect();
                let advice =
                    "at the end of the training, as they have to be; test its memory, and `nnoptc devices --check`";
                if first == rank {
                    let reason = format!("the weights of two of its replicas are not equal {advice}");
                    return Err(BackendError::Failed { device: kind, reason });
                }
                let reason = format!("its weights on `{kind}` are not those of rank {first} {advice}");
                return Err(BackendError::Peer { rank, reason });
            }
        }
    }
    Ok(())
}

impl Session for Gang {
    fn device(&self) -> String {
        let mut names: Vec<(&str, usize)> = Vec::new();
        for name in &self.names {
            match names.iter_mut().find(|(other, _)| other == name) {
                Some((_, times)) => *times += 1,
                None => names.push((name, 1)),
            }
        }
        let each = names
            .iter()
            .map(|(name, times)| if *times == 1 { (*name).to_owned() } else { format!("{times} × {name}") });
        each.collect::<Vec<_>>().join(" + ")
    }

    fn write_state(&mut self, id: StateId, words: &[u32]) -> Result<(), BackendError> {
        self.release()?;
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
        self.release()?;
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
        let result = match self.steps.modes[plan] {
            Mode::Accumulate => rows.chunks(words).try_for_each(|row| self.run_part(plan, row)),
            Mode::Apply => rows.chunks(words).try_for_each(|row| self.apply(plan, row)),
            Mode::Update | Mode::Evaluate | Mode::Predict => {
                self.release().and_then(|()| self.command(0, Command::Run(plan, rows.to_vec())))
            }
        };
        self.failed |= result.is_err();
        result
    }

    fn wait(&mut self) -> Result<(), BackendError> {
        self.release()?;
        (0..self.replicas.len()).try_for_each(|replica| self.ask(replica, Command::Wait))
    }

    fn agree(&mut self, numbers: Vec<f64>) -> Result<Vec<f64>, BackendError> {
        let Some(peers) = &mut self.peers else { return Ok(numbers) };
        let words: Vec<u32> =
            numbers.iter().flat_map(|number| [number.to_bits() as u32, (number.to_bits() >> 32) as u32]).collect();
        let all = peers.gather(Occasion::Other, &words)?;
        let number = |pair: &[u32]| f64::from_bits(u64::from(pair[0]) | u64::from(pair[1]) << 32);
        Ok(all[0].chunks_exact(2).map(number).collect())
    }

    fn compare(&mut self, ids: &[StateId]) -> Result<(), BackendError> {
        self.release()?;
        let own = self.digests(ids)?;
        match &mut self.peers {
            None => compare_digests(&[own]),
            Some(peers) => compare_digests(&peers.gather(Occasion::Other, &own)?),
        }
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
        if self.failed && self.peers.is_some() {
            // The process is to end, and has to say so before a replica has finished what it does.
            return;
        }
        for replica in &mut self.replicas {
            if let Some(thread) = replica.thread.take() {
                // A thread that has panicked has said so.
                drop(thread.join());
            }
        }
    }
}
