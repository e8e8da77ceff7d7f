//! Buffers of a plan as raw memory, checked once when a session opens.

use crate::ir::{DType, StateId};
use crate::plan::{BufferRef, Place};

/// A buffer in memory. It stays valid as long as the session that made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pointer: *mut u8,
    /// Elements.
    pub len: usize,
    /// Their type.
    pub dtype: DType,
}

// SAFETY: a plan orders its kernels, and within a kernel different tasks write different elements.
unsafe impl Send for Bound {}
// SAFETY: as above.
unsafe impl Sync for Bound {}

impl Bound {
    /// The floats from `start`.
    ///
    /// # Safety
    /// No other task writes them meanwhile.
    #[inline(always)]
    pub unsafe fn floats(&self, start: usize, len: usize) -> &[f32] {
        debug_assert!(start + len <= self.len && self.dtype != DType::U8);
        // SAFETY: `start + len` is inside the buffer, which is aligned to 4 bytes; the caller excludes writers.
        unsafe { std::slice::from_raw_parts(self.pointer.cast::<f32>().add(start), len) }
    }

    /// The floats from `start`, to be written.
    ///
    /// # Safety
    /// No other task reads or writes them meanwhile.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the buffer is shared memory; tasks divide it among themselves")]
    pub unsafe fn floats_mut(&self, start: usize, len: usize) -> &mut [f32] {
        debug_assert!(start + len <= self.len && self.dtype != DType::U8);
        // SAFETY: `start + len` is inside the buffer, which is aligned to 4 bytes; the caller excludes others.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.cast::<f32>().add(start), len) }
    }

    /// One element as a word; bytes become the bits of a float.
    ///
    /// # Safety
    /// No other task writes it meanwhile, and `index` is inside the buffer.
    #[inline(always)]
    pub unsafe fn word(&self, index: usize) -> u32 {
        debug_assert!(index < self.len);
        // SAFETY: `index` is inside the buffer.
        unsafe {
            match self.dtype {
                DType::U8 => f32::from(*self.pointer.add(index)).to_bits(),
                DType::F32 | DType::U32 => *self.pointer.cast::<u32>().add(index),
            }
        }
    }

    /// Whether elements are bytes.
    pub fn is_bytes(&self) -> bool {
        self.dtype == DType::U8
    }

    /// The address of a word, for products.
    pub fn float_pointer(&self, start: usize) -> *mut f32 {
        debug_assert!(start <= self.len);
        self.pointer.cast::<f32>().wrapping_add(start)
    }
}

/// The memory of a session.
pub(super) struct Memory {
    /// One arena for all plans; they never run at the same time.
    pub arena: Aligned,
    /// One for each state.
    pub states: Vec<Aligned>,
    /// The row of the current step.
    pub row: Aligned,
}

/// Words at a 64-byte boundary.
pub(super) struct Aligned {
    words: Vec<u32>,
    offset: usize,
    len: usize,
}

impl Aligned {
    /// So many words, all 0.
    pub fn new(len: usize) -> Aligned {
        let words = vec![0u32; len + 16];
        let offset = words.as_ptr().align_offset(64).min(16);
        Aligned { words, offset, len }
    }

    /// The words.
    pub fn words(&self) -> &[u32] {
        &self.words[self.offset..self.offset + self.len]
    }

    /// The words, to be written.
    pub fn words_mut(&mut self) -> &mut [u32] {
        &mut self.words[self.offset..self.offset + self.len]
    }

    fn pointer(&mut self) -> *mut u8 {
        self.words_mut().as_mut_ptr().cast()
    }
}

impl Memory {
    /// Binds a buffer; `data` gives the address and the length in bytes of a resident data set.
    ///
    /// # Panics
    /// When the buffer is not inside its place, which is a mistake of the planner.
    pub fn bind(&mut self, buffer: &BufferRef, data: &dyn Fn(u32) -> (*const u8, usize)) -> Bound {
        let bytes = buffer.len * buffer.dtype.size();
        let (pointer, available) = match buffer.place {
            Place::Arena(offset) => {
                (self.arena.pointer().wrapping_add(offset * 4), (self.arena.len * 4).saturating_sub(offset * 4))
            }
            Place::State(StateId(id)) => {
                let state = &mut self.states[id as usize];
                (state.pointer(), state.len * 4)
            }
            Place::Step(offset) => {
                (self.row.pointer().wrapping_add(offset * 4), (self.row.len * 4).saturating_sub(offset * 4))
            }
            Place::Data(id) => {
                let (pointer, len) = data(id.0);
                (pointer.cast_mut(), len)
            }
        };
        assert!(bytes <= available, "{buffer:?} has {available} bytes only");
        Bound { pointer, len: buffer.len, dtype: buffer.dtype }
    }
}
