//! Where states and data sets lie in the buffers of a session.

use half::f16;

use crate::backend::{BackendError, DataBytes};
use crate::ir::graph::count;
use crate::ir::{DType, States};
use crate::plan::Plan;

use super::source::DATA_SLOTS;

/// Words to which each state and data set is aligned.
const ALIGNMENT: usize = 4;

/// Words from the begin of the states' buffer.
pub(super) struct StateLayout {
    /// Where each state lies.
    pub ranges: Vec<StateRange>,
    /// Words of all.
    pub words: usize,
}

/// Where a state lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateRange {
    /// First word.
    pub begin: usize,
    /// Elements.
    pub len: usize,
    /// Whether a word holds two of them.
    pub halves: bool,
}

impl StateRange {
    /// Words that it takes.
    pub fn words(&self) -> usize {
        if self.halves { self.len.div_ceil(2) } else { self.len }
    }

    /// One word for each element, as a session is given them, as they lie in the buffer.
    pub fn stored(&self, elements: &[u32]) -> Vec<u32> {
        let half = |word: &u32| u32::from(f16::from_f32(f32::from_bits(*word)).to_bits());
        if self.halves {
            elements.chunks(2).map(|pair| half(&pair[0]) | pair.get(1).map_or(0, half) << 16).collect()
        } else {
            elements.to_vec()
        }
    }

    /// What lies in the buffer, as one word for each element.
    pub fn elements(&self, stored: &[u32]) -> Vec<u32> {
        let word = |bits: u32| f16::from_bits(bits as u16).to_f32().to_bits();
        if self.halves {
            stored.iter().flat_map(|pair| [word(pair & 0xffff), word(pair >> 16)]).take(self.len).collect()
        } else {
            stored.to_vec()
        }
    }
}

impl StateLayout {
    /// All states after each other.
    pub fn new(states: &States) -> StateLayout {
        let mut words = 0;
        let ranges = states.infos().iter().map(|info| {
            let range = StateRange { begin: words, len: count(&info.shape), halves: info.dtype == DType::F16 };
            words += range.words().next_multiple_of(ALIGNMENT);
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
    use crate::ir::DataInfo;

    fn set(name: &str, bytes: usize) -> DataBytes {
        let info = DataInfo { name: name.to_owned(), shape: vec![bytes], dtype: DType::U8 };
        DataBytes { info, bytes: Arc::new(vec![0; bytes]) }
    }

    #[test]
    fn two_halves_share_a_word() {
        let range = StateRange { begin: 0, len: 3, halves: true };
        let numbers = [1.0_f32, -2.0, 0.1].map(f32::to_bits);
        let stored = range.stored(&numbers);
        assert_eq!(stored, [0xc000_3c00, 0x0000_2e66]);
        let rounded = f16::from_f32(0.1).to_f32();
        assert_eq!(range.elements(&stored), [1.0, -2.0, rounded].map(f32::to_bits));
        assert_eq!(range.words(), 2);
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
