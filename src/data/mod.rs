//! Preparing data: splits, statistics, sampling, class numbering.

pub mod classes;
pub mod load;
pub mod sampler;
pub mod split;
pub mod statistics;
pub mod subset;

pub use sampler::Sampler;
pub use split::{Part, split};
pub use statistics::{Statistics, measure};
pub use subset::subset;

/// The streams of random numbers that this module draws from; each has numbers of its own for each seed.
///
/// They count down from the top, where the graph's streams, which count up, do not come.
pub mod streams {
    /// Which rows a split takes.
    pub const SPLIT: u32 = u32::MAX;
    /// The order of an epoch.
    pub const SHUFFLE: u32 = u32::MAX - 1;
}

/// Data that cannot be prepared as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataError {
    /// A part of a split has no rows.
    #[error("split of {rows} rows at {part} is empty")]
    EmptySplit {
        /// How many rows there are.
        rows: usize,
        /// The share that was asked for.
        part: String,
    },
    /// A split takes all rows, or more than there are.
    #[error("split of {rows} rows at {part} leaves none for the rest")]
    EmptyRest {
        /// How many rows there are.
        rows: usize,
        /// The share that was asked for.
        part: String,
    },
    /// Stratification needs classes.
    #[error("`stratified` needs classes, found a target of real numbers; remove `stratified`")]
    StratifiedValues,
    /// More rows than a row index holds.
    #[error("{rows} rows are more than 4294967295, the most that are supported")]
    TooManyRows {
        /// How many rows there are.
        rows: usize,
    },
    /// No whole batch.
    #[error("a batch of {batch} from {rows} rows leaves no whole batch; choose a batch of at most {rows}")]
    NoBatch {
        /// Rows in a batch.
        batch: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// No rows.
    #[error("no rows to take batches from")]
    NoRows,
    /// A class that training does not know.
    #[error("`{origin}` has the class `{class}`, which `{reference}` does not have")]
    UnknownClass {
        /// Where the data is from.
        origin: String,
        /// The class that is too many.
        class: String,
        /// Where the known classes are from.
        reference: String,
    },
    /// Classes against numbers.
    #[error("`{origin}` has {found}, but `{reference}` has {expected}")]
    UnlikeTargets {
        /// Where the data is from.
        origin: String,
        /// Its targets.
        found: String,
        /// Where the expected targets are from.
        reference: String,
        /// The targets there.
        expected: String,
    },
}
