//! Every operation, forward and backward, on random shapes with odd tails: each executor against the interpreter in f64.

use nnoptc::ir::random::Sequence;
use nnoptc::ir::{Binary, Builder, ConvGeometry, DType, PoolGeometry, ReduceKind, Unary, Value};
use nnoptc::passes::differentiate::differentiate;
use nnoptc::passes::precision::store_halves;

use crate::harness::{Case, Executor, adapters};

/// Random sizes and numbers, the same at every run.
struct Dice(Sequence);

impl Dice {
    fn below(&mut self, low: usize, high: usize) -> usize {
        low + self.0.next_below((high - low + 1) as u64) as usize
    }

    fn numbers(&mut self, count: usize, low: f64, high: f64) -> Vec<f64> {
        // Rounded to f32, so that all executors begin with the same numbers.
        (0..count).map(|_| f64::from((low + (high - low) * self.0.next_uniform()) as f32)).collect()
    }

    fn shape(&mut self, rank: usize) -> Vec<usize> {
        (0..rank).map(|_| self.below(1, 9)).collect()
    }
}

/// A case under construction: inputs that gradients are taken of, and the value that they lead to.
struct Trial<'a> {
    case: Case,
    dice: &'a mut Dice,
    inputs: Vec<Value>,
}

impl Trial<'_> {
    fn input(&mut self, shape: &[usize], low: f64, high: f64) -> Value {
        let data = self.dice.numbers(shape.iter().product(), low, high);
        let name = format!("input.{}", self.inputs.len());
        let value = self.case.given(&name, shape, data);
        self.inputs.push(value);
        value
    }

    fn b(&mut self) -> &mut Builder {
        &mut self.case.builder
    }

    /// Puts the operation's result in the middle of a graph, and checks it and all gradients.
    fn check(self, title: &str, result: Value, executors: &[Executor]) {
        self.with_gradients(result).check(title, 1e-5, executors);
    }

    /// The same with 16 bits between products. A number that an executor computes a little differently may be rounded to
    /// the other side, which is 2⁻¹¹ of it.
    fn check_halves(self, title: &str, result: Value, executors: &[Executor]) {
        let mut case = self.with_gradients(result);
        store_halves(&mut case.builder.graph, &[]);
        let stored = case.builder.graph.nodes.iter().any(|node| node.dtype == DType::F16);
        assert!(stored, "{title}: nothing is stored in 16 bits");
        case.check(title, 2e-3, executors);
    }

    fn with_gradients(mut self, result: Value) -> Case {
        let shape = self.case.builder.shape(result).to_vec();
        let count = shape.iter().product();
        self.case.expect_as_interpreted("the result", result);
        if self.case.builder.graph.dtype(result) == DType::F32 {
            let weights = self.dice.numbers(count, -1.0, 1.0);
            let weights = self.case.given("upstream", &shape, weights);
            let product = self.case.builder.mul(result, weights);
            let loss = self.case.builder.sum_all(product);
            let grads = differentiate(&mut self.case.builder, loss, &self.inputs);
            for (index, grad) in grads.into_iter().enumerate() {
                self.case.expect_as_interpreted(&format!("gradient {index}"), grad);
            }
        }
        self.case
    }
}

type Make = fn(&mut Trial) -> Value;

