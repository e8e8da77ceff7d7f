//! The order of an epoch, and its batches.

use super::{DataError, streams};
use crate::ir::random::Sequence;

/// Batches of row indices; one permutation for each epoch, the same for the same `(seed, epoch)`.
#[derive(Clone, Debug)]
pub struct Sampler {
    order: Vec<u32>,
    batch: usize,
    drop_last: bool,
    seed: u64,
}

impl Sampler {
    /// A sampler of `0..rows` in order, until [`Sampler::shuffle`] is called.
    ///
    /// Fails where an epoch would have no batch.
    pub fn new(rows: usize, batch: usize, drop_last: bool, seed: u64) -> Result<Sampler, DataError> {
        let end = u32::try_from(rows).map_err(|_| DataError::TooManyRows { rows })?;
        if rows == 0 {
            return Err(DataError::NoRows);
        }
        if batch == 0 || drop_last && batch > rows {
            return Err(DataError::NoBatch { batch, rows });
        }
        Ok(Sampler { order: (0..end).collect(), batch, drop_last, seed })
    }

    /// Puts the rows in the order of an epoch, whatever the order was.
    pub fn shuffle(&mut self, epoch: u32) {
        self.order.iter_mut().zip(0..).for_each(|(row, index)| *row = index);
        Sequence::new(self.seed, streams::SHUFFLE, epoch).shuffle(&mut self.order);
    }

    /// How many batches an epoch has.
    pub fn batches(&self) -> usize {
        if self.drop_last { self.order.len() / self.batch } else { self.order.len().div_ceil(self.batch) }
    }

    /// The rows of a batch; only the last may have fewer than the others.
    ///
    /// # Panics
    /// `index` must be below [`Sampler::batches`].
    pub fn batch(&self, index: usize) -> &[u32] {
        let start = index * self.batch;
        &self.order[start..self.order.len().min(start + self.batch)]
    }

    /// The batches of the epoch, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u32]> {
        (0..self.batches()).map(|index| self.batch(index))
    }

    /// All rows in the order of the epoch, the part that no batch takes included.
    pub fn order(&self) -> &[u32] {
        &self.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_takes_every_row_once() {
        let mut sampler = Sampler::new(10, 4, false, 7).unwrap();
        assert_eq!(sampler.iter().map(<[u32]>::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut orders = Vec::new();
        for epoch in 0..3 {
            sampler.shuffle(epoch);
            let mut rows: Vec<u32> = sampler.iter().flatten().copied().collect();
            orders.push(rows.clone());
            rows.sort_unstable();
            assert_eq!(rows, (0..10).collect::<Vec<_>>());
        }
        assert!(orders[0] != orders[1] && orders[1] != orders[2]);
        // The order depends on the epoch alone, not on the epochs before it.
        let mut other = Sampler::new(10, 3, true, 7).unwrap();
        other.shuffle(2);
        assert_eq!(other.order(), orders[2]);
        assert_eq!(other.iter().map(<[u32]>::len).collect::<Vec<_>>(), [3, 3, 3]);
    }

    #[test]
    fn an_epoch_without_a_batch_is_refused() {
        let error = |rows, batch, drop_last| Sampler::new(rows, batch, drop_last, 0).unwrap_err().to_string();
        let text = "a batch of 4 from 3 rows leaves no whole batch; choose a batch of at most 3";
        assert_eq!(error(3, 4, true), text);
        assert_eq!(error(0, 4, false), "no rows to take batches from");
        assert_eq!(Sampler::new(3, 4, false, 0).unwrap().batches(), 1);
    }
}
