//! The data of a program: reads its sources, numbers classes alike, and draws the rows of each split.

use std::sync::Arc;
use std::time::Instant;

use half::f16;

use super::{DataError, classes, split};
use crate::check::program::{Part, Precision, Program};
use crate::formats::error::FormatError;
use crate::formats::{Dataset, Files, Samples};

/// The data of a program.
pub struct Loaded {
    /// One for each source of the program.
    pub datasets: Vec<Arc<Dataset>>,
    /// One for each split of the program: its rows, ascending.
    pub rows: Vec<Vec<u32>>,
    /// How long reading took.
    pub seconds: f64,
}

/// Why a program's data cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or malformed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The data does not allow what is asked.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The files are not those that were checked.
    #[error("`{origin}` has {found} rows now, it had {expected} when the pipeline was checked; run it again")]
    Changed {
        /// The source.
        origin: String,
        /// Rows when checked.
        expected: usize,
        /// Rows when read.
        found: usize,
    },
    /// Samples are to be stored in 16 bits, which do not hold them.
    #[error(
        "row {row} of `{origin}` has the number {number}, the largest of 16 bits is 65,504; scale the data, or use \
         `precision = mixed`, which stores samples in 32"
    )]
    TooLarge {
        /// The source.
        origin: String,
        /// The row, counted from 1.
        row: usize,
        /// The number.
        number: f32,
    },
}

/// The first number that would be infinite in 16 bits.
fn check_halves(dataset: &Dataset) -> Result<(), LoadError> {
    let Samples::F32(values) = &dataset.samples else { return Ok(()) };
    let fits = |value: f32| !value.is_finite() || f16::from_f32(value).is_finite();
    let Some(at) = values.iter().position(|&value| !fits(value)) else { return Ok(()) };
    let row = at / (values.len() / dataset.len().max(1)).max(1) + 1;
    Err(LoadError::TooLarge { origin: dataset.origin.clone(), row, number: values[at] })
}

/// Reads every source and draws every split.
///
/// # Errors
/// When a file is missing or malformed, or a split cannot be drawn.
pub fn load(program: &Program, files: &dyn Files) -> Result<Loaded, LoadError> {
    let began = Instant::now();
    let mut datasets: Vec<Arc<Dataset>> = Vec::new();
    for source in &program.data.sources {
        let mut dataset = source.source.item.load(files, &source.base)?;
        if dataset.len() != source.header.rows {
            let (origin, expected) = (dataset.origin.clone(), source.header.rows);
            return Err(LoadError::Changed { origin, expected, found: dataset.len() });
        }
        if program.train.precision == Precision::F16Storage {
            check_halves(&dataset)?;
        }
        if let Some(first) = datasets.first() {
            classes::align(&mut dataset, first)?;
        }
        datasets.push(Arc::new(dataset));
    }
    // Every split is drawn from what those before it have left of its source.
    let mut left: Vec<Vec<u32>> = datasets.iter().map(|dataset| (0..dataset.len() as u32).collect()).collect();
    let mut taken = Vec::new();
    for part in &program.data.splits {
        let Part::Taken { stratified } = part.part else { continue };
        let pool = &left[part.source];
        let strata = split::strata(&datasets[part.source].targets, stratified)?;
        let labels: Option<Vec<u32>> = strata.map(|labels| pool.iter().map(|&row| labels[row as usize]).collect());
        // Each split has a draw of its own, so that adding one does not change those before it.
        let seed = program.train.seed.wrapping_add(taken.len() as u64);
        let (rest, drawn) = split::split(pool.len(), split::Part::Count(part.rows), labels.as_deref(), seed)?;
        taken.push((part.name.clone(), drawn.iter().map(|&at| pool[at as usize]).collect::<Vec<u32>>()));
        left[part.source] = rest.iter().map(|&at| left[part.source][at as usize]).collect();
    }
    let rows = program.data.splits.iter().map(|part| match part.part {
        Part::Rest => left[part.source].clone(),
        Part::Taken { .. } => {
            let found = taken.iter().find(|(name, _)| *name == part.name);
            found.map_or_else(|| unreachable!("every split is drawn"), |(_, rows)| rows.clone())
        }
    });
    let rows = rows.collect();
    Ok(Loaded { datasets, rows, seconds: began.elapsed().as_secs_f64() })
}
