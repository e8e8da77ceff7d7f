//! What holds for all passes: the meaning of random graphs stays.

use proptest::prelude::*;

use super::*;
use crate::ir::graph::{Init, count};
use crate::ir::interpret::{Environment, Tensor, interpret, step};
use crate::ir::{Binary, Builder, DType, ReduceKind, StateInfo, StateKind, Unary};

/// A builder with one input and one state to update with a result, both `f32[2, 3]`.
pub(super) fn example() -> (Builder, Value) {
    let mut b = Builder::new(States::default());
    declare(&mut b, "result", &[2, 3], DType::F32);
    let x = b.input("x", &[2, 3], DType::F32);
    (b, x)
}

/// Names of the operations of a graph in order.
pub(super) fn names(graph: &Graph) -> String {
    graph.nodes.iter().map(|node| node.op.name()).collect::<Vec<_>>().join(" ")
}

fn declare(b: &mut Builder, name: &str, shape: &[usize], dtype: DType) -> crate::ir::StateId {
    b.states.declare(StateInfo {
        name: name.to_owned(),
        shape: shape.to_vec(),
        dtype,
        kind: StateKind::Buffer,
        init: Init::Fill(0.0),
        layer: None,
    })
}

/// Numbers from which a node is chosen.
type Choice = (u8, u16, u16, u8);

/// A graph of random operations. Numbers stay multiples of small powers of two, so that f64 computes exactly and a
/// comparison cannot turn on rounding.
fn random_graph(choices: &[Choice]) -> Builder {
    let mut b = Builder::new(States::default());
    let mut pool = vec![
        b.input("x", &[2, 3], DType::F32),
        b.input("y", &[2, 3], DType::F32),
        b.input("row", &[1, 3], DType::F32),
        b.input("words", &[2, 3], DType::U32),
        b.input("scalar", &[], DType::F32),
    ];
    for &choice in choices {
        if let Some(value) = random_node(&mut b, &pool, choice) {
            pool.push(value);
        }
    }
    for (index, &value) in pool.iter().enumerate().rev().step_by(2) {
        let (shape, dtype) = (b.shape(value).to_vec(), b.graph.dtype(value));
        let id = declare(&mut b, &format!("state{index}"), &shape, dtype);
        b.update(id, value);
    }
    b.name(*pool.last().unwrap(), "loss");
    b
}

fn random_node(b: &mut Builder, pool: &[Value], (kind, first, second, number): Choice) -> Option<Value> {
    // Often one of the last values, so that rules on chains of operations meet some.
    let (first, chained) = (usize::from(first / 2), first % 2 == 0);
    let x = if chained { pool[pool.len() - 1 - first % 2] } else { pool[first % pool.len()] };
    let (shape, dtype) = (b.shape(x).to_vec(), b.graph.dtype(x));
    let like = |b: &Builder, dtype| -> Vec<Value> {
        pool.iter().copied().filter(|&value| b.shape(value) == shape && b.graph.dtype(value) == dtype).collect()
    };
    let same = like(b, dtype);
    let y = same[usize::from(second) % same.len()];
    let number = usize::from(number);
    let axis = if shape.is_empty() { None } else { Some(usize::from(second) % shape.len()) };
    let float = dtype == DType::F32;
    let constant = |b: &mut Builder| {
        let number = [0.0, 1.0, -1.0, 2.0, 0.5][number % 5];
        if float { b.constant(number, &shape) } else { b.constant_u32(number.abs().ceil() as u32, &shape) }
    };
    Some(match kind % 17 {
        0 => constant(b),
        1 if float => {
            let functions = [Unary::Negate, Unary::Negate, Unary::Abs, Unary::Sign, Unary::Floor, Unary::Relu];
            b.unary(functions[number % functions.len()], x)
        }
        2 => b.binary([Binary::Add, Binary::Subtract, Binary::Max, Binary::Min][number % 4], x, y),
        3 => b.binary([Binary::Less, Binary::LessEqual, Binary::Equal][number % 3], x, y),
        4 => {
            let product = b.mul(x, y);
            if float { bounded(b, product) } else { product }
        }
        5 => {
            let constant = constant(b);
            let function = [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Max][usize::from(second) % 4];
            if number % 2 == 0 { b.binary(function, x, constant) } else { b.binary(function, constant, x) }
        }
        6 => {
            let conditions = like(b, DType::F32);
            let condition = *conditions.get(number % conditions.len().max(1))?;
            b.select(condition, x, y)
        }
        7 if float => b.cast(x, DType::U32),
        7 => {
            let float = b.cast(x, DType::F32);
            bounded(b, float)
        }
        8 => {
            let flat = [vec![count(&shape)], vec![1, count(&shape)], shape.iter().rev().copied().collect()];
            b.reshape(x, &flat[number % 3])
        }
        9 if shape.is_empty() => b.broadcast(x, &[2, 3]),
        9 => {
            let wide: Vec<usize> = shape.iter().map(|&size| if size == 1 { 1 + number % 3 } else { size }).collect();
            b.broadcast(x, &wide)
        }
        10 => {
            let mut permutation: Vec<usize> = (0..shape.len()).collect();
            permutation.rotate_left(number % shape.len().max(1));
            b.transpose(x, &permutation)
        }
        11 => {
            let start = number % shape[axis?];
            b.slice(x, axis?, start, 1 + first % (shape[axis?] - start))
        }
        12 if count(&shape) < 32 => b.pad(x, axis?, number % 2, shape[axis?] + 1 + first % 2),
        13 if count(&shape) < 32 => b.concat(&[x, y], axis?),
        14 => {
            let axes = if number % 2 == 0 { vec![axis?] } else { (0..shape.len()).collect() };
            let kind = if number % 4 < 2 { ReduceKind::Sum } else { ReduceKind::Max };
            b.reduce(kind, x, &axes)
        }
        15 if float => b.reduce(ReduceKind::ArgMax, x, &[axis?]),
        15 => {
            let words = [1, 2, 3].map(|word| b.constant_u32(word, &[]));
            b.random(number as u32 % 2, [words[0], words[1]], words[2], x)
        }
        16 if float => {
            let divisor = b.like(x, [1.0, 2.0][number % 2]);
            b.div(x, divisor)
        }
        16 => b.iota(axis?, &shape),
        _ => return None,
    })
}

