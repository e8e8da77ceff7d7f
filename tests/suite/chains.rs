//! Chains: kernels that run a few rows of the batch at a time give what the graph says.

use nnoptc::backend::{Setup, cpu};
use nnoptc::ir::graph::{Init, count};
use nnoptc::ir::random::Sequence;
use nnoptc::ir::{Builder, ConvGeometry, DType, StateId, StateInfo, StateKind, Unary, Value};
use nnoptc::passes::differentiate::differentiate;
use nnoptc::plan::Chain;
use nnoptc::{passes, plan};

use crate::harness::{Case, Executor, relative_error};
use crate::normalization::lower;

/// A step of a network: the result, the sum of its products with given numbers, the gradients of all weights, and new
/// weights. Gives the case and the names of the layers that it has.
fn network(layers: &[&str], shape: &[usize]) -> Case {
    let mut random = Sequence::new(31, 0, 0);
    let mut numbers = |count: usize| (0..count).map(|_| 2.0 * random.next_uniform() - 1.0).collect::<Vec<f64>>();
    let mut case = Case::default();
    // Sums over all positions, of which some cancel.
    case.scale = (count(shape) as f64).sqrt();
    let x = case.given("x", shape, numbers(count(shape)));
    let (y, weights) = lower(&mut case, layers, x);
    for &weight in &weights {
        let size = count(case.builder.shape(weight));
        case.set(weight, numbers(size));
    }
    let size = case.builder.shape(y).to_vec();
    let upstream = case.given("upstream", &size, numbers(count(&size)));
    let product = case.builder.mul(y, upstream);
    let loss = case.builder.sum_all(product);
    let grads = differentiate(&mut case.builder, loss, &weights);
    case.expect_as_interpreted("the result", y);
    case.expect_as_interpreted("the loss", loss);
    for (index, (&weight, &grad)) in weights.iter().zip(&grads).enumerate() {
        case.expect_as_interpreted(&format!("gradient {index}"), grad);
        let shape = case.builder.shape(weight).to_vec();
        let rate = case.builder.constant(0.1, &shape);
        let step = case.builder.mul(grad, rate);
        let next = case.builder.sub(weight, step);
        case.expect_as_interpreted(&format!("weight {index}"), next);
        let state = case.builder.state_of(weight).expect("a weight is a state");
        case.builder.update(state, next);
    }
    case
}

/// The chains of the CPU's plan, and how many kernels it has.
fn chains(case: &Case) -> (Vec<Chain>, usize) {
    let (mut graph, states) = (case.builder.graph.clone(), case.builder.states.clone());
    passes::optimize(&mut graph, &states, &mut |_, _| {});
    let plan = plan::plan(&graph, &states, cpu::FUSION);
    (plan.chains, plan.kernels.len())
}

const NETWORKS: [&[&str]; 7] = [
    &["conv2d(8, 3, padding = 1, bias = false)", "batch_norm", "relu", "conv2d(5, 3)", "batch_norm", "relu"],
    &["conv2d(6, 3)", "relu", "conv2d(7, 3)", "relu", "max_pool(2)", "flatten", "linear(9)", "relu", "linear(3)"],
    &["conv2d(6, 3)", "silu", "batch_norm", "conv2d(7, 3, padding = 1)", "tanh", "max_pool(2)", "conv2d(4, 3)"],
    &["conv2d(16, 3, stride = 2, padding = 1)", "gelu", "avg_pool(2)", "conv2d(4, 1)", "batch_norm(eps = 0.1)"],
    // Kernels that do not run by rows cut a chain.
    &["conv2d(6, 1)", "relu", "conv2d(6, 3, groups = 6, padding = 1)", "batch_norm", "relu", "conv2d(5, 1)", "silu"],
    &["conv2d(4, 3, padding = 1)", "layer_norm", "relu", "conv2d(4, 3, groups = 2)", "sigmoid", "global_avg_pool"],
    &["conv2d(4, 3)", "tanh", "max_pool(3, stride = 2, padding = 1)", "batch_norm", "conv2d(3, 2, dilation = 2)"],
];

