//! Normalization: gradients against difference quotients, and how many passes over memory they take.

use nnoptc::backend::{cpu, gpu};
use nnoptc::ir::graph::count;
use nnoptc::ir::random::Sequence;
use nnoptc::ir::{StateKind, Unary, Value};
use nnoptc::library::{self, ModelBuilder};
use nnoptc::passes::differentiate::differentiate;
use nnoptc::plan::{Fusion, KernelKind};
use nnoptc::schema::make_from_table;
use nnoptc::{passes, plan};

use crate::harness::{Case, Executor, call, relative_error};

/// Lowers layers after each other for a step that trains; gives the result and all weights.
pub fn lower(case: &mut Case, layers: &[&str], input: Value) -> (Value, Vec<Value>) {
    let mut model = ModelBuilder::new(std::mem::take(&mut case.builder), true);
    let mut value = input;
    for (index, text) in layers.iter().enumerate() {
        model.path = format!("layer.{index}");
        let mut diagnostics = Vec::new();
        let layer = make_from_table(&call(text), "layer", library::layers::ALL, &mut diagnostics);
        value = layer.unwrap_or_else(|| panic!("`{text}`: {diagnostics:?}")).item.lower(&mut model, value);
    }
    let weights = model.declared.drain(..).map(|(_, weight)| weight).collect();
    case.builder = model.graph;
    (value, weights)
}

fn numbers(random: &mut Sequence, count: usize) -> Vec<f64> {
    (0..count).map(|_| 2.0 * random.next_uniform() - 1.0).collect()
}

/// Compares the gradients of a scalar for given values with difference quotients, all in f64.
fn check_gradients(title: &str, mut case: Case, loss: Value, given: &[(Value, Vec<f64>)]) {
    let wanted: Vec<Value> = given.iter().map(|(value, _)| *value).collect();
    let grads = differentiate(&mut case.builder, loss, &wanted);
    case.expect_as_interpreted("the loss", loss);
    for (index, &grad) in grads.iter().enumerate() {
        case.expect_as_interpreted(&format!("gradient {index}"), grad);
    }
    let found = case.run(&Executor::Interpreter);
    let step = 1e-5;
    for (index, (value, data)) in given.iter().enumerate() {
        let mut loss_with = |position: usize, by: f64| {
            let mut moved = data.clone();
            moved[position] += by;
            case.set(*value, moved);
            case.run(&Executor::Interpreter)[0][0]
        };
        let quotient = |position| (loss_with(position, step) - loss_with(position, -step)) / (2.0 * step);
        let quotients: Vec<f64> = (0..data.len()).map(quotient).collect();
        case.set(*value, data.clone());
        assert!(quotients.iter().any(|quotient| quotient.abs() > 1e-3), "{title}: gradient {index} says nothing");
        let error = relative_error(&found[1 + index], &quotients, 0.0);
        assert!(
            error < 1e-7,
            "{title}: gradient {index} is off by {error:e}: {:?}, not {quotients:?}",
            found[1 + index]
        );
    }
}

#[test]
fn gradients_of_normalizations_are_difference_quotients() {
    let cases: &[(&str, &[usize])] = &[
        ("batch_norm", &[5, 3]),
        ("batch_norm", &[3, 2, 1, 5]),
        ("batch_norm(eps = 0.3)", &[7, 1, 3, 1]),
        ("batch_norm(affine = false)", &[2, 3, 3, 1]),
        ("layer_norm", &[3, 7]),
        ("layer_norm(eps = 0.3)", &[1, 3, 1, 5]),
        ("layer_norm(affine = false)", &[2, 3, 3, 1]),
    ];
    let mut random = Sequence::new(11, 0, 0);
    for (text, shape) in cases {
        let mut case = Case::default();
        let size = count(shape);
        let mut given = vec![(Value(0), numbers(&mut random, size))];
        given[0].0 = case.given("x", shape, given[0].1.clone());
        let upstream = numbers(&mut random, size);
        let upstream = case.given("upstream", shape, upstream);
        // In the middle of a graph: something before, something after.
        let before = case.builder.unary(Unary::Sin, given[0].0);
        let (y, weights) = lower(&mut case, &[text], before);
        for weight in weights {
            let data = numbers(&mut random, count(case.builder.shape(weight)));
            case.set(weight, data.clone());
            given.push((weight, data));
        }
        let after = case.builder.unary(Unary::Tanh, y);
        let product = case.builder.mul(after, upstream);
        let loss = case.builder.sum_all(product);
        check_gradients(&format!("`{text}` of {shape:?}"), case, loss, &given);
    }
}

