//! Nothing is allocated while steps run on the CPU; alone in its binary, since it counts every allocation of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use nnoptc::check::{Request, compile};
use nnoptc::data::load::load;
use nnoptc::formats::files::Memory;
use nnoptc::train::events::{Event, Observer};
use nnoptc::train::{device, prepare, run};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted.
struct Counted;

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTED: Counted = Counted;

/// Notes how many allocations there were when steps had been done, and when figures were reported.
struct Watch {
    marks: RefCell<Vec<Mark>>,
}

enum Mark {
    Steps(u64),
    Report,
}

impl Observer for Watch {
    fn event(&mut self, _event: &Event) {
        self.marks.borrow_mut().push(Mark::Report);
    }

    fn interrupted(&self) -> bool {
        self.marks.borrow_mut().push(Mark::Steps(ALLOCATIONS.load(Ordering::Relaxed)));
        false
    }
}

/// A table of 16 numbers and a class a row.
fn table() -> String {
    let mut table: String = (0..16).map(|column| format!("x{column},")).collect();
    table += "class\n";
    for row in 0..2048 {
        (0..16).for_each(|column| table += &format!("{},", (row * (column + 3)) % 11));
        table += &format!("{}\n", row % 3);
    }
    table
}

/// Trains and gives the allocations of each chunk of steps.
fn allocations(source: &str, rest: &str) -> Vec<u64> {
    let pipeline = format!(
        "nnopt 1\ndata {{\ntrain = csv(\"data.csv\", target = class{source})\nnormalize = auto\n}}\n{rest}\n\
         loss = cross_entropy\nregularization = l2(1e-4)\noptimizer = adam\nschedule = cosine(warmup = 9 steps)\n"
    );
    let table = table();
    let files = Memory::new().with("p.nnopt", pipeline.as_str()).with("data.csv", table.as_str());
    let compilation = compile(&Request { path: "p.nnopt".into(), ..Request::default() }, &files).unwrap();
    let program = compilation.program.unwrap_or_else(|| panic!("{:?}", compilation.diagnostics));
    let loaded = load(&program, &files).unwrap();
    let prepared = prepare::prepare(&program, nnoptc::train::device::fusion(&program));
    let mut session = device::open_session(&program, &prepared, &loaded, Some(2)).unwrap();
    let mut watch = Watch { marks: RefCell::new(Vec::with_capacity(10_000)) };
    run::run(&program, &prepared, &loaded, &mut *session, None, &mut watch).unwrap();
    // Between two marks without a report there are only steps: 1, 2, 4, 8 … of them, 256 an epoch.
    let marks = watch.marks.into_inner();
    let chunks = marks.windows(2).filter_map(|pair| match pair {
        [Mark::Steps(before), Mark::Steps(after)] => Some(after - before),
        _ => None,
    });
    chunks.collect()
}

#[test]
fn steps_allocate_nothing() {
    let train = "train {\nepochs = 6\nbatch = 8\naccumulate = 2\nclip_norm = 1\ndevices = cpu\n}";
    let numbers = format!("model {{\nlinear(16) -> batch_norm -> relu -> dropout(0.2)\nlinear(classes)\n}}\n{train}");
    let images = format!(
        "augment {{\nrandom_crop(4, padding = 1)\nhorizontal_flip\nrandom_rotation(10)\n}}\n\
         model {{\nconv2d(8, 3, padding = 1) -> batch_norm -> relu -> max_pool(2)\n\
         residual {{\nconv2d(8, 3, padding = 1) -> relu\n}} -> dropout(0.1)\nflatten -> linear(classes)\n}}\n{train}"
    );
    let mixed = format!("{images}\n").replace("devices = cpu", "devices = cpu\nprecision = mixed");
    for (source, rest) in [("", &numbers), (", shape = [1, 4, 4]", &images), (", shape = [1, 4, 4]", &mixed)] {
        let chunks = allocations(source, rest);
        assert!(chunks.len() >= 10, "{} chunks without a report", chunks.len());
        // A thread of the executor may allocate when it sleeps for the first time; a step that allocated would show as
        // many as there are steps, more than a thousand.
        assert!(chunks.iter().sum::<u64>() <= 8, "allocations in chunks of steps: {chunks:?} of {rest}");
    }
}
