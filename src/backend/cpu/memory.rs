//! Where buffers lie: aligned allocations, and buffers bound to addresses in them.

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use half::f16;

use crate::backend::{DataBytes, Setup};
use crate::ir::{DType, StateId, graph};
use crate::plan::{BufferRef, Place, Plan};

/// Bytes of a large page of x86-64 and of most arm64 systems.
const LARGE_PAGE: usize = 2 << 20;

/// Lets the system back an allocation with large pages: a step walks through all of its memory, and with small pages
/// looking up addresses costs more than reading them.
fn ask_for_large_pages(start: NonNull<u32>, bytes: usize) {
    #[cfg(target_os = "linux")]
    if bytes >= LARGE_PAGE {
        // SAFETY: the range is inside the allocation, which begins at a page; the call changes no content. Where the
        // system refuses, small pages do the same.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// Zeroed words at an address that is a multiple of 64 and does not change.
pub struct Words {
    /// What was allocated; the words begin at the first address inside that is aligned.
    block: NonNull<u8>,
    start: NonNull<u32>,
    len: usize,
}

// SAFETY: it owns its allocation, as a `Vec` does.
unsafe impl Send for Words {}
// SAFETY: a shared reference only gives the address; who follows it answers for what is there.
unsafe impl Sync for Words {}

impl Words {
    /// `len` words of 0.
    pub fn zeroed(len: usize) -> Words {
        let layout = Words::layout(len);
        // SAFETY: the layout is never of size 0.
        let Some(block) = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }) else {
            std::alloc::handle_alloc_error(layout)
        };
        let align = Words::align(len);
        // SAFETY: the layout has room for the words behind the first aligned address.
        let start = unsafe { block.add(block.align_offset(align)) }.cast::<u32>();
        // Before the first touch, which is what gives each page its size.
        ask_for_large_pages(start, Words::bytes(len));
        Words { block, start, len }
    }

    fn bytes(len: usize) -> usize {
        len.max(1).next_multiple_of(16) * 4
    }

    fn align(len: usize) -> usize {
        if Words::bytes(len) >= LARGE_PAGE { LARGE_PAGE } else { 64 }
    }

    /// Asks an allocator for little alignment: it then gives large blocks as the system has zeroed them, page by page when
    /// they are first touched, and does not write the zeros itself.
    fn layout(len: usize) -> Layout {
        let bytes = Words::bytes(len).checked_add(Words::align(len)).expect("a buffer fits into the address space");
        Layout::from_size_align(bytes, align_of::<u64>()).expect("a buffer fits into the address space")
    }

    /// The first word.
    pub fn start(&self) -> *mut u32 {
        self.start.as_ptr()
    }

    /// All of them as a buffer of floats.
    pub fn region(&self) -> Region {
        Region { start: self.start().cast(), len: self.len, dtype: DType::F32 }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Their values; `&mut` says that no kernel runs.
    pub fn values(&mut self) -> &mut [u32] {
        // SAFETY: the allocation holds `len` initialised words, and kernels run only inside `Session::run`.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout.
        unsafe { std::alloc::dealloc(self.block.as_ptr(), Words::layout(self.len)) }
    }
}

/// Memory that kernels have from their first phase to their last, for a whole session: kernels that do not run at the same
/// time have the same.
#[derive(Default)]
pub struct Workspace {
    taken: Cell<usize>,
    most: Cell<usize>,
    words: Arc<OnceLock<Words>>,
}

impl Workspace {
    /// `len` words for a kernel, aligned to 64 bytes, which hold anything when it begins.
    pub fn lend(&self, len: usize) -> Lent {
        let at = self.taken.get();
        self.taken.set(at + len.next_multiple_of(16));
        self.most.set(self.most.get().max(self.taken.get()));
        Lent { at, words: Arc::clone(&self.words) }
    }

    /// Says that kernels made from here on run when those made before have ended.
    pub fn begin_anew(&self) {
        self.taken.set(0);
    }

    /// Allocates, when all kernels are made.
    pub fn allocate(&self) {
        self.words.get_or_init(|| Words::zeroed(self.most.get()));
    }
}

/// Words of a [`Workspace`].
pub struct Lent {
    at: usize,
    words: Arc<OnceLock<Words>>,
}

impl Lent {
    /// The first word.
    pub fn start(&self) -> *mut u32 {
        let words = self.words.get().expect("a workspace is allocated before its kernels run");
        words.start().wrapping_add(self.at)
    }
}

/// A buffer bound to its address: `len` elements inside an allocation of the session.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    start: *mut u8,
    /// How many elements.
    pub len: usize,
    /// Their type.
    pub dtype: DType,
}

