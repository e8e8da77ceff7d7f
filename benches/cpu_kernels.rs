//! Times of the CPU executor's kernels at sizes that occur in training.
//!
//! `cargo bench --bench cpu_kernels -- [--json] [filter]`; with `--json`, a line is an object.

use std::sync::Arc;
use std::time::Instant;

use nnoptc::backend::{DataBytes, Setup, cpu};
use nnoptc::ir::graph::Init;
use nnoptc::ir::{
    Binary, ConvGeometry, DType, DataId, DataInfo, PoolGeometry, StateId, StateInfo, StateKind, States, Unary,
};
use nnoptc::plan::{
    Access, Body, BufferRef, Instr, Kernel, KernelKind, Load, Place, Plan, Reducer, Reduction, Reg, Store,
};

/// Kernels over states, timed together.
struct Bench {
    name: String,
    states: States,
    data: Vec<DataBytes>,
    kernels: Vec<Kernel>,
    /// Floating-point operations, or 0.
    operations: usize,
    /// Bytes read and written, or 0.
    bytes: usize,
}

impl Bench {
    fn new(name: &str) -> Bench {
        let (states, data, kernels) = (States::default(), Vec::new(), Vec::new());
        Bench { name: String::from(name), states, data, kernels, operations: 0, bytes: 0 }
    }

    fn state(&mut self, len: usize, dtype: DType) -> BufferRef {
        let name = format!("state.{}", self.states.infos().len());
        let (kind, init) = (StateKind::Weight, Init::Fill(0.0));
        let id = self.states.declare(StateInfo { name, shape: vec![len], dtype, kind, init, layer: None });
        BufferRef { place: Place::State(id), len, dtype }
    }

    fn floats(&mut self, len: usize) -> BufferRef {
        self.state(len, DType::F32)
    }

    fn kernel(&mut self, kind: KernelKind) {
        self.kernels.push(Kernel { kind, name: String::new() });
    }

    fn pointwise(&mut self, shape: &[usize], inputs: &[BufferRef], instrs: Vec<Instr>, stores: &[(usize, BufferRef)]) {
        let stores = (stores.iter())
            .map(|(reg, output)| Store { reg: *reg as Reg, output: *output, access: access(&dense(shape)) })
            .collect();
        let (shape, inputs) = (shape.to_vec(), inputs.to_vec());
        self.kernel(KernelKind::Pointwise { shape, inputs, body: Body { instrs }, stores });
    }

    fn reduce(
        &mut self,
        shape: &[usize],
        kept: usize,
        input: BufferRef,
        strides: &[usize],
        kind: Reducer,
    ) -> BufferRef {
        let dtype = if kind == Reducer::ArgMax { DType::U32 } else { DType::F32 };
        let output = self.state(shape[..kept].iter().product(), dtype);
        self.kernel(KernelKind::Reduce {
            shape: shape.to_vec(),
            kept,
            inputs: vec![input],
            body: Body { instrs: vec![load(0, strides)] },
            reductions: vec![Reduction { reg: 0, kind, output }],
        });
        output
    }

    fn matmul(
        &mut self,
        [m, n, k]: [usize; 3],
        transpose_a: bool,
        transpose_b: bool,
        a: BufferRef,
        b: BufferRef,
    ) -> BufferRef {
        let out = self.floats(m * n);
        self.operations += 2 * m * n * k;
        self.kernel(KernelKind::MatMul { m, n, k, transpose_a, transpose_b, a, b, out: out.into() });
        out
    }

