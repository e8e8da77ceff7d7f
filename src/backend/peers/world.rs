//! The peers of a process that MPI has started.
//!
//! No wait is MPI's own, which would have no end: each operation is begun and then asked for, so that a peer that does
//! not answer, and a panic of another thread of this process, are noticed. Only the main thread calls MPI.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::request::{Request, Scope, StaticScope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use super::{BackendError, Occasion, Patience, Peers, Standing, launched, rounds, share};

static STANDING: OnceLock<Standing> = OnceLock::new();
/// The thread that calls MPI.
static MAIN: OnceLock<ThreadId> = OnceLock::new();
/// An exchange has begun and not ended.
static TALKING: AtomicBool = AtomicBool::new(false);
/// The exit code of a failure of which all processes know; 0 if there is none.
static TOLD: AtomicU8 = AtomicU8::new(0);
/// Another thread than the main one has panicked.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The exit code of a panic.
const PANIC: u8 = 101;
/// How long the others may take to hear that this process has failed, and then to write what they have to.
const FAREWELL: Duration = Duration::from_millis(1500);
/// A main thread that has not noticed another thread's panic for so long is stuck.
const STUCK: Duration = Duration::from_secs(2);
/// A wait begins without sleeping.
const SPIN: Duration = Duration::from_millis(10);
const SLEEP: Duration = Duration::from_micros(50);
/// Time in which this process did not run does not count as waiting: all of them may have been stopped.
const PAUSE: Duration = Duration::from_millis(100);
/// Words that all processes send in one round; MPI counts them with an `i32`.
const ROUND_WORDS: usize = 1 << 28;

/// Words of a [`Header`].
const HEADER: usize = 4;

/// What a process says before each exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: u64,
    words: u64,
    parts: u64,
    /// Not 0 if it has failed; the message of so many words comes instead of the exchange.
    failed: u64,
}

const GATHER: u64 = 1;
const SCATTER: u64 = 2;

/// Ends the connection when the process does.
pub struct Guard(Option<Universe>);

impl Guard {
    /// Says to the peers that this process has failed, at the exchange that they come to next; whether all of them know.
    pub fn tell(&self, code: u8, reason: &str) -> bool {
        let is_one_of_many = self.0.as_ref().is_some_and(|universe| universe.world().size() > 1);
        is_one_of_many && tell(code, reason)
    }

    /// Ends the peers as well, where this process has failed: they would wait for it.
    pub fn leave(self, code: u8) {
        if let Some(universe) = &self.0
            && code != 0
            && universe.world().size() > 1
        {
            leave(code);
        }
    }
}

/// Joins the peers, if a launcher has started this process with some.
///
/// # Errors
/// When MPI cannot be initialized.
pub fn join() -> Result<Guard, String> {
    if launched() <= 1 {
        return Ok(Guard(None));
    }
    let (universe, _) =
        mpi::initialize_with_threading(Threading::Funneled).ok_or("MPI is initialized already".to_owned())?;
    let world = universe.world();
    let (rank, size) = (world.rank() as usize, world.size() as usize);
    let local = world.split_shared(world.rank());
    let standing = Standing { rank, size, local_rank: local.rank() as usize, local_size: local.size() as usize };
    STANDING.get_or_init(|| standing);
    MAIN.get_or_init(|| std::thread::current().id());
    // A panic that unwinds would wait for the peers, who wait for this process.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if MAIN.get() != Some(&std::thread::current().id()) {
            // The main thread hears of it at its next wait, or where it asks the thread for something.
            PANICKED.store(true, Ordering::SeqCst);
            std::thread::spawn(|| {
                std::thread::sleep(STUCK);
                exit(PANIC);
            });
            return;
        }
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        tell(PANIC, &format!("it has panicked: {}", text.unwrap_or("its message is above")));
        leave(PANIC);
    }));
    Ok(Guard(Some(universe)))
}

/// Where this process stands.
pub fn standing() -> Standing {
    STANDING.get().copied().unwrap_or(Standing::ALONE)
}

/// The connection to the peers, if there are any.
pub fn connect() -> Option<Box<dyn Peers>> {
    let standing = standing();
    let given = std::env::var("NNOPTC_PEER_TIMEOUT").ok().and_then(|text| text.parse().ok());
    let patience = Patience::new(given.map(Duration::from_secs));
    (standing.size > 1)
        .then(|| -> Box<dyn Peers> { Box::new(World { standing, world: SimpleCommunicator::world(), patience }) })
}

/// Ends this process without MPI's own cleaning up, which would wait for the peers; the launcher then ends the others.
fn exit(code: u8) -> ! {
    // SAFETY: it ends the process and touches nothing.
    unsafe { libc::_exit(code.into()) }
}

