//! Processes that train together, one on each machine or each GPU, started by MPI.
//!
//! Built with the feature `mpi`, a process that `mpirun` (or `srun`) has started finds its peers here; every other one is
//! alone. What the peers say to each other is one exchange an update and one an epoch, both at points that follow from
//! the pipeline alone, never from time, so that nobody waits for an exchange that another does not make.

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

/// The connection to the peers.
pub trait Peers {
    /// Where this process stands.
    fn standing(&self) -> Standing;

    /// What every process gives, by rank; all must call it.
    ///
    /// # Errors
    /// When a peer does not answer.
    fn gather(&mut self, mine: &[u32]) -> Result<Vec<Vec<u32>>, BackendError>;
}

/// What a launcher says about the number of processes that it has started, whether or not this program can talk to them.
pub fn launched() -> usize {
    let names = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE"];
    let size = |name: &&str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    names.iter().find_map(size).unwrap_or(1)
}

#[cfg(feature = "mpi")]
pub use with_mpi::{Guard, connect, join, standing};

#[cfg(not(feature = "mpi"))]
pub use without_mpi::{Guard, connect, join, standing};

#[cfg(not(feature = "mpi"))]
mod without_mpi {
    use super::{Peers, Standing, launched};

    /// Ends the connection when the process does.
    pub struct Guard;

    impl Guard {
        /// Ends the peers as well, where this process has failed.
        pub fn leave(self, _code: i32) {}
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

#[cfg(feature = "mpi")]
mod with_mpi {
    use std::sync::OnceLock;
    use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
    use std::time::Duration;

    use mpi::Threading;
    use mpi::datatype::PartitionMut;
    use mpi::environment::Universe;
    use mpi::topology::SimpleCommunicator;
    use mpi::traits::{Communicator, CommunicatorCollectives};

    use super::{BackendError, Peers, Standing, launched};

    static STANDING: OnceLock<Standing> = OnceLock::new();

    /// How long a peer may take to an exchange: compiling kernels on a slow machine takes minutes.
    const PATIENCE: Duration = Duration::from_secs(600);

    /// Ends the connection when the process does.
    pub struct Guard(Option<Universe>);

    impl Guard {
        /// Ends the peers as well, where this process has failed: they would wait for it.
        pub fn leave(self, code: i32) {
            if let Some(universe) = &self.0
                && code != 0
                && universe.world().size() > 1
            {
                universe.world().abort(code);
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
        // A panic that unwinds would wait for the peers, who wait for this process.
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            SimpleCommunicator::world().abort(101);
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
        (standing.size > 1)
            .then(|| -> Box<dyn Peers> { Box::new(World { standing, world: SimpleCommunicator::world() }) })
    }

    struct World {
        standing: Standing,
        world: SimpleCommunicator,
    }

    /// Ends the process if an exchange takes too long, since MPI itself waits for ever.
    struct Watchdog(Option<Sender<()>>);

    impl Watchdog {
        fn start(rank: usize) -> Watchdog {
            let seconds = std::env::var("NNOPTC_PEER_TIMEOUT").ok().and_then(|text| text.parse().ok());
            let patience = seconds.map_or(PATIENCE, Duration::from_secs);
            let (done, expired) = channel();
            std::thread::spawn(move || {
                if expired.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                    let seconds = patience.as_secs();
                    eprintln!("error: rank {rank}: a peer has not answered for {seconds} s; the training ends");
                    // Without MPI's own cleaning up, which would wait as well; the launcher then ends the others.
                    // SAFETY: it ends the process and touches nothing.
                    unsafe { libc::_exit(3) };
                }
            });
            Watchdog(Some(done))
        }
    }

    impl Drop for Watchdog {
        fn drop(&mut self) {
            // The thread ends with its channel.
            if let Some(done) = self.0.take() {
                done.send(()).unwrap_or_default();
            }
        }
    }

    impl Peers for World {
        fn standing(&self) -> Standing {
            self.standing
        }

        fn gather(&mut self, mine: &[u32]) -> Result<Vec<Vec<u32>>, BackendError> {
            let _watchdog = Watchdog::start(self.standing.rank);
            let mut counts = vec![0_i32; self.standing.size];
            self.world.all_gather_into(&(mine.len() as i32), &mut counts[..]);
            let starts: Vec<i32> =
                counts.iter().scan(0, |end, count| Some(std::mem::replace(end, *end + count))).collect();
            let mut all = vec![0_u32; counts.iter().map(|&count| count as usize).sum()];
            {
                let mut parts = PartitionMut::new(&mut all[..], &counts[..], &starts[..]);
                self.world.all_gather_varcount_into(mine, &mut parts);
            }
            let part = |(&start, &count): (&i32, &i32)| all[start as usize..(start + count) as usize].to_vec();
            Ok(starts.iter().zip(&counts).map(part).collect())
        }
    }
}