    /// Prints the median time with 1 and 2 threads.
    fn run(self) {
        let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
        if filter.is_some_and(|filter| !self.name.contains(&filter)) {
            return;
        }
        let json = std::env::args().any(|arg| arg == "--json");
        let plan = Plan {
            kernels: self.kernels,
            data: self.data.iter().map(|data| data.info.clone()).collect(),
            ..Plan::default()
        };
        if !json {
            print!("{:44}", self.name);
        }
        for threads in [1, 2] {
            let setup = Setup { plans: std::slice::from_ref(&plan), states: &self.states, data: &self.data };
            let mut session = cpu::open(&setup, Some(threads)).expect("the processor is there");
            for (id, info) in self.states.infos().iter().enumerate() {
                let words: Vec<u32> = (0..info.shape[0])
                    .map(|at| match info.dtype {
                        DType::F32 | DType::F16 => (0.01 + ((at * 7919) % 1000) as f32 * 1e-3).to_bits(),
                        DType::U32 | DType::U8 => (at % 64) as u32,
                    })
                    .collect();
                session.write_state(StateId(id as u32), &words).expect("a state is written");
            }
            let mut step = || {
                let begin = Instant::now();
                session.run(0, &[]).expect("a step runs");
                begin.elapsed().as_secs_f64()
            };
            let begin = Instant::now();
            let mut times = Vec::new();
            while times.len() < 20 || begin.elapsed().as_secs_f64() < 0.3 {
                times.push(step());
            }
            times.sort_by(f64::total_cmp);
            let (best, median) = (times[0], times[times.len() / 2]);
            if json {
                let line = serde_json::json!({
                    "name": self.name,
                    "threads": threads,
                    "seconds": median,
                    "best_seconds": best,
                    "operations": self.operations,
                    "bytes": self.bytes,
                });
                println!("{line}");
                continue;
            }
            print!("  {:9.2} µs (best {:9.2})", median * 1e6, best * 1e6);
            if self.operations > 0 {
                print!(" {:6.1} GFLOP/s", self.operations as f64 / median * 1e-9);
            }
            if self.bytes > 0 {
                print!(" {:6.1} GB/s", self.bytes as f64 / median * 1e-9);
            }
        }
        if !json {
            println!();
        }
    }
}

