//! Processes that train together, one on each machine or each GPU, started by MPI.
//!
//! Built with the feature `mpi`, a process that `mpirun` (or `srun`) has started finds its peers here; every other one is
//! alone. The peers talk to each other in every update and at the end of every epoch, at points that follow from the
//! pipeline alone, never from time, so that nobody waits for an exchange that another does not make. A process that fails
//! says so at the exchange that the others come to next.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::BackendError;

/// Where a process stands among its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The number of the process.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
    /// The number of the process among those of its machine.
    pub local_rank: usize,
    /// How many there are on its machine.
    pub local_size: usize,
}

impl Standing {
    /// Of a process without peers.
    pub const ALONE: Standing = Standing { rank: 0, size: 1, local_rank: 0, local_size: 1 };
}

/// Why processes talk to each other, which says how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// In the middle of an update.
    Exchange,
    /// At the end of an update.
    Update,
    /// Before the first update, or at the end of an epoch.
    Other,
}

/// The connection to the peers. All processes must call the same functions in the same order.
pub trait Peers {
    /// Where this process stands.
    fn standing(&self) -> Standing;

    /// What every process gives, by rank.
    ///
    /// # Errors
    /// When a peer has failed, or does something else.
    fn gather(&mut self, occasion: Occasion, mine: &[u32]) -> Result<Vec<Vec<u32>>, BackendError>;

    /// Gives every process its [`share`] of these parts, which have so many words each, and gets what all have for this
    /// one: by rank and part.
    ///
    /// # Errors
    /// When a peer has failed, or does something else.
    fn scatter(&mut self, words: usize, mine: &[&[u32]]) -> Result<Vec<Vec<Vec<u32>>>, BackendError>;
}

/// Which of so many words fall to a process.
pub fn share(words: usize, rank: usize, size: usize) -> Range<usize> {
    let each = words.div_ceil(size.max(1));
    (rank * each).min(words)..((rank + 1) * each).min(words)
}

/// How long a peer may take to an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// What was asked for.
    given: Option<Duration>,
    /// The longest update so far.
    longest: Option<Duration>,
    /// When the present one began.
    began: Instant,
    /// Whether an update was the last thing that all did together.
    after_update: bool,
}

impl Patience {
    /// Where nothing is known yet: compiling kernels on a slow machine takes minutes, and so may writing a checkpoint.
    pub const MOST: Duration = Duration::from_secs(600);
    /// The least: a device that hangs has a minute to be named.
    pub const LEAST: Duration = Duration::from_secs(75);
    /// Times the longest update.
    const TIMES: u32 = 20;

    /// The time that was asked for, or what follows from the updates.
    pub fn new(given: Option<Duration>) -> Patience {
        Patience { given, longest: None, began: Instant::now(), after_update: false }
    }

    /// How long a peer may take now.
    pub fn now(&self) -> Duration {
        match (self.given, self.longest, self.after_update) {
            (Some(given), ..) => given,
            (None, Some(longest), true) => {
                longest.saturating_mul(Patience::TIMES).clamp(Patience::LEAST, Patience::MOST)
            }
            _ => Patience::MOST,
        }
    }

    /// Learns from an exchange that was over then.
    pub fn over(&mut self, occasion: Occasion, at: Instant) {
        if occasion == Occasion::Exchange {
            return;
        }
        self.after_update = occasion == Occasion::Update;
        if self.after_update {
            let took = at.saturating_duration_since(self.began);
            self.longest = Some(self.longest.map_or(took, |longest| longest.max(took)));
        }
        self.began = at;
    }
}

/// Which words of messages of these lengths go in each round, if none of them may have more than `most` in one.
pub fn rounds(lengths: &[usize], most: usize) -> impl Iterator<Item = Vec<Range<usize>>> + '_ {
    let count = lengths.iter().max().map_or(0, |longest| longest.div_ceil(most));
    let part = move |round: usize, length: usize| (round * most).min(length)..((round + 1) * most).min(length);
    (0..count).map(move |round| lengths.iter().map(|&length| part(round, length)).collect())
}