// SAFETY: an address; the kernels that follow it are divided so that no two threads write one element.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// The address of the first element.
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// The address of the first of elements of 4 bytes.
    pub fn words(&self) -> *mut u32 {
        debug_assert_ne!(self.dtype, DType::U8);
        self.start.cast()
    }

    /// The address of the first of floats.
    pub fn floats(&self) -> *mut f32 {
        debug_assert_eq!(self.dtype, DType::F32);
        self.start.cast()
    }

    /// Whether both have a byte in common.
    pub fn overlaps(&self, other: &Region) -> bool {
        let (first, second) = (self.start as usize, other.start as usize);
        first < second + other.len * other.dtype.size() && second < first + self.len * self.dtype.size()
    }

    /// The floats of it.
    ///
    /// # Safety
    /// No thread may write to them while the slice lives.
    pub unsafe fn slice<'a>(&self) -> &'a [f32] {
        // SAFETY: the region is inside its allocation; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.floats(), self.len) }
    }

    /// `len` floats from `start` on, for writing.
    ///
    /// # Safety
    /// No one else may read or write them while the slice lives.
    pub unsafe fn part_mut<'a>(&self, start: usize, len: usize) -> &'a mut [f32] {
        assert!(start + len <= self.len, "a part lies inside its buffer");
        // SAFETY: inside the region, as just checked; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.floats().add(start), len) }
    }

    /// Panics unless the buffer has exactly `len` floats.
    pub fn expect_floats(&self, len: usize, what: &str) {
        assert_eq!(self.dtype, DType::F32, "{what} is of floats");
        assert_eq!(self.len, len, "{what} has as many elements as its shape says");
    }
}

/// The elements of a data set: the shared bytes, or words where those are not aligned.
enum Data {
    Shared(Arc<Vec<u8>>),
    Words(Words),
}

/// All memory of a session.
pub struct Memory {
    arena: Words,
    /// By state.
    pub states: Vec<Words>,
    /// By state: whether its elements are numbers of 16 bits.
    halves: Vec<bool>,
    /// By plan: the row of step inputs.
    pub rows: Vec<Words>,
    data: Vec<Data>,
    infos: Vec<graph::DataInfo>,
}

impl Memory {
    /// Allocates for a setup. All plans share one arena, as their contents do not outlive a step.
    pub fn new(setup: &Setup) -> Memory {
        Memory {
            arena: Words::zeroed(setup.plans.iter().map(|plan| plan.arena_words).max().unwrap_or(0)),
            states: setup.states.infos().iter().map(|info| Words::zeroed(graph::count(&info.shape))).collect(),
            halves: setup.states.infos().iter().map(|info| info.dtype == DType::F16).collect(),
            rows: setup.plans.iter().map(|plan| Words::zeroed(plan.step.words)).collect(),
            data: setup.data.iter().map(hold_data).collect(),
            infos: setup.data.iter().map(|data| data.info.clone()).collect(),
        }
    }

    /// Sets a state.
    pub fn write_state(&mut self, id: StateId, words: &[u32]) {
        let state = self.states[id.index()].values();
        state.copy_from_slice(words);
        if self.halves[id.index()] {
            for word in state {
                *word = f16::from_f32(f32::from_bits(*word)).to_f32().to_bits();
            }
        }
    }

    /// The address of a buffer of a plan.
    ///
    /// # Panics
    /// When the buffer is not inside its place, which is a mistake of ours.
    pub fn bind(&self, plan_idx: usize, plan: &Plan, buffer: &BufferRef) -> Region {
        let (start, bytes): (*mut u8, usize) = match buffer.place {
            Place::Arena(offset) => {
                assert!(offset + buffer.len <= plan.arena_words, "{buffer:?} lies inside the arena");
                (self.arena.start().wrapping_add(offset).cast(), buffer.len * 4)
            }
            Place::State(id) => {
                let words = &self.states[id.index()];
                (words.start().cast(), words.len() * 4)
            }
            Place::Step(offset) => {
                let words = &self.rows[plan_idx];
                assert!(offset + buffer.len <= words.len(), "{buffer:?} lies inside the step's row");
                (words.start().wrapping_add(offset).cast(), buffer.len * 4)
            }
            Place::Data(id) => {
                let name = &plan.data[id.0 as usize].name;
                let found = self.infos.iter().position(|info| info.name == *name);
                let idx =
                    found.unwrap_or_else(|| unreachable!("the data set `{name}` of a plan is given to its session"));
                assert_eq!(self.infos[idx].dtype, buffer.dtype, "the data set `{name}` has the plan's type");
                match &self.data[idx] {
                    // Kernels never store to a data set: `Region` has one kind of pointer for both uses.
                    Data::Shared(bytes) => (bytes.as_ptr().cast_mut(), bytes.len()),
                    Data::Words(words) => (words.start().cast(), words.len() * 4),
                }
            }
        };
        assert!(buffer.dtype != DType::U8 || matches!(buffer.place, Place::Data(_)), "bytes occur only in data sets");
        assert!(buffer.len * buffer.dtype.size() <= bytes, "{buffer:?} lies inside its place of {bytes} bytes");
        // Plans for this executor keep numbers of 16 bits as rounded floats.
        let dtype = if buffer.dtype == DType::F16 { DType::F32 } else { buffer.dtype };
        Region { start, len: buffer.len, dtype }
    }
}

fn hold_data(data: &DataBytes) -> Data {
    if data.info.dtype == DType::F16 {
        // Rounded floats, as everywhere in this executor.
        let mut words = Words::zeroed(data.bytes.len() / 2);
        for (word, bytes) in words.values().iter_mut().zip(data.bytes.as_chunks::<2>().0) {
            *word = f16::from_le_bytes(*bytes).to_f32().to_bits();
        }
        return Data::Words(words);
    }
    let aligned = data.info.dtype == DType::U8 || (data.bytes.as_ptr() as usize).is_multiple_of(4);
    if aligned && cfg!(target_endian = "little") {
        return Data::Shared(Arc::clone(&data.bytes));
    }
    let mut words = Words::zeroed(data.bytes.len() / 4);
    for (word, bytes) in words.values().iter_mut().zip(data.bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    Data::Words(words)
}
