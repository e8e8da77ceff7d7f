//! Where states and data sets lie in the buffers of a session.

use crate::backend::{BackendError, DataBytes};
use crate::ir::States;
use crate::ir::graph::count;
use crate::plan::Plan;

use super::source::DATA_SLOTS;

/// Words to which each state and data set is aligned.
const ALIGNMENT: usize = 4;

/// Words from the begin of the states' buffer.
pub(super) struct StateLayout {
    /// First word and length of each state.
    pub ranges: Vec<(usize, usize)>,
    /// Words of all.
    pub words: usize,
}

impl StateLayout {
    /// All states after each other.
    pub fn new(states: &States) -> StateLayout {
        let mut words = 0;
        let ranges = states.infos().iter().map(|info| {
            let range = (words, count(&info.shape));
            words += range.1.next_multiple_of(ALIGNMENT);
            range
        });
        StateLayout { ranges: ranges.collect(), words }
    }
}

/// A part of a data buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataRange {
    /// Which buffer.
    pub buffer: usize,
    /// First word.
    pub word: usize,
}

/// The data sets packed into few buffers.
pub(super) struct DataLayout {
    /// Where each data set of the session lies.
    pub ranges: Vec<DataRange>,
    /// Words of each buffer.
    pub buffers: Vec<usize>,
}

impl DataLayout {
    /// Each data set goes into the first buffer with room for it.
    pub fn new(data: &[DataBytes], max_bytes: u64, device: &str) -> Result<DataLayout, BackendError> {
        let mut buffers: Vec<usize> = Vec::new();
        let mut ranges = Vec::new();
        for set in data {
            let bytes = set.bytes.len() as u64;
            if bytes > max_bytes {
                return Err(BackendError::TooLarge {
                    what: format!("the data set `{}`", set.info.name),
                    needed: bytes,
                    allowed: max_bytes,
                    device: device.to_owned(),
                });
            }
            let words = set.bytes.len().div_ceil(4).next_multiple_of(ALIGNMENT);
            let fits = |used: &usize| ((used + words) * 4) as u64 <= max_bytes;
            let buffer = buffers.iter().position(fits).unwrap_or_else(|| {
                buffers.push(0);
                buffers.len() - 1
            });
            ranges.push(DataRange { buffer, word: buffers[buffer] });
            buffers[buffer] += words;
        }
        Ok(DataLayout { ranges, buffers })
    }

    /// The buffers that a plan reads, and for each of its data sets the position among those and the first word.
    pub fn for_plan(
        &self,
        plan: &Plan,
        data: &[DataBytes],
        device: &str,
    ) -> Result<(Vec<usize>, Vec<DataRange>), BackendError> {
        let mut slots: Vec<usize> = Vec::new();
        let mut places = Vec::new();
        for info in &plan.data {
            let Some(index) = data.iter().position(|set| set.info.name == info.name) else {
                return Err(BackendError::Failed {
                    device: device.to_owned(),
                    reason: format!("the data set `{}` is not there", info.name),
                });
            };
            let range = self.ranges[index];
            let slot = slots.iter().position(|buffer| *buffer == range.buffer).unwrap_or_else(|| {
                slots.push(range.buffer);
                slots.len() - 1
            });
            places.push(DataRange { buffer: slot, word: range.word });
        }
        if slots.len() > DATA_SLOTS {
            let bytes = |buffer: usize| self.buffers[buffer] as u64 * 4;
            return Err(BackendError::TooLarge {
                what: "the data sets of one step".to_owned(),
                needed: slots.iter().map(|buffer| bytes(*buffer)).sum(),
                allowed: slots.iter().take(DATA_SLOTS).map(|buffer| bytes(*buffer)).sum(),
                device: device.to_owned(),
            });
        }
        Ok((slots, places))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ir::{DType, DataInfo};

    fn set(name: &str, bytes: usize) -> DataBytes {
        let info = DataInfo { name: name.to_owned(), shape: vec![bytes], dtype: DType::U8 };
        DataBytes { info, bytes: Arc::new(vec![0; bytes]) }
    }

    #[test]
    fn small_sets_share_a_buffer_and_large_ones_do_not() {
        let data = [set("a", 90), set("b", 3), set("c", 30), set("d", 16)];
        let layout = DataLayout::new(&data, 112, "test").expect("all fit");
        let places: Vec<_> = layout.ranges.iter().map(|range| (range.buffer, range.word)).collect();
        assert_eq!(places, [(0, 0), (0, 24), (1, 0), (1, 8)]);
        assert_eq!(layout.buffers, [28, 12]);
    }

    #[test]
    fn a_set_larger_than_a_binding_is_named() {
        let error = DataLayout::new(&[set("train.images", 200)], 100, "test").err().expect("too large");
        assert_eq!(error.to_string(), "the data set `train.images` needs 200 bytes, `test` allows 100");
    }
}