/// What a launcher says about the number of processes that it has started, whether or not this program can talk to them.
pub fn launched() -> usize {
    let names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"];
    let size = |name: &&str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    names.iter().find_map(size).unwrap_or(1)
}

#[cfg(feature = "mpi")]
mod world;

#[cfg(feature = "mpi")]
pub use world::{Guard, connect, join, standing};

#[cfg(not(feature = "mpi"))]
pub use alone::{Guard, connect, join, standing};

#[cfg(not(feature = "mpi"))]
mod alone {
    use super::{Peers, Standing, launched};

    /// Ends the connection when the process does.
    pub struct Guard;

    impl Guard {
        /// Says to the peers that this process has failed; whether all of them know.
        pub fn tell(&self, _code: u8, _reason: &str) -> bool {
            false
        }

        /// Ends the peers as well, where this process has failed.
        pub fn leave(self, _code: u8) {}
    }

    /// Joins the peers.
    ///
    /// # Errors
    /// When there are peers, and this program was built without MPI.
    pub fn join() -> Result<Guard, String> {
        match launched() {
            0 | 1 => Ok(Guard),
            size => Err(format!("one of {size} processes that MPI has started, but built without MPI")),
        }
    }

    /// Where this process stands.
    pub fn standing() -> Standing {
        Standing::ALONE
    }

    /// The connection to the peers, if there are any.
    pub fn connect() -> Option<Box<dyn Peers>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_all_words_in_their_order() {
        for (words, size) in [(10, 3), (2, 4), (0, 2), (8, 4), (7, 1)] {
            let all: Vec<usize> = (0..size).flat_map(|rank| share(words, rank, size)).collect();
            assert_eq!(all, (0..words).collect::<Vec<_>>(), "{words} words for {size}");
        }
    }

    #[test]
    fn long_messages_go_in_rounds() {
        let found: Vec<Vec<Range<usize>>> = rounds(&[5, 0, 2], 2).collect();
        assert_eq!(found, [[0..2, 0..0, 0..2], [2..4, 0..0, 2..2], [4..5, 0..0, 2..2]]);
        assert_eq!(rounds(&[0, 0], 2).count(), 0);
        // More than an i32 counts, which is what MPI does.
        let long = 5_usize << 30;
        let total: usize = rounds(&[long], 1 << 28).map(|round| round[0].len()).sum();
        assert_eq!(total, long);
    }

    #[test]
    fn patience_follows_from_the_updates() {
        let mut patience = Patience::new(None);
        let mut at = patience.began;
        let mut after = |patience: &mut Patience, occasion, seconds| {
            at += Duration::from_secs(seconds);
            patience.over(occasion, at);
            patience.now()
        };
        // Before the first update nothing is known.
        assert_eq!(after(&mut patience, Occasion::Other, 50), Patience::MOST);
        assert_eq!(after(&mut patience, Occasion::Exchange, 1), Patience::MOST);
        assert_eq!(after(&mut patience, Occasion::Update, 1), Patience::LEAST);
        // The exchanges of an update are part of it.
        assert_eq!(after(&mut patience, Occasion::Exchange, 4), Patience::LEAST);
        assert_eq!(after(&mut patience, Occasion::Update, 1), Duration::from_secs(100));
        assert_eq!(after(&mut patience, Occasion::Update, 1), Duration::from_secs(100));
        // Between epochs the first process writes.
        assert_eq!(after(&mut patience, Occasion::Other, 9), Patience::MOST);
        assert_eq!(after(&mut patience, Occasion::Update, 1), Duration::from_secs(100));
        assert_eq!(after(&mut patience, Occasion::Update, 1000), Patience::MOST);
        let mut given = Patience::new(Some(Duration::from_secs(5)));
        assert_eq!(after(&mut given, Occasion::Update, 70), Duration::from_secs(5));
    }
}