/// Says to all that this process has failed; whether they know of this failure or an earlier one.
fn tell(code: u8, reason: &str) -> bool {
    if TALKING.load(Ordering::SeqCst) {
        return false;
    }
    if TOLD.load(Ordering::SeqCst) != 0 {
        return true;
    }
    let code = if PANICKED.load(Ordering::SeqCst) { PANIC } else { code };
    let message: Vec<u32> = std::iter::once(u32::from(code)).chain(reason.chars().map(u32::from)).collect();
    let mine = Header { kind: 0, words: 0, parts: 0, failed: message.len() as u64 };
    let world = SimpleCommunicator::world();
    let mut left = FAREWELL;
    // What has begun has to stay where it is if they do not come.
    let send: &'static [u64; HEADER] = Box::leak(Box::new(mine.words()));
    let receive: &'static mut [u64] = vec![0; HEADER * world.size() as usize].leak();
    let Some(found) = finished(world.immediate_all_gather_into(StaticScope, &send[..], receive), &mut left, false)
    else {
        return false;
    };
    let headers: Vec<Header> = found.chunks_exact(HEADER).map(Header::of).collect();
    let lengths: Vec<usize> = headers.iter().map(|header| header.failed as usize).collect();
    let (starts, counts) = places(&lengths);
    let send: &'static [u32] = message.leak();
    let receive: &'static mut [u32] = vec![0; lengths.iter().sum()].leak();
    let parts: &'static mut PartitionMut<'static, [u32], Vec<i32>, Vec<i32>> =
        Box::leak(Box::new(PartitionMut::new(receive, counts, starts)));
    let request = world.immediate_all_gather_varcount_into(StaticScope, send, parts);
    if finished(request, &mut left, false).is_none() {
        return false;
    }
    TOLD.store(code, Ordering::SeqCst);
    true
}

/// Ends all processes. Those who know that one has failed wait for each other first, while the first one writes.
fn leave(code: u8) -> ! {
    let world = SimpleCommunicator::world();
    let told = TOLD.load(Ordering::SeqCst);
    if told != 0 {
        finished(world.immediate_barrier(), &mut FAREWELL.clone(), false);
    }
    let code = if PANICKED.load(Ordering::SeqCst) { PANIC } else { code };
    world.abort(i32::from(if told == 0 { code } else { told }))
}

/// Waits for what has begun; none if it takes longer than is `left`. It then goes on, and what it reads and writes must
/// stay. With `strict`, a panic of another thread ends the processes.
fn finished<'a, D: ?Sized, S: Scope<'a>>(
    mut request: Request<'a, D, S>,
    left: &mut Duration,
    strict: bool,
) -> Option<&'a D> {
    let began = Instant::now();
    let mut last = began;
    loop {
        request = match request.test_with_data() {
            Ok((_, data)) => return Some(data),
            Err(request) => request,
        };
        if strict && PANICKED.load(Ordering::SeqCst) {
            SimpleCommunicator::world().abort(PANIC.into());
        }
        let now = Instant::now();
        *left = left.saturating_sub((now - last).min(PAUSE));
        last = now;
        if left.is_zero() {
            std::mem::forget(request);
            return None;
        }
        if now - began < SPIN {
            std::thread::yield_now();
        } else {
            std::thread::sleep(SLEEP);
        }
    }
}

/// Where messages of these lengths begin, and the lengths, as MPI counts.
fn places(lengths: &[usize]) -> (Vec<i32>, Vec<i32>) {
    let count = |words: usize| i32::try_from(words).expect("a round has no more words than MPI can count");
    let starts = lengths.iter().scan(0, |end, length| Some(std::mem::replace(end, *end + length)));
    (starts.map(count).collect(), lengths.iter().map(|&length| count(length)).collect())
}

impl Header {
    fn words(self) -> [u64; HEADER] {
        [self.kind, self.words, self.parts, self.failed]
    }

    fn of(words: &[u64]) -> Header {
        Header { kind: words[0], words: words[1], parts: words[2], failed: words[3] }
    }
}

struct World {
    standing: Standing,
    world: SimpleCommunicator,
    patience: Patience,
}

/// An exchange that has begun.
struct Talking {
    patience: Duration,
    left: Duration,
}

impl Talking {
    fn begin(patience: Duration) -> Talking {
        TALKING.store(true, Ordering::SeqCst);
        Talking { patience, left: patience }
    }

    /// Waits for a part of the exchange, which ends the process if it takes too long.
    fn wait<'a, D: ?Sized, S: Scope<'a>>(&mut self, request: Request<'a, D, S>) {
        if finished(request, &mut self.left, true).is_none() {
            let (rank, seconds) = (standing().rank, self.patience.as_secs());
            eprintln!("error: rank {rank}: a peer has not answered for {seconds} s; the training ends");
            exit(3);
        }
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        // An exchange that a panic has left is not over: others may still wait for its rest.
        if !std::thread::panicking() {
            TALKING.store(false, Ordering::SeqCst);
        }
    }
}

