//! Sessions: rows, data sets, arena, many steps, what is refused.

use super::*;
use crate::backend::BackendError;
use crate::backend::gpu::Choice;
use crate::backend::reopening::Reopening;
use crate::ir::{Binary, DataId, DataInfo};
use crate::plan::{Access, Body, Instr, Load, StepLayout, Store};

fn access(strides: &[usize]) -> Access {
    Access { offset: 0, strides: strides.to_vec(), indirect: Vec::new() }
}

fn load(input: usize, strides: &[usize]) -> Instr {
    Instr::Load(Load { input, access: access(strides) })
}

fn buffer(place: Place, len: usize, dtype: DType) -> BufferRef {
    BufferRef { place, len, dtype }
}

fn one_state(len: usize) -> States {
    let mut bench = Bench::new(0.0);
    bench.out(len, DType::F32);
    bench.states
}

/// `state += rate · Σ over the batch of the rows of the data set that the step names`, through the arena.
fn gathering_plan(classes: usize) -> Plan {
    let data = buffer(Place::Data(DataId(1)), 50 * classes, DType::U8);
    let row = buffer(Place::Step(1), 3, DType::U32);
    let rate = buffer(Place::Step(0), 1, DType::F32);
    let gathered = buffer(Place::Arena(4), 3 * classes, DType::F32);
    let state = buffer(Place::State(StateId(0)), classes, DType::F32);
    let gather = KernelKind::Pointwise {
        shape: vec![3, classes],
        inputs: vec![data, row],
        body: Body {
            instrs: vec![
                load(1, &[1, 0]),
                Instr::Load(Load {
                    input: 0,
                    access: Access { offset: 0, strides: vec![0, 1], indirect: vec![(0, classes)] },
                }),
            ],
        },
        stores: vec![Store { reg: 1, output: gathered, access: access(&[classes, 1]) }],
    };
    let at =
        |offset: usize| Instr::Load(Load { input: 0, access: Access { offset: offset * classes, ..access(&[1]) } });
    let add = KernelKind::Pointwise {
        shape: vec![classes],
        inputs: vec![gathered, rate, state],
        body: Body {
            instrs: vec![
                at(0),
                at(1),
                at(2),
                Instr::Binary(Binary::Add, 0, 1),
                Instr::Binary(Binary::Add, 3, 2),
                load(1, &[0]),
                Instr::Binary(Binary::Multiply, 4, 5),
                load(2, &[1]),
                Instr::Binary(Binary::Add, 7, 6),
            ],
        },
        stores: vec![Store { reg: 8, output: state, access: access(&[1]) }],
    };
    let info =
        |name: &str, shape: &[usize]| DataInfo { name: name.to_owned(), shape: shape.to_vec(), dtype: DType::U8 };
    let kernel = |kind| Kernel { kind, name: "gather".to_owned() };
    Plan {
        kernels: vec![kernel(gather), kernel(add)],
        arena_words: 4 + 3 * classes,
        step: StepLayout {
            inputs: vec![("lr".to_owned(), 0, 1, DType::F32), ("batch".to_owned(), 1, 3, DType::U32)],
            words: 4,
        },
        data: vec![info("other", &[3]), info("train", &[50, classes])],
        ..Plan::default()
    }
}

#[test]
fn many_steps_read_their_own_rows() {
    let classes = 7;
    let states = one_state(classes);
    let bytes: Vec<u8> = (0..50 * classes).map(|index| (index * 37 % 256) as u8).collect();
    let data = [byte_set("train", &[50, classes], bytes.clone()), byte_set("other", &[3], vec![1, 2, 3])];
    let plans = [gathering_plan(classes)];
    let steps = 600_usize;
    let mut rows = Vec::new();
    let mut expected = vec![1.0_f64; classes];
    for step in 0..steps {
        let rate = (step % 4) as f32 * 0.25;
        let batch = [step % 50, (step * 7 + 1) % 50, 49];
        rows.push(rate.to_bits());
        rows.extend(batch.map(|row| row as u32));
        for (class, sum) in expected.iter_mut().enumerate() {
            let added: f64 = batch.iter().map(|row| f64::from(bytes[row * classes + class])).sum();
            *sum += added * f64::from(rate);
        }
    }
    for adapter in test_adapters() {
        let setup = Setup { plans: &plans, states: &states, data: &data };
        let mut session = super::super::open(&setup, adapter, Choice::Fixed).expect("the session opens");
        session.write_state(StateId(0), &vec![1.0_f32.to_bits(); classes]).expect("a state is written");
        session.run(0, &rows[..4]).expect("a step runs");
        session.run(0, &rows[4..]).expect("steps run");
        let words = session.read_state(StateId(0)).expect("a state is read");
        let found: Vec<f64> = words.iter().map(|word| f64::from(f32::from_bits(*word))).collect();
        assert_eq!(found, expected, "{}", adapter.name);
    }
}

#[test]
fn a_missing_data_set_is_named() {
    for adapter in test_adapters() {
        let plans = [gathering_plan(3)];
        let states = one_state(3);
        let setup = Setup { plans: &plans, states: &states, data: &[byte_set("other", &[3], vec![1, 2, 3])] };
        let error = super::super::open(&setup, adapter, Choice::Fixed).err().expect("refused");
        assert!(error.to_string().contains("the data set `train` is not there"), "{error}");
    }
}

#[test]
fn an_arena_larger_than_a_binding_is_refused_with_figures() {
    for adapter in test_adapters() {
        let plans = [Plan { arena_words: 1 << 29, ..Plan::default() }];
        let setup = Setup { plans: &plans, states: &States::default(), data: &[] };
        match super::super::open(&setup, adapter, Choice::Fixed).err() {
            Some(BackendError::TooLarge { needed, allowed, .. }) => {
                assert_eq!(needed, 1 << 31);
                assert_eq!(allowed, adapter.max_binding_bytes.min(adapter.max_buffer_bytes));
            }
            other => panic!("expected TooLarge, found {other:?}"),
        }
    }
}