/// One maker for each operation; sizes are drawn anew for each turn.
const OPERATIONS: &[(&str, Make)] = &[
    ("matmul", |t| {
        let [m, n, k] = [0; 3].map(|_| t.dice.below(1, 70));
        let (transpose_a, transpose_b) = (t.dice.below(0, 1) == 1, t.dice.below(0, 1) == 1);
        let a = t.input(&if transpose_a { [k, m] } else { [m, k] }, -1.0, 1.0);
        let b = t.input(&if transpose_b { [n, k] } else { [k, n] }, -1.0, 1.0);
        t.b().matmul(a, b, transpose_a, transpose_b)
    }),
    ("conv2d", |t| {
        let groups = t.dice.below(1, 3);
        let (per_group_in, per_group_out) = (t.dice.below(1, 4), t.dice.below(1, 5));
        let kernel = [t.dice.below(1, 4), t.dice.below(1, 4)];
        let stride = [t.dice.below(1, 3), t.dice.below(1, 3)];
        let dilation = [t.dice.below(1, 2), t.dice.below(1, 2)];
        let padding = [t.dice.below(0, 2), t.dice.below(0, 2)];
        let reach = [0, 1].map(|axis| dilation[axis] * (kernel[axis] - 1) + 1);
        let input = [0, 1].map(|axis| reach[axis] + t.dice.below(0, 8));
        let output = [0, 1].map(|axis| (input[axis] + 2 * padding[axis] - reach[axis]) / stride[axis] + 1);
        let geometry = ConvGeometry {
            batch: t.dice.below(1, 5),
            channels: groups * per_group_in,
            input,
            filters: groups * per_group_out,
            kernel,
            output,
            stride,
            padding,
            dilation,
            groups,
        };
        let x = t.input(&geometry.input_shape(), -1.0, 1.0);
        let weight = t.input(&geometry.weight_shape(), -1.0, 1.0);
        t.b().conv2d(x, weight, geometry)
    }),
    ("max_pool", |t| {
        let (x, geometry) = pool_input(t);
        t.b().max_pool(x, geometry)
    }),
    ("avg_pool", |t| {
        let (x, geometry) = pool_input(t);
        t.b().avg_pool(x, geometry)
    }),
    ("reduce over some axes", |t| {
        let shape = t.dice.shape(4);
        let x = t.input(&shape, -1.0, 1.0);
        let axes: Vec<usize> = (0..4).filter(|_| t.dice.below(0, 1) == 1).collect();
        if axes.is_empty() { t.b().sum(x, &[3]) } else { t.b().sum(x, &axes) }
    }),
    ("reduce of many rows", |t| {
        let shape = [t.dice.below(1000, 3000), t.dice.below(1, 40)];
        let x = t.input(&shape, -1.0, 1.0);
        t.b().sum(x, &[0])
    }),
    ("reduce of long rows", |t| {
        let shape = [t.dice.below(1, 5), t.dice.below(2000, 9000)];
        let x = t.input(&shape, -1.0, 1.0);
        t.b().sum(x, &[1])
    }),
    ("max and position", |t| {
        let shape = [t.dice.below(1, 50), t.dice.below(1, 50)];
        let x = t.input(&shape, -1.0, 1.0);
        let max = t.b().reduce(ReduceKind::Max, x, &[1]);
        let at = t.b().reduce(ReduceKind::ArgMax, x, &[1]);
        let at = t.b().cast(at, DType::F32);
        t.b().add(max, at)
    }),
    ("broadcast and transpose", |t| {
        let shape = t.dice.shape(3);
        let x = t.input(&[1, shape[1], 1], -1.0, 1.0);
        let y = t.input(&[shape[2], shape[0], shape[1]], -1.0, 1.0);
        let wide = t.b().broadcast(x, &shape);
        let turned = t.b().transpose(y, &[1, 2, 0]);
        t.b().mul(wide, turned)
    }),
    ("slice, pad and concat", |t| {
        let shape = [t.dice.below(1, 9), t.dice.below(3, 9), t.dice.below(1, 9)];
        let x = t.input(&shape, -1.0, 1.0);
        let y = t.input(&shape, -1.0, 1.0);
        let part = t.b().slice(x, 1, 1, shape[1] - 2);
        let padded = t.b().pad(part, 1, 2, shape[1] + 3);
        t.b().concat(&[padded, y], 1)
    }),
    ("reshape between chains", |t| {
        let shape = t.dice.shape(4);
        let x = t.input(&shape, -1.0, 1.0);
        let y = t.b().unary(Unary::Tanh, x);
        let flat = t.b().reshape(y, &[shape[0], shape[1] * shape[2] * shape[3]]);
        t.b().unary(Unary::Exp, flat)
    }),
    ("select", |t| {
        let shape = t.dice.shape(2);
        let [a, b, c] = [0; 3].map(|_| t.input(&shape, -1.0, 1.0));
        let condition = t.b().binary(Binary::Less, a, b);
        t.b().select(condition, b, c)
    }),
    ("softmax of scores", |t| {
        let shape = [t.dice.below(1, 40), t.dice.below(1, 40)];
        let x = t.input(&shape, -8.0, 8.0);
        nnoptc::library::losses::cross_entropy::log_softmax(t.b(), x)
    }),
    ("random numbers", |t| {
        let shape = t.dice.shape(2);
        let x = t.input(&shape, -1.0, 1.0);
        let seed = [0; 2].map(|_| t.b().constant_u32(0x1234_5678, &[]));
        let step = t.b().constant_u32(17, &[]);
        let (rows, columns) = (t.b().iota(0, &shape), t.b().iota(1, &shape));
        let hundred = t.b().constant_u32(100, &shape);
        let rows = t.b().mul(rows, hundred);
        let index = t.b().add(rows, columns);
        let noise = t.b().random(5, seed, step, index);
        t.b().add(x, noise)
    }),
    ("gather and sample", |t| {
        let shape = [t.dice.below(2, 6), t.dice.below(1, 3), t.dice.below(3, 9), t.dice.below(3, 9)];
        let images = t.input(&shape, 0.0, 255.0);
        let rows = t.dice.numbers(4, 0.0, shape[0] as f64 - 0.01).into_iter().map(f64::floor).collect();
        let rows = t.case.given_words("rows", &[4], rows);
        let grid = [4, shape[2] + 2, shape[3] - 1];
        let [y, x] = [2, 3].map(|axis| t.input(&grid, -1.0, shape[axis] as f64));
        let bilinear = t.dice.below(0, 1) == 1;
        t.inputs.clear();
        let sampled = t.b().sample_image(images, rows, y, x, bilinear);
        let gathered = t.b().gather_rows(images, rows);
        let [a, b] = [sampled, gathered].map(|value| t.b().sum(value, &[2, 3]));
        t.b().add(a, b)
    }),
];