impl World {
    /// Tells all what this process is about to do, and hears it of them.
    fn begin(&self, talking: &mut Talking, mine: Header) -> Result<Vec<Header>, BackendError> {
        let mut words = vec![0_u64; HEADER * self.standing.size];
        let own = mine.words();
        scope(|scope| talking.wait(self.world.immediate_all_gather_into(scope, &own[..], &mut words[..])));
        let headers: Vec<Header> = words.chunks_exact(HEADER).map(Header::of).collect();
        if let Some(rank) = headers.iter().position(|header| header.failed > 0) {
            let lengths: Vec<usize> = headers.iter().map(|header| header.failed as usize).collect();
            let message = self.collect(talking, &lengths, &[]).swap_remove(rank);
            let code = message.first().and_then(|&code| u8::try_from(code).ok()).unwrap_or(PANIC);
            TOLD.store(code, Ordering::SeqCst);
            let reason = message.iter().skip(1).filter_map(|&letter| char::from_u32(letter)).collect();
            return Err(BackendError::Peer { rank, reason });
        }
        let differs =
            |header: &Header| header.kind != mine.kind || (mine.kind == SCATTER && header.words != mine.words);
        if let Some(rank) = headers.iter().position(differs) {
            return Err(BackendError::Peer { rank, reason: "it trains something else".to_owned() });
        }
        Ok(headers)
    }

    /// Messages of these lengths, by rank.
    fn collect(&self, talking: &mut Talking, lengths: &[usize], mine: &[u32]) -> Vec<Vec<u32>> {
        let mut all: Vec<Vec<u32>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        for parts in rounds(lengths, ROUND_WORDS / self.standing.size) {
            let own = parts[self.standing.rank].clone();
            // A process that has failed is heard by those that say nothing.
            let own = mine.get(own).unwrap_or(&[]);
            let lengths: Vec<usize> = parts.iter().map(ExactSizeIterator::len).collect();
            let (starts, counts) = places(&lengths);
            let mut words = vec![0_u32; lengths.iter().sum()];
            {
                let mut parts = PartitionMut::new(&mut words[..], &counts[..], &starts[..]);
                scope(|scope| talking.wait(self.world.immediate_all_gather_varcount_into(scope, own, &mut parts)));
            }
            let mut left = &words[..];
            for (message, length) in all.iter_mut().zip(lengths) {
                let (own, rest) = left.split_at(length);
                message.extend_from_slice(own);
                left = rest;
            }
        }
        all
    }
}

impl Peers for World {
    fn standing(&self) -> Standing {
        self.standing
    }

    fn gather(&mut self, occasion: Occasion, mine: &[u32]) -> Result<Vec<Vec<u32>>, BackendError> {
        let mut talking = Talking::begin(self.patience.now());
        let header = Header { kind: GATHER, words: mine.len() as u64, parts: 1, failed: 0 };
        let headers = self.begin(&mut talking, header)?;
        let lengths: Vec<usize> = headers.iter().map(|header| header.words as usize).collect();
        let all = self.collect(&mut talking, &lengths, mine);
        self.patience.over(occasion, Instant::now());
        Ok(all)
    }

    fn scatter(&mut self, words: usize, mine: &[&[u32]]) -> Result<Vec<Vec<Vec<u32>>>, BackendError> {
        let Standing { rank, size, .. } = self.standing;
        let mut talking = Talking::begin(self.patience.now());
        let header = Header { kind: SCATTER, words: words as u64, parts: mine.len() as u64, failed: 0 };
        let headers = self.begin(&mut talking, header)?;
        let shares = (0..size).map(|rank| share(words, rank, size));
        let sent: Vec<u32> =
            shares.clone().flat_map(|share| mine.iter().flat_map(move |part| part[share.clone()].to_vec())).collect();
        let (send_starts, send_counts) = places(&shares.map(|share| share.len() * mine.len()).collect::<Vec<_>>());
        let own = share(words, rank, size).len();
        let lengths: Vec<usize> = headers.iter().map(|header| own * header.parts as usize).collect();
        let (starts, counts) = places(&lengths);
        let mut received = vec![0_u32; lengths.iter().sum()];
        {
            let send = Partition::new(&sent[..], &send_counts[..], &send_starts[..]);
            let mut receive = PartitionMut::new(&mut received[..], &counts[..], &starts[..]);
            scope(|scope| {
                talking.wait(self.world.immediate_all_to_all_varcount_into(scope, &send, &mut receive));
            });
        }
        let mut left = &received[..];
        let of_rank = |header: &Header| {
            let part = |_| {
                let (part, rest) = left.split_at(own);
                left = rest;
                part.to_vec()
            };
            (0..header.parts).map(part).collect()
        };
        Ok(headers.iter().map(of_rank).collect())
    }
}
