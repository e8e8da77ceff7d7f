//! What becomes of the results of products and convolutions, part by part while they are in a cache.

use super::Job;
use super::isa::Isa;
use super::memory::{Region, Words};
use super::program::Space;
use super::switch::Switch;
use super::tile::Frame;
use crate::plan::{Body, Store};

/// Work of a part of a late epilogue, in tenths of a nanosecond.
const PART_COST: usize = 80_000;
/// Most parts of a late epilogue.
const MAX_PARTS: usize = 32;

/// A program over the results of a product.
pub struct Epilogue {
    program: Switch,
    isa: Isa,
}

/// Where results go.
pub enum Output {
    /// To a buffer, as they are.
    Buffer(Region),
    /// To a program.
    Epilogue(Box<Epilogue>),
}

impl Epilogue {
    /// Compiles an epilogue over the shape of the result.
    pub fn new(shape: &[usize], inputs: &[Region], body: &Body, stores: &[(Store, Region)], isa: Isa) -> Epilogue {
        let space = Space { shape, order: (0..shape.len()).collect(), groups: vec![0; shape.len()] };
        Epilogue { program: Switch::compile(&space, inputs, body, stores, isa), isa }
    }

    /// Elements of the result.
    pub fn positions(&self) -> usize {
        self.program.usual().positions()
    }

    /// Words of scratch memory that [`Epilogue::frame`] takes.
    pub fn scratch_words(&self) -> usize {
        self.program.scratch_words().next_multiple_of(16)
    }

    /// Makes ready to run it; see [`Frame::run`].
    ///
    /// # Safety
    /// As [`Frame::new`].
    pub unsafe fn frame(&self, scratch: *mut u32) -> Frame<'_> {
        // SAFETY: the caller's promise.
        unsafe { Frame::new(self.program.choose(), self.isa, scratch) }
    }

    /// How many parts it is cut into when it runs after the whole product, and their positions.
    pub fn parts(&self) -> (usize, usize) {
        let positions = self.positions();
        let parts = (positions * self.program.usual().cost / PART_COST).clamp(1, MAX_PARTS);
        let part = positions.div_ceil(parts).next_multiple_of(64);
        (positions.div_ceil(part), part)
    }

    /// Runs a part of it on the whole product's results.
    ///
    /// # Safety
    /// As [`Job::run_part`], with [`Epilogue::scratch_words`].
    pub unsafe fn run_part(&self, part: usize, product: *const f32, scratch: *mut u32) {
        let start = part * self.parts().1;
        let len = self.parts().1.min(self.positions() - start);
        // SAFETY: the caller's promise; parts have no position in common.
        unsafe { self.frame(scratch).run(start, len, product.add(start)) };
    }
}

impl Output {
    /// Words of scratch memory that the epilogue takes.
    pub fn scratch_words(&self) -> usize {
        match self {
            Output::Buffer(_) => 0,
            Output::Epilogue(epilogue) => epilogue.scratch_words(),
        }
    }

    /// Panics unless there are exactly `len` results.
    pub fn expect_floats(&self, len: usize, what: &str) {
        match self {
            Output::Buffer(region) => region.expect_floats(len, what),
            Output::Epilogue(epilogue) => assert_eq!(epilogue.positions(), len, "{what} has its epilogue's positions"),
        }
    }
}

/// A kernel whose epilogue runs after all of its results are in memory of its own.
pub struct Late {
    kernel: Box<dyn Job>,
    epilogue: Box<Epilogue>,
    results: Words,
}

impl Late {
    /// A kernel that has `len` results, with what becomes of them; `build` gives the one that writes them to a buffer.
    pub fn build(output: Output, len: usize, build: impl FnOnce(Region) -> Box<dyn Job>) -> Box<dyn Job> {
        output.expect_floats(len, "a result");
        match output {
            Output::Buffer(out) => build(out),
            Output::Epilogue(epilogue) => {
                let results = Words::zeroed(len);
                Box::new(Late { kernel: build(results.region()), epilogue, results })
            }
        }
    }
}

impl Job for Late {
    fn phases(&self) -> usize {
        self.kernel.phases() + 1
    }

    fn parts(&self, phase: usize) -> usize {
        if phase < self.kernel.phases() { self.kernel.parts(phase) } else { self.epilogue.parts().0 }
    }

    fn scratch_words(&self) -> usize {
        self.kernel.scratch_words().max(self.epilogue.scratch_words())
    }

    unsafe fn run_part(&self, phase: usize, part: usize, scratch: *mut u32) {
        // SAFETY: the caller's promise.
        unsafe {
            if phase < self.kernel.phases() {
                self.kernel.run_part(phase, part, scratch);
            } else {
                self.epilogue.run_part(part, self.results.start().cast(), scratch);
            }
        }
    }
}