/// Networks of products, and their inputs: one part of the batch or several, the last with fewer rows; rows that are no
/// whole vectors; gradients of weights that are cut into parts, or not.
const PRODUCTS: [(&[&str], [usize; 2]); 5] = [
    (&["linear(9)", "relu", "linear(7)", "tanh", "linear(3)"], [37, 5]),
    (&["linear(96)", "relu", "linear(80)", "silu", "linear(10)"], [250, 45]),
    (&["linear(128)", "layer_norm", "gelu", "linear(33)", "sigmoid", "linear(200, bias = false)"], [128, 64]),
    (&["linear(256)", "batch_norm", "relu", "linear(60)", "elu"], [140, 100]),
    // The first product reads too much to be read by every part.
    (&["linear(300)", "relu", "linear(50)", "gelu", "linear(40)", "relu"], [130, 600]),
];

#[test]
fn networks_in_chains_give_what_the_graph_says() {
    for layers in NETWORKS {
        // Fewer rows than parts; the last part with fewer rows than others; rows of several blocks.
        for shape in [[2, 3, 12, 10], [37, 2, 13, 11], [48, 3, 16, 16], [19, 1, 40, 48]] {
            let case = network(layers, &shape);
            let (chains, kernels) = chains(&case);
            let linked: usize = chains.iter().map(|chain| chain.kernels.len()).sum();
            assert!(3 * linked > kernels, "{linked} of {kernels} kernels are in chains: {layers:?} of {shape:?}");
            // Where f32 and f64 find a sum on different sides of 0, `relu` has another gradient.
            let tolerance = if layers.contains(&"relu") { 1e-3 } else { 2e-5 };
            expect_as_interpreted(&case, tolerance, &format!("{layers:?} of {shape:?}"));
        }
    }
}

fn expect_as_interpreted(case: &Case, tolerance: f64, what: &str) {
    let (wanted, found) = (case.run(&Executor::Interpreter), case.run(&Executor::Cpu));
    for ((name, ..), (found, wanted)) in case.expected.iter().zip(found.iter().zip(&wanted)) {
        let error = relative_error(found, wanted, case.scale);
        assert!(error < tolerance, "{name} is off by {error:e}: {what}");
    }
}

#[test]
fn products_in_chains_give_what_the_graph_says() {
    for (layers, shape) in PRODUCTS {
        let case = network(layers, &shape);
        let (chains, _) = chains(&case);
        let late = chains.iter().flat_map(|chain| &chain.late).flatten().count();
        assert!(late > 1, "gradients of weights come behind the rows of a chain: {layers:?}, {chains:?}");
        let tolerance = if layers.contains(&"relu") { 1e-3 } else { 2e-5 };
        expect_as_interpreted(&case, tolerance, &format!("{layers:?} of {shape:?}"));
    }
}

#[test]
fn chains_do_not_depend_on_the_number_of_threads() {
    let images = NETWORKS.iter().map(|layers| (*layers, vec![37, 3, 20, 18]));
    for (layers, shape) in images.chain(PRODUCTS.iter().map(|(layers, shape)| (*layers, shape.to_vec()))) {
        let case = network(layers, &shape);
        let (mut graph, states) = (case.builder.graph.clone(), case.builder.states.clone());
        passes::optimize(&mut graph, &states, &mut |_, _| {});
        let plans = [plan::plan(&graph, &states, cpu::FUSION)];
        let ids = || (0..states.infos().len() as u32).map(StateId);
        let run = |threads| {
            let setup = Setup { plans: &plans, states: &states, data: &[] };
            let mut session = cpu::open(&setup, Some(threads)).unwrap();
            let mut random = Sequence::new(32, 0, 0);
            for (id, info) in ids().zip(states.infos()) {
                let size = count(&info.shape);
                let words: Vec<u32> = (0..size).map(|_| (random.next_uniform() as f32).to_bits()).collect();
                session.write_state(id, &words).unwrap();
            }
            session.run(0, &[]).unwrap();
            session.wait().unwrap();
            ids().map(|id| session.read_state(id).unwrap()).collect::<Vec<_>>()
        };
        let first = run(1);
        assert!(first == run(2) && first == run(5), "{layers:?}");
    }
}