fn pool_input(t: &mut Trial) -> (Value, PoolGeometry) {
    let kernel = [t.dice.below(1, 4), t.dice.below(1, 4)];
    let stride = [t.dice.below(1, 3), t.dice.below(1, 3)];
    let padding = [0, 1].map(|axis| t.dice.below(0, kernel[axis] / 2));
    let input = [0, 1].map(|axis| kernel[axis] + t.dice.below(0, 8));
    let output = [0, 1].map(|axis| (input[axis] + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1);
    let shape = [t.dice.below(1, 4), t.dice.below(1, 4), input[0], input[1]];
    let x = t.input(&shape, -1.0, 1.0);
    (x, PoolGeometry { planes: shape[0] * shape[1], input, output, kernel, stride, padding })
}

fn check_operations(executors: &[Executor], turns: usize) {
    let mut dice = Dice(Sequence::new(2026, 0, 0));
    for (name, make) in OPERATIONS {
        for turn in 0..turns {
            let mut trial = Trial { case: Case::default(), dice: &mut dice, inputs: Vec::new() };
            let result = make(&mut trial);
            trial.check(&format!("{name}, turn {turn}"), result, executors);
        }
    }
}

/// Operations that read or move numbers of 16 bits.
fn check_halves(executors: &[Executor], turns: usize) {
    let mut dice = Dice(Sequence::new(16, 0, 0));
    let moved: Make = |t| {
        let [m, n, k] = [0; 3].map(|_| t.dice.below(1, 30));
        let [a, b] = [0; 2].map(|_| t.input(&[m, k], -1.0, 1.0));
        let c = t.input(&[2 * k * m, n], -1.0, 1.0);
        let both = t.b().concat(&[a, b], 1);
        let turned = t.b().transpose(both, &[1, 0]);
        let row = t.b().reshape(turned, &[1, 2 * k * m]);
        t.b().matmul(row, c, false, false)
    };
    let stored = |name: &str| ["matmul", "conv2d", "max_pool", "avg_pool"].contains(&name);
    let of_table = OPERATIONS.iter().filter(|(name, _)| stored(name)).copied();
    for (name, make) in of_table.chain([("movement", moved)]) {
        for turn in 0..turns {
            let mut trial = Trial { case: Case::default(), dice: &mut dice, inputs: Vec::new() };
            let result = make(&mut trial);
            trial.check_halves(&format!("{name} in 16 bits, turn {turn}"), result, executors);
        }
    }
}

fn check_functions(executors: &[Executor]) {
    let mut dice = Dice(Sequence::new(7, 0, 0));
    for function in Unary::ALL {
        let mut trial = Trial { case: Case::default(), dice: &mut dice, inputs: Vec::new() };
        let low = if matches!(function, Unary::Log | Unary::Sqrt | Unary::Reciprocal) { 0.05 } else { -4.0 };
        let x = trial.input(&[1237], low, 4.0);
        let y = trial.b().unary(function, x);
        trial.check(function.name(), y, executors);
    }
    for function in Binary::ALL {
        let mut trial = Trial { case: Case::default(), dice: &mut dice, inputs: Vec::new() };
        let a = trial.input(&[7, 179], -4.0, 4.0);
        let b = trial.input(&[7, 179], 0.3, 4.0);
        let y = trial.b().binary(function, a, b);
        trial.check(function.name(), y, executors);
    }
}

#[test]
fn operations_agree_with_the_interpreter_on_the_cpu() {
    check_operations(&[Executor::Cpu], 12);
    check_functions(&[Executor::Cpu]);
    check_halves(&[Executor::Cpu], 12);
}

#[test]
fn operations_agree_with_the_interpreter_on_adapters() {
    let gpus: Vec<Executor> = adapters().iter().map(Executor::Gpu).collect();
    if !gpus.is_empty() {
        check_operations(&gpus, 3);
        check_functions(&gpus);
        check_halves(&gpus, 3);
    }
}