/// Whole numbers between -8 and 8.
fn bounded(b: &mut Builder, x: Value) -> Value {
    let (low, high) = (b.like(x, -8.0), b.like(x, 8.0));
    let x = b.unary(Unary::Floor, x);
    let x = b.binary(Binary::Max, x, low);
    b.binary(Binary::Min, x, high)
}

fn environment() -> Environment {
    let x = vec![1.0, -2.0, 0.25, 3.0, 0.0, -0.5];
    let inputs = vec![
        Tensor::new(&[2, 3], x.clone()),
        Tensor::new(&[2, 3], vec![2.0, -2.0, 4.0, -1.0, 0.0, 1.5]),
        Tensor::new(&[1, 3], vec![-1.0, 0.5, 2.0]),
        Tensor::new(&[2, 3], vec![0.0, 1.0, 4_294_967_295.0, 7.0, 2_147_483_648.0, 3.0]),
        Tensor::scalar(-1.25),
    ];
    Environment { inputs, ..Environment::default() }
}

fn assert_near(before: &Tensor, after: &Tensor) {
    assert_eq!(before.shape, after.shape);
    for (a, b) in before.data.iter().zip(&after.data) {
        assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{a} became {b}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn passes_keep_the_meaning(choices in prop::collection::vec(any::<Choice>(), 1..24)) {
        let Builder { graph, states, .. } = random_graph(&choices);
        verify(&graph, &states).unwrap();
        let (before, environment) = (step(&graph, &environment()), environment());
        let loss = interpret(&graph, &environment)[graph.names[0].0.index()].clone();
        let mut optimized = graph.clone();
        let mut observed = vec![];
        optimize(&mut optimized, &states, &mut |name, graph| {
            observed.push(name);
            for ((id, before), (same, after)) in before.iter().zip(step(graph, &environment)) {
                assert_eq!(*id, same);
                assert_near(before, &after);
            }
        });
        prop_assert_eq!(observed, PASSES.iter().map(|pass| pass.name).collect::<Vec<_>>());
        assert_near(&loss, &interpret(&optimized, &environment)[optimized.names[0].0.index()]);
        prop_assert_eq!(&optimized.inputs, &graph.inputs);
        let once = optimized.clone();
        optimize(&mut optimized, &states, &mut |_, _| {});
        prop_assert_eq!(once, optimized, "a second round finds more to do");
    }
}