fn dense(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

fn access(strides: &[usize]) -> Access {
    Access { strides: strides.to_vec(), ..Access::default() }
}

fn load(input: usize, strides: &[usize]) -> Instr {
    Instr::Load(Load { input, access: access(strides) })
}

/// One update of Adam: weight, both moments, gradient; a row of three numbers.
fn adam(bench: &mut Bench, weight: BufferRef, grad: BufferRef) {
    let n = weight.len;
    let (m, v, row) = (bench.floats(n), bench.floats(n), bench.floats(3));
    let scalar = |offset| Instr::Load(Load { input: 4, access: Access { offset, ..access(&[0]) } });
    let two = |function, a, b| Instr::Binary(function, a, b);
    let instrs = vec![
        load(0, &[1]),
        load(1, &[1]),
        load(2, &[1]),
        load(3, &[1]),
        Instr::Float(0.9),
        Instr::Float(0.1),
        Instr::Float(0.999),
        Instr::Float(0.001),
        two(Binary::Multiply, 1, 4),
        two(Binary::Multiply, 3, 5),
        two(Binary::Add, 8, 9),
        two(Binary::Multiply, 3, 3),
        two(Binary::Multiply, 2, 6),
        two(Binary::Multiply, 11, 7),
        two(Binary::Add, 12, 13),
        scalar(0),
        scalar(1),
        two(Binary::Multiply, 14, 15),
        Instr::Unary(Unary::Sqrt, 17),
        Instr::Float(1e-8),
        two(Binary::Add, 18, 19),
        two(Binary::Multiply, 10, 16),
        two(Binary::Divide, 21, 20),
        two(Binary::Subtract, 0, 22),
    ];
    bench.pointwise(&[n], &[weight, m, v, grad, row], instrs, &[(23, weight), (10, m), (14, v)]);
    bench.bytes += 28 * n;
}

/// `y = relu(x + bias)` or the same without relu.
fn bias(bench: &mut Bench, shape: [usize; 2], x: BufferRef, relu: bool) {
    let bias = bench.floats(shape[1]);
    let mut instrs = vec![load(0, &[shape[1], 1]), load(1, &[0, 1]), Instr::Binary(Binary::Add, 0, 1)];
    if relu {
        instrs.push(Instr::Unary(Unary::Relu, 2));
    }
    let last = instrs.len() - 1;
    bench.pointwise(&shape, &[x, bias], instrs, &[(last, x)]);
}

/// Forward, backward and Adam of a multi-layer perceptron with cross-entropy.
fn perceptron(name: &str, batch: usize, sizes: &[usize]) -> Bench {
    let mut bench = Bench::new(name);
    let weights: Vec<BufferRef> = sizes.windows(2).map(|pair| bench.floats(pair[0] * pair[1])).collect();
    let n_layers = weights.len();
    let mut activations = vec![bench.floats(batch * sizes[0])];
    for layer in 0..n_layers {
        let (from, to) = (sizes[layer], sizes[layer + 1]);
        let x = bench.matmul([batch, to, from], false, false, activations[layer], weights[layer]);
        bias(&mut bench, [batch, to], x, layer + 1 < n_layers);
        activations.push(x);
    }
    let classes = sizes[n_layers];
    let logits = activations[n_layers];
    let top = bench.reduce(&[batch, classes], 1, logits, &[classes, 1], Reducer::Max);
    let exps = bench.floats(batch * classes);
    let shifted = vec![
        load(0, &[classes, 1]),
        load(1, &[1, 0]),
        Instr::Binary(Binary::Subtract, 0, 1),
        Instr::Unary(Unary::Exp, 2),
    ];
    bench.pointwise(&[batch, classes], &[logits, top], shifted, &[(3, exps)]);
    let sums = bench.reduce(&[batch, classes], 1, exps, &[classes, 1], Reducer::Sum);
    let labels = bench.state(batch, DType::U32);
    let mut grad = bench.floats(batch * classes);
    let instrs = vec![
        load(0, &[classes, 1]),
        load(1, &[1, 0]),
        Instr::Binary(Binary::Divide, 0, 1),
        load(2, &[1, 0]),
        Instr::Position { axis: 1, offset: 0 },
        Instr::Binary(Binary::Equal, 3, 4),
        Instr::Binary(Binary::Subtract, 2, 5),
        Instr::Float(1.0 / batch as f32),
        Instr::Binary(Binary::Multiply, 6, 7),
    ];
    bench.pointwise(&[batch, classes], &[exps, sums, labels], instrs, &[(8, grad)]);
    for layer in (0..n_layers).rev() {
        let (from, to) = (sizes[layer], sizes[layer + 1]);
        let bias_grad = bench.reduce(&[to, batch], 1, grad, &[1, to], Reducer::Sum);
        let weight_grad = bench.matmul([from, to, batch], true, false, activations[layer], grad);
        if layer > 0 {
            let input_grad = bench.matmul([batch, from, to], false, true, grad, weights[layer]);
            let instrs = vec![
                load(0, &[1]),
                load(1, &[1]),
                Instr::Float(0.0),
                Instr::Binary(Binary::Less, 2, 1),
                Instr::Select(3, 0, 2),
            ];
            bench.pointwise(&[batch * from], &[input_grad, activations[layer]], instrs, &[(4, input_grad)]);
            grad = input_grad;
        }
        adam(&mut bench, weights[layer], weight_grad);
        let bias_weight = bench.floats(to);
        adam(&mut bench, bias_weight, bias_grad);
    }
    bench.bytes = 0;
    bench
}

fn convolution(
    batch: usize,
    channels: usize,
    filters: usize,
    size: usize,
    kernel: usize,
    [stride, padding]: [usize; 2],
) {
    let output = (size + 2 * padding - kernel) / stride + 1;
    let geometry = ConvGeometry {
        batch,
        channels,
        input: [size; 2],
        filters,
        kernel: [kernel; 2],
        output: [output; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let lens = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape()];
    let lens: Vec<usize> = lens.iter().map(|shape| shape.iter().product()).collect();
    for (idx, what) in ["conv", "conv input grad", "conv weight grad"].into_iter().enumerate() {
        let mut bench = Bench::new(&format!("{what} {batch}x{channels}x{size}² → {filters}, {kernel}² /{stride}"));
        let [x, weight, y] = [0, 1, 2].map(|idx| bench.floats(lens[idx]));
        bench.kernel(match idx {
            0 => KernelKind::Conv2d { geometry, x, weight, out: y.into() },
            1 => KernelKind::Conv2dInputGrad { geometry, weight, grad: y, out: x.into() },
            _ => KernelKind::Conv2dWeightGrad { geometry, x, grad: y, out: weight.into() },
        });
        bench.operations = 2 * lens[2] * lens[1] / filters;
        bench.run();
    }
}

fn main() {
    perceptron("step 32, 30-64-64-2, Adam", 32, &[30, 64, 64, 2]).run();
    perceptron("step 128, 784-512-512-10, Adam", 128, &[784, 512, 512, 10]).run();

    for (name, sizes, transpose_a, transpose_b) in [
        ("matmul 128x784x512", [128, 512, 784], false, false),
        ("matmul 128x512x512, b transposed", [128, 512, 512], false, true),
        ("matmul 784x128x512, a transposed", [784, 512, 128], true, false),
        ("matmul 512x128x512, a transposed", [512, 512, 128], true, false),
        ("matmul 32x64x64", [32, 64, 64], false, false),
        ("matmul 32x64x64, b transposed", [32, 64, 64], false, true),
        ("matmul 64x32x64, a transposed", [64, 64, 32], true, false),
        ("matmul 32x30x64", [32, 64, 30], false, false),
        ("matmul 32x64x2", [32, 2, 64], false, false),
        ("matmul 128x512x10", [128, 10, 512], false, false),
        ("matmul 1024³", [1024; 3], false, false),
        ("matmul 2048³", [2048; 3], false, false),
    ] {
        let mut bench = Bench::new(name);
        let [m, n, k] = sizes;
        let (a, b) = (bench.floats(m * k), bench.floats(k * n));
        bench.matmul(sizes, transpose_a, transpose_b, a, b);
        bench.run();
    }

    convolution(64, 1, 32, 28, 3, [1, 0]);
    convolution(64, 32, 64, 26, 3, [1, 0]);
    convolution(128, 3, 16, 32, 3, [1, 1]);
    convolution(128, 16, 16, 32, 3, [1, 1]);
    convolution(128, 32, 32, 16, 3, [1, 1]);
    convolution(128, 32, 64, 16, 3, [2, 1]);
    convolution(128, 64, 64, 8, 3, [1, 1]);
    convolution(128, 32, 64, 16, 1, [2, 0]);

    let mut bench = Bench::new("adam 400k");
    let (weight, grad) = (bench.floats(401_408), bench.floats(401_408));
    adam(&mut bench, weight, grad);
    bench.run();

    for (name, function) in [("exp", Unary::Exp), ("tanh", Unary::Tanh), ("erf", Unary::Erf), ("sin", Unary::Sin)] {
        let mut bench = Bench::new(&format!("{name} 64k"));
        let x = bench.floats(65_536);
        bench.pointwise(&[65_536], &[x], vec![load(0, &[1]), Instr::Unary(function, 0)], &[(1, x)]);
        bench.run();
    }

    let mut bench = Bench::new("dropout 128x512");
    let (x, words) = (bench.floats(65_536), bench.state(3, DType::U32));
    let scalar = |offset| Instr::Load(Load { input: 1, access: Access { offset, ..access(&[0]) } });
    let instrs = vec![
        load(0, &[1]),
        scalar(0),
        scalar(1),
        scalar(2),
        Instr::Position { axis: 0, offset: 0 },
        Instr::Random { stream: 1, operands: [1, 2, 3, 4] },
        Instr::Float(0.2),
        Instr::Binary(Binary::LessEqual, 6, 5),
        Instr::Float(1.25),
        Instr::Binary(Binary::Multiply, 0, 8),
        Instr::Float(0.0),
        Instr::Select(7, 9, 10),
    ];
    bench.pointwise(&[65_536], &[x, words], instrs, &[(11, x)]);
    bench.run();

    let mut bench = Bench::new("gather 128 rows of 784 bytes");
    let (rows, out) = (bench.state(128, DType::U32), bench.floats(128 * 784));
    let info = DataInfo { name: String::from("images"), shape: vec![1000, 784], dtype: DType::U8 };
    bench.data.push(DataBytes { info, bytes: Arc::new(vec![3; 784_000]) });
    let images = BufferRef { place: Place::Data(DataId(0)), len: 784_000, dtype: DType::U8 };
    let gather = Access { indirect: vec![(0, 784)], ..access(&[0, 1]) };
    let instrs = vec![
        load(0, &[1, 0]),
        Instr::Load(Load { input: 1, access: gather }),
        Instr::Float(1.0 / 255.0),
        Instr::Binary(Binary::Multiply, 1, 2),
    ];
    bench.pointwise(&[128, 784], &[rows, images], instrs, &[(3, out)]);
    bench.run();

    for (name, shape, kept, strides) in [
        ("sum of 1M", vec![1 << 20], 0, vec![1]),
        ("column sums 128x512", vec![512, 128], 1, vec![1, 512]),
        ("column sums 128x10", vec![10, 128], 1, vec![1, 10]),
        ("row sums 128x10", vec![128, 10], 1, vec![10, 1]),
        ("row sums 128x512", vec![128, 512], 1, vec![512, 1]),
        ("channel sums 128x16x32²", vec![16, 128, 1024], 1, vec![1024, 16 * 1024, 1]),
        ("channel sums 128x64x8²", vec![64, 128, 64], 1, vec![64, 64 * 64, 1]),
    ] {
        let mut bench = Bench::new(name);
        let n = shape.iter().product();
        let x = bench.floats(n);
        bench.reduce(&shape, kept, x, &strides, Reducer::Sum);
        bench.bytes = 4 * n;
        bench.run();
    }

    let mut bench = Bench::new("batch norm apply, relu 128x16x32²");
    let n = 128 * 16 * 1024;
    let (x, y, scale, shift) = (bench.floats(n), bench.floats(n), bench.floats(16), bench.floats(16));
    let instrs = vec![
        load(0, &[16 * 1024, 1024, 1]),
        load(1, &[0, 1, 0]),
        load(2, &[0, 1, 0]),
        Instr::Binary(Binary::Multiply, 0, 1),
        Instr::Binary(Binary::Add, 3, 2),
        Instr::Unary(Unary::Relu, 4),
    ];
    bench.pointwise(&[128, 16, 1024], &[x, scale, shift], instrs, &[(5, y)]);
    bench.bytes = 8 * n;
    bench.run();

    let pool = PoolGeometry {
        planes: 64 * 64,
        input: [24; 2],
        output: [12; 2],
        kernel: [2; 2],
        stride: [2; 2],
        padding: [0; 2],
    };
    for is_grad in [false, true] {
        let mut bench = Bench::new(if is_grad { "max pool grad 64x64x24²" } else { "max pool 64x64x24²" });
        let (x, y, dx) = (bench.floats(4096 * 576), bench.floats(4096 * 144), bench.floats(4096 * 576));
        bench.kernel(if is_grad {
            KernelKind::MaxPoolGrad { geometry: pool, x, grad: y, out: dx }
        } else {
            KernelKind::MaxPool { geometry: pool, x, out: y }
        });
        bench.bytes = 4096 * 4 * if is_grad { 576 * 2 + 144 } else { 576 + 144 };
        bench.run();
    }
}