#[test]
fn a_destroyed_device_is_lost_at_the_next_call() {
    for adapter in test_adapters() {
        let gpu = Gpu::open(adapter).expect("the adapter has a device");
        let device = gpu.device.clone();
        let plans = [gathering_plan(3)];
        let data = [byte_set("train", &[50, 3], vec![1; 150]), byte_set("other", &[3], vec![1, 2, 3])];
        let states = one_state(3);
        let setup = Setup { plans: &plans, states: &states, data: &data };
        let mut session = GpuSession::new(&setup, gpu).expect("the session opens");
        device.destroy();
        let row = [1.0_f32.to_bits(), 1, 2, 3];
        let error = session.run(0, &row).and_then(|()| session.wait()).err();
        assert!(matches!(error, Some(BackendError::Lost { .. })), "{error:?}");
        assert!(matches!(session.read_state(StateId(0)), Err(BackendError::Lost { .. })));
    }
}

#[test]
fn a_lost_device_is_opened_again() {
    let row = [1.0_f32.to_bits(), 1, 2, 3];
    for adapter in test_adapters() {
        let devices = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let opened = std::rc::Rc::clone(&devices);
        let open = move || {
            let gpu = Gpu::open(adapter)?;
            opened.borrow_mut().push(gpu.device.clone());
            let plans = [gathering_plan(3)];
            let data = [byte_set("train", &[50, 3], vec![1; 150]), byte_set("other", &[3], vec![1, 2, 3])];
            let states = one_state(3);
            let session = GpuSession::new(&Setup { plans: &plans, states: &states, data: &data }, gpu)?;
            Ok(Box::new(session) as Box<dyn Session>)
        };
        let mut session = Reopening::new(Box::new(open)).expect("the adapter has a device");
        session.run(0, &row).expect("all is well");
        let expected = session.read_state(StateId(0)).expect("all is well");
        devices.borrow()[0].destroy();
        let lost = session.run(0, &row).and_then(|()| session.wait());
        assert!(matches!(lost, Err(BackendError::Lost { .. })), "{lost:?}");
        assert!(session.reopen().expect("the adapter is still there"));
        session.run(0, &row).expect("a new device");
        assert_eq!(session.read_state(StateId(0)).expect("a new device"), expected);
        assert_eq!(devices.borrow().len(), 2);
    }
}

#[test]
fn steps_divided_into_many_submissions_stay_in_order() {
    let states = one_state(3);
    let data = [byte_set("train", &[50, 3], vec![1; 150]), byte_set("other", &[3], vec![1, 2, 3])];
    let plans = [gathering_plan(3)];
    for adapter in test_adapters() {
        let setup = Setup { plans: &plans, states: &states, data: &data };
        let mut session = GpuSession::new(&setup, Gpu::open(adapter).expect("a device")).expect("the session opens");
        session.submission_seconds = 0.0;
        let rows: Vec<u32> = (0..300).flat_map(|step: u16| [f32::from(step).to_bits(), 1, 2, 3]).collect();
        session.run(0, &rows).expect("steps run");
        let words = session.read_state(StateId(0)).expect("a state is read");
        assert_eq!(words, vec![(3.0_f32 * 299.0 * 150.0).to_bits(); 3], "{}", adapter.name);
    }
}

#[test]
fn a_device_that_does_not_answer_is_given_up() {
    for adapter in test_adapters() {
        // 60 such products take longer than no time at all: on a graphics card, longer than to record them.
        let size: usize = if adapter.software { 300 } else { 2048 };
        let mut bench = Bench::new(0.0);
        let (a, b) = (bench.normal(size * size), bench.normal(size * size));
        let out = bench.out(size * size, DType::F32);
        for _ in 0..60 {
            let (m, n, k) = (size, size, size);
            bench.kernel(KernelKind::MatMul { m, n, k, transpose_a: false, transpose_b: false, a, b, out: out.into() });
        }
        let plans = [bench.plan()];
        let mut gpu = Gpu::open(adapter).expect("the adapter has a device");
        gpu.patience = std::time::Duration::ZERO;
        let setup = Setup { plans: &plans, states: &bench.states, data: &[] };
        let mut session = GpuSession::new(&setup, gpu).expect("the session opens");
        let error = session.run(0, &[]).and_then(|()| session.wait()).err();
        assert!(matches!(&error, Some(BackendError::Hung { work, .. }) if work.starts_with("`kernel ")), "{error:?}");
    }
}

#[test]
fn steps_that_are_short_go_to_the_device_together() {
    let states = one_state(3);
    let data = [byte_set("train", &[50, 3], vec![1; 150]), byte_set("other", &[3], vec![1, 2, 3])];
    let plans = [gathering_plan(3)];
    let rows: Vec<u32> = (0..200).flat_map(|step: u16| [f32::from(step).to_bits(), 1, 2, 3]).collect();
    for adapter in test_adapters() {
        let setup = Setup { plans: &plans, states: &states, data: &data };
        let mut session = GpuSession::new(&setup, Gpu::open(adapter).expect("a device")).expect("the session opens");
        session.run(0, &rows).expect("steps run");
        session.wait().expect("steps run");
        assert_eq!(session.submissions, 1, "{}", adapter.name);
        // One a launch, where that is wanted.
        session.submission_seconds = 0.0;
        session.run(0, &rows).expect("steps run");
        assert_eq!(session.submissions, 1 + 200 * session.launches(0), "{}", adapter.name);
    }
}
