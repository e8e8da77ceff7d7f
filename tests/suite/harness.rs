//! Runs a graph on every executor that there is, and compares with what is expected.

use std::sync::OnceLock;

use nnoptc::backend::{Session, Setup, cpu, gpu};
use nnoptc::ir::graph::{Init, InputInfo, StateInfo, StateKind, count};
use nnoptc::ir::interpret::{Environment, Tensor, step};
use nnoptc::ir::{Builder, DType, Graph, StateId, States, Value};
use nnoptc::plan::Plan;
use nnoptc::schema::{Given, GivenCall, GivenKind};
use nnoptc::syntax::ast::{Expr, ExprKind, Name};
use nnoptc::{passes, plan, syntax};

/// An executor under test.
#[derive(Clone)]
pub enum Executor {
    /// The definition, in f64.
    Interpreter,
    /// The native executor.
    Cpu,
    /// An adapter.
    Gpu(&'static gpu::Adapter),
}

impl Executor {
    pub fn name(&self) -> String {
        match self {
            Executor::Interpreter => "the interpreter".to_owned(),
            Executor::Cpu => "the CPU".to_owned(),
            Executor::Gpu(adapter) => adapter.name.clone(),
        }
    }
}

/// The adapters that tests use: those that `NNOPTC_TEST_ADAPTERS` names, with commas between them; else lavapipe and
/// SwiftShader, whatever else the machine has.
///
/// Without these, tests of the GPU say so; with `NNOPTC_REQUIRE_ADAPTERS=n`, fewer than `n` are a failure.
pub fn adapters() -> &'static [gpu::Adapter] {
    static ADAPTERS: OnceLock<Vec<gpu::Adapter>> = OnceLock::new();
    ADAPTERS.get_or_init(|| {
        if let Ok(names) = std::env::var("NNOPTC_TEST_ADAPTERS") {
            let named = |name| gpu::select(name).unwrap_or_else(|error| panic!("NNOPTC_TEST_ADAPTERS: {error}"));
            return names.split(',').map(named).collect();
        }
        let known = |name: &str| name.contains("llvmpipe") || name.contains("SwiftShader");
        let found: Vec<gpu::Adapter> = gpu::adapters().into_iter().filter(|adapter| known(&adapter.name)).collect();
        let wanted = std::env::var("NNOPTC_REQUIRE_ADAPTERS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        assert!(found.len() >= wanted, "{wanted} software adapters are required, found {}", found.len());
        if found.is_empty() {
            eprintln!("no software adapter: tests of the GPU are left out; `scripts/test` installs two");
        }
        found
    })
}

/// Every executor: the interpreter, the CPU, and the software adapters.
pub fn executors() -> Vec<Executor> {
    let mut all = vec![Executor::Interpreter, Executor::Cpu];
    all.extend(adapters().iter().map(Executor::Gpu));
    all
}

/// A graph under construction whose inputs and results are states.
#[derive(Default)]
pub struct Case {
    pub builder: Builder,
    values: Vec<(StateId, Vec<f64>)>,
    /// What the host gives the step: scalars and `rows`, by the names of the graph's inputs.
    pub inputs: Vec<(String, Vec<f64>)>,
    /// Errors are measured against this at least: the size of the numbers whose difference a result is.
    pub scale: f64,
    /// The results: name, state, expected values.
    pub expected: Vec<(String, StateId, Vec<f64>)>,
}

impl Case {
    /// A given tensor.
    pub fn given(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> Value {
        assert_eq!(count(shape), values.len(), "{name}");
        let value = self.builder.state(info(name, shape, DType::F32));
        self.set(value, values);
        value
    }

    /// A given tensor of words.
    pub fn given_words(&mut self, name: &str, shape: &[usize], values: Vec<f64>) -> Value {
        let value = self.builder.state(info(name, shape, DType::U32));
        self.set(value, values);
        value
    }

    /// Fills a state that the graph reads.
    pub fn set(&mut self, value: Value, values: Vec<f64>) {
        let id = self.builder.state_of(value).expect("a state");
        self.values.retain(|(other, _)| *other != id);
        self.values.push((id, values));
    }

    /// Expects a value.
    pub fn expect(&mut self, name: &str, value: Value, values: Vec<f64>) {
        let (shape, dtype) = (self.builder.shape(value).to_vec(), self.builder.graph.dtype(value));
        assert_eq!(count(&shape), values.len(), "{name}");
        let id = self.builder.states.declare(info(&format!("result.{name}"), &shape, dtype));
        self.builder.update(id, value);
        self.expected.push((name.to_owned(), id, values));
    }

    /// Expects what the interpreter gives.
    pub fn expect_as_interpreted(&mut self, name: &str, value: Value) {
        let size = count(self.builder.shape(value));
        self.expect(name, value, vec![f64::NAN; size]);
    }

    /// The values of the results after one step.
    pub fn run(&self, executor: &Executor) -> Vec<Vec<f64>> {
        let states = &self.builder.states;
        match executor {
            Executor::Interpreter => {
                let mut tensors: Vec<Tensor> = initial(states, &self.values);
                let given = |info: &InputInfo| Tensor::new(&info.shape, self.input(&info.name).to_vec());
                let inputs = self.builder.graph.inputs.iter().map(given).collect();
                let environment = Environment { states: tensors.clone(), data: Vec::new(), inputs };
                for (id, tensor) in step(&self.builder.graph, &environment) {
                    tensors[id.index()] = tensor;
                }
                self.expected.iter().map(|(_, id, _)| tensors[id.index()].data.clone()).collect()
            }
            Executor::Cpu | Executor::Gpu(_) => {
                let plan = planned(executor, self.builder.graph.clone(), states);
                let mut row = vec![0; plan.step.words];
                for (name, offset, length, dtype) in &plan.step.inputs {
                    row[*offset..offset + length].copy_from_slice(&words(self.input(name), *dtype));
                }
                let mut session = open_plan(executor, plan, states);
                for (id, values) in &self.values {
                    session.write_state(*id, &words(values, states.info(*id).dtype)).unwrap();
                }
                session.run(0, &row).unwrap();
                let read = |id: StateId, session: &mut dyn Session| -> Vec<f64> {
                    let dtype = states.info(id).dtype;
                    let words = session.read_state(id).unwrap();
                    words.into_iter().map(|word| number(word, dtype)).collect()
                };
                self.expected.iter().map(|(_, id, _)| read(*id, &mut *session)).collect()
            }
        }
    }

    /// What the host gives under this name.
    fn input(&self, name: &str) -> &[f64] {
        let found = self.inputs.iter().find(|(other, _)| other == name);
        &found.unwrap_or_else(|| panic!("the input `{name}` is given")).1
    }

    /// Checks every result on every executor: the largest error against the largest value.
    pub fn check(self, title: &str, tolerance: f64, executors: &[Executor]) {
        self.check_within(title, tolerance, 1e-9, executors);
    }

    /// The same with a bound of its own for the interpreter, where what is expected has been rounded.
    pub fn check_within(mut self, title: &str, tolerance: f64, in_f64: f64, executors: &[Executor]) {
        if self.expected.iter().any(|(_, _, values)| values.iter().any(|value| value.is_nan())) {
            let truth = self.run(&Executor::Interpreter);
            for ((_, _, values), truth) in self.expected.iter_mut().zip(truth) {
                *values = truth;
            }
        }
        for executor in executors {
            let bound = if matches!(executor, Executor::Interpreter) { in_f64 } else { tolerance };
            for ((name, _, wanted), found) in self.expected.iter().zip(self.run(executor)) {
                let error = relative_error(&found, wanted, self.scale);
                assert!(
                    error <= bound,
                    "{title}: {name} on {}: error {error:e}\nfound  {:?}\nwanted {:?}",
                    executor.name(),
                    &found[..found.len().min(12)],
                    &wanted[..wanted.len().min(12)]
                );
            }
        }
    }
}

/// The largest difference against the largest value, or against `least` if that is larger.
pub fn relative_error(found: &[f64], wanted: &[f64], least: f64) -> f64 {
    let scale = wanted.iter().fold(least.max(1e-30), |scale, value| scale.max(value.abs()));
    let worst = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, |worst: f64, error| if error.is_nan() { f64::INFINITY } else { worst.max(error) }) / scale
}

fn info(name: &str, shape: &[usize], dtype: DType) -> StateInfo {
    let (kind, init) = (StateKind::Metric, Init::Fill(0.0));
    StateInfo { name: name.to_owned(), shape: shape.to_vec(), dtype, kind, init, layer: None }
}

fn initial(states: &States, values: &[(StateId, Vec<f64>)]) -> Vec<Tensor> {
    let filled = |index: usize, info: &StateInfo| {
        let given = values.iter().find(|(id, _)| id.index() == index);
        let fill = if let Init::Fill(value) = info.init { value } else { 0.0 };
        given.map_or_else(|| vec![fill; count(&info.shape)], |(_, values)| values.clone())
    };
    states.infos().iter().enumerate().map(|(index, info)| Tensor::new(&info.shape, filled(index, info))).collect()
}

/// A session with one plan.
pub fn open(executor: &Executor, graph: Graph, states: &States) -> Box<dyn Session> {
    open_plan(executor, planned(executor, graph, states), states)
}

pub fn planned(executor: &Executor, mut graph: Graph, states: &States) -> Plan {
    passes::optimize(&mut graph, states, &mut |_, _| {});
    let fusion = match executor {
        Executor::Gpu(_) => gpu::FUSION,
        Executor::Cpu | Executor::Interpreter => cpu::FUSION,
    };
    plan::plan(&graph, states, fusion)
}

fn open_plan(executor: &Executor, plan: Plan, states: &States) -> Box<dyn Session> {
    let plans = [plan];
    let setup = Setup { plans: &plans, states, data: &[] };
    match executor {
        Executor::Cpu => cpu::open(&setup, None).unwrap(),
        Executor::Gpu(adapter) => gpu::open(&setup, adapter, gpu::Choice::Fixed).unwrap(),
        Executor::Interpreter => unreachable!("the interpreter has no session"),
    }
}

/// Numbers as the words of a state.
pub fn words(values: &[f64], dtype: DType) -> Vec<u32> {
    let word = |value: &f64| if dtype == DType::U32 { *value as u32 } else { (*value as f32).to_bits() };
    values.iter().map(word).collect()
}

/// A word of a state as a number.
pub fn number(word: u32, dtype: DType) -> f64 {
    if dtype == DType::U32 { f64::from(word) } else { f64::from(f32::from_bits(word)) }
}

/// A call as text, resolved.
pub fn call(text: &str) -> GivenCall {
    let (expr, diagnostics) = syntax::parse_expression(0, text);
    assert!(diagnostics.is_empty(), "{text}: {diagnostics:?}");
    given(&expr).as_call().unwrap_or_else(|| panic!("{text} is a call"))
}

fn given(expr: &Expr) -> Given {
    let kind = match &expr.kind {
        ExprKind::Number { value, integer, unit } => {
            GivenKind::Number { value: *value, integer: *integer, unit: *unit }
        }
        ExprKind::Text(text) => GivenKind::Text(text.clone()),
        ExprKind::Word(word) => GivenKind::Word(word.clone()),
        ExprKind::List(items) => GivenKind::List(items.iter().map(given).collect()),
        ExprKind::Range(low, high) => GivenKind::Range(plain(low), plain(high)),
        ExprKind::Call(call) => GivenKind::Call(GivenCall {
            name: Name { text: call.name.text.clone(), span: call.name.span },
            args: call.args.iter().map(|arg| (arg.name.clone(), given(&arg.value))).collect(),
            span: call.span,
        }),
        other => panic!("{other:?} in a call of a test"),
    };
    Given { kind, span: expr.span }
}

/// A number, perhaps with a sign.
fn plain(expr: &Expr) -> f64 {
    match &expr.kind {
        ExprKind::Number { value, .. } => *value,
        ExprKind::Negate(inner) => -plain(inner),
        other => panic!("{other:?} as the end of a range in a test"),
    }
}

/// A golden file.
pub fn golden(name: &str) -> serde_json::Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

/// A tensor of a golden file.
pub fn tensor(value: &serde_json::Value) -> (Vec<usize>, Vec<f64>) {
    let shape = value["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
    (shape, numbers(&value["data"]))
}

/// A list of numbers of a golden file.
pub fn numbers(value: &serde_json::Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}