#[test]
fn mean_and_variance_of_a_standardization_have_gradients_of_their_own() {
    let mut random = Sequence::new(12, 0, 0);
    let mut case = Case::default();
    let shape = [3, 5, 2];
    let data = numbers(&mut random, 30);
    let x = case.given("x", &shape, data.clone());
    let whole = case.builder.standardize(x, &[0, 2], 0.1);
    let mut loss = case.builder.constant(0.0, &[]);
    for (index, part) in [whole.result, whole.mean, whole.variance].into_iter().enumerate() {
        let shape = case.builder.shape(part).to_vec();
        let upstream = numbers(&mut random, count(&shape));
        let upstream = case.given(&format!("upstream {index}"), &shape, upstream);
        let product = case.builder.mul(part, upstream);
        let sum = case.builder.sum_all(product);
        loss = case.builder.add(loss, sum);
    }
    check_gradients("all results", case, loss, &[(x, data)]);
}

/// What the kernels do that read or write tensors of the size of the layers' result: the family, with the number of
/// sums of a reduction; and how often such a tensor is read.
fn passes_over_memory(layers: &[&str], shape: &[usize], fusion: Fusion) -> (Vec<String>, usize) {
    let mut case = Case::default();
    let x = case.given("x", shape, vec![0.0; count(shape)]);
    let (y, weights) = lower(&mut case, layers, x);
    let size = case.builder.shape(y).to_vec();
    let upstream = case.given("upstream", &size, vec![0.0; count(&size)]);
    let product = case.builder.mul(y, upstream);
    let loss = case.builder.sum_all(product);
    let grads = differentiate(&mut case.builder, loss, &weights);
    case.expect_as_interpreted("the result", y);
    for (index, grad) in grads.into_iter().enumerate() {
        case.expect_as_interpreted(&format!("gradient {index}"), grad);
    }
    let (mut graph, states) = (case.builder.graph, case.builder.states);
    assert!(states.infos().iter().any(|info| info.kind == StateKind::Weight));
    passes::optimize(&mut graph, &states, &mut |_, _| {});
    let mut list = Vec::new();
    let mut reads = 0;
    for kernel in plan::plan(&graph, &states, fusion).kernels {
        let large = |buffers: Vec<plan::BufferRef>| buffers.iter().filter(|buffer| buffer.len == count(&size)).count();
        let read = large(kernel.inputs());
        reads += read;
        if read + large(kernel.outputs()) > 0 {
            list.push(match &kernel.kind {
                KernelKind::Reduce { reductions, .. } => format!("reduce {}", reductions.len()),
                _ => kernel.family().to_owned(),
            });
        }
    }
    (list, reads)
}

#[test]
fn normalization_takes_few_passes_over_memory() {
    for fusion in [cpu::FUSION, gpu::FUSION] {
        let layers = ["conv2d(16, 3, padding = 1, bias = false)", "batch_norm", "relu"];
        let (list, reads) = passes_over_memory(&layers, &[6, 3, 13, 11], fusion);
        // Mean, variance, result; sums of the gradient and of its product with the result, gradient.
        let statistics = if fusion.deviations { "reduce 2" } else { "reduce 1, reduce 1" };
        let expected = format!("conv2d, {statistics}, pointwise, reduce 2, pointwise, conv2d_weight_grad");
        assert_eq!(list.join(", "), expected);
        // One for each step of the forward pass and for the filters; the backward passes read the gradient, what is
        // normalized, and the sign of the result.
        assert!(reads <= 3 + 1 + 2 * 3, "{reads} reads");

        let layers = ["linear(96, bias = false)", "layer_norm", "relu"];
        let (list, _) = passes_over_memory(&layers, &[150, 40], fusion);
        // As above; the gradients of weight and bias are sums over the other axis.
        let count = |family: &str| list.iter().filter(|name| name.starts_with(family)).count();
        let together = usize::from(fusion.deviations);
        assert_eq!([count("matmul"), count("reduce"), count("pointwise")], [2, 4 - together, 2], "{list:?}");
        assert_eq!(count("reduce 2"), 2 + together, "{list:?}");
    }
}