#[test]
fn chains_end_where_all_rows_are_needed() {
    let layers = [
        "conv2d(8, 3, padding = 1, bias = false)",
        "batch_norm",
        "relu",
        "conv2d(8, 3, bias = false)",
        "batch_norm",
        "relu",
    ];
    let case = network(&layers, &[32, 3, 16, 16]);
    let (mut graph, states) = (case.builder.graph.clone(), case.builder.states.clone());
    passes::optimize(&mut graph, &states, &mut |_, _| {});
    let plan = plan::plan(&graph, &states, cpu::FUSION);
    let listed: Vec<String> = (plan.chains.iter())
        .map(|chain| {
            let names = plan.kernels[chain.kernels.clone()].iter().map(|kernel| kernel.family());
            names.collect::<Vec<_>>().join(" ")
        })
        .collect();
    // Statistics of a normalization, and of its gradient, are of all images.
    assert_eq!(listed[0], "conv2d reduce");
    assert_eq!(listed[1], "pointwise conv2d reduce");
    let backward = "pointwise conv2d_input_grad conv2d_weight_grad reduce";
    assert!(listed.iter().any(|chain| chain == backward), "{listed:#?}");
}

#[test]
fn no_chain_goes_through_an_exchange() {
    let check = |build: &dyn Fn(&mut Builder, Value) -> Value, shape: &[usize], axes: &[usize]| {
        let mut b = Builder::default();
        let x = b.input("x", shape, DType::F32);
        let first = build(&mut b, x);
        let normal = b.standardize_together(first, axes, 1e-5, "first").result;
        let bent = b.unary(Unary::Relu, normal);
        let second = build(&mut b, bent);
        let normal = b.standardize_together(second, axes, 1e-5, "second").result;
        let sum = b.sum_all(normal);
        let state = b.state(StateInfo {
            name: "sum".to_owned(),
            shape: vec![],
            dtype: DType::F32,
            kind: StateKind::Metric,
            init: Init::Fill(0.0),
            layer: None,
        });
        b.update(b.state_of(state).unwrap(), sum);
        passes::optimize(&mut b.graph, &b.states, &mut |_, _| {});
        let plan = plan::plan(&b.graph, &b.states, cpu::FUSION);
        let exchanged = plan.exchanges.iter().map(|(_, id)| b.states.info(*id).name.as_str());
        assert_eq!(exchanged.collect::<Vec<_>>(), ["first.sum", "first.squares", "second.sum", "second.squares"]);
        assert!(plan.exchanges.is_sorted_by(|(a, _), (b, _)| a < b));
        let within = |index: &usize| plan.chains.iter().any(|chain| chain.kernels.contains(index));
        assert!(!plan.exchanges.iter().any(|(index, _)| within(index)), "{:?}", plan.chains);
        assert!(!plan.chains.is_empty(), "there are chains between them");
    };
    let filters = ConvGeometry {
        batch: 8,
        channels: 4,
        input: [6, 6],
        filters: 4,
        kernel: [3, 3],
        output: [6, 6],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 1,
    };
    check(
        &|b, x| {
            let weight = b.input("filters", &filters.weight_shape(), DType::F32);
            b.conv2d(x, weight, filters)
        },
        &filters.input_shape(),
        &[0, 2, 3],
    );
    check(
        &|b, x| {
            let weight = b.input("weight", &[12, 12], DType::F32);
            b.matmul(x, weight, false, false)
        },
        &[40, 12],
        &[0],
    );
}
