//! One case for each rule.

use super::super::dead_code;
use super::super::tests::{example, names};
use super::*;
use crate::ir::{Binary, Builder, DType, ReduceKind, StateInfo, StateKind, Unary};

/// What is left of a value of an input `x: f32[2, 3]`.
#[track_caller]
fn check(build: impl FnOnce(&mut Builder, Value) -> Value, expected: &str) -> Graph {
    let (mut b, x) = example();
    let value = build(&mut b, x);
    let info = StateInfo {
        name: "value".into(),
        shape: b.shape(value).to_vec(),
        dtype: b.graph.dtype(value),
        kind: StateKind::Buffer,
        init: crate::ir::graph::Init::Fill(0.0),
        layer: None,
    };
    let id = b.states.declare(info);
    b.update(id, value);
    simplify(&mut b.graph);
    crate::ir::verify::verify(&b.graph, &b.states).unwrap();
    dead_code::remove(&mut b.graph);
    assert_eq!(names(&b.graph), expected);
    b.graph
}

#[track_caller]
fn check_constant(build: impl FnOnce(&mut Builder, Value) -> Value, expected: f64) {
    let graph = check(build, "constant");
    assert_eq!(graph.nodes[0].op, Op::Constant(expected));
}

#[test]
fn neutral_elements_go() {
    check(|b, x| b.offset(x, 0.0), "input");
    check(|b, x| b.scale(x, 1.0), "input");
    check(
        |b, x| {
            let one = b.like(x, 1.0);
            let x = b.mul(one, x);
            b.div(x, one)
        },
        "input",
    );
    check(|b, x| b.scale(x, 0.0), "input constant multiply");
    check_constant(
        |b, x| {
            let words = b.cast(x, DType::U32);
            let zero = b.constant_u32(0, &[2, 3]);
            b.mul(zero, words)
        },
        0.0,
    );
}

#[test]
fn signs_move_to_where_they_are_free() {
    let negate = |b: &mut Builder, x| b.unary(Unary::Negate, x);
    check(
        |b, x| {
            let minus = negate(b, x);
            negate(b, minus)
        },
        "input",
    );
    check(
        |b, x| {
            let zero = b.like(x, 0.0);
            b.sub(zero, x)
        },
        "input negate",
    );
    check(|b, x| b.scale(x, -1.0), "input negate");
    check(
        |b, x| {
            let (exp, minus) = (b.unary(Unary::Exp, x), negate(b, x));
            b.add(minus, exp)
        },
        "input exp subtract",
    );
    check(
        |b, x| {
            let minus = negate(b, x);
            b.sub(x, minus)
        },
        "input add",
    );
}

#[test]
fn factors_are_joined() {
    let graph = check(
        |b, x| {
            let x = b.scale(x, 0.5);
            let x = b.unary(Unary::Negate, x);
            b.scale(x, 8.0)
        },
        "input constant multiply",
    );
    assert_eq!(graph.nodes[1].op, Op::Constant(-4.0));
    let far = |b: &mut Builder, x| {
        let x = b.scale(x, 1e-30);
        b.scale(x, 1e-30)
    };
    check(far, "input constant multiply constant multiply");
}

#[test]
fn constants_are_computed() {
    check_constant(
        |b, x| {
            let four = b.like(x, 4.0);
            let two = b.unary(Unary::Sqrt, four);
            b.binary(Binary::Less, two, four)
        },
        1.0,
    );
    check_constant(
        |b, _| {
            let c = b.constant(3.0, &[]);
            let c = b.broadcast(c, &[2, 3]);
            let c = b.transpose(c, &[1, 0]);
            let c = b.concat(&[c, c], 0);
            let c = b.slice(c, 0, 1, 4);
            b.sum(c, &[0])
        },
        12.0,
    );
    check_constant(
        |b, _| {
            let c = b.constant_u32(u32::MAX, &[]);
            let d = b.constant_u32(2, &[]);
            b.add(c, d)
        },
        1.0,
    );
    check(
        |b, _| {
            let c = b.constant(1000.0, &[]);
            b.unary(Unary::Exp, c)
        },
        "constant exp",
    );
}

#[test]
fn known_conditions_select() {
    let select = |b: &mut Builder, x, number| {
        let exp = b.unary(Unary::Exp, x);
        let condition = b.like(x, number);
        b.select(condition, x, exp)
    };
    check(|b, x| select(b, x, 1.0), "input");
    check(|b, x| select(b, x, 0.0), "input exp");
}

#[test]
fn movements_are_joined() {
    check(
        |b, x| {
            let x = b.reshape(x, &[6]);
            b.reshape(x, &[2, 3])
        },
        "input",
    );
    check(
        |b, x| {
            let x = b.transpose(x, &[1, 0]);
            b.transpose(x, &[1, 0])
        },
        "input",
    );
    check(
        |b, x| {
            let x = b.reshape(x, &[2, 1, 3]);
            b.transpose(x, &[1, 0, 2])
        },
        "input reshape",
    );
    let graph = check(
        |b, x| {
            let x = b.slice(x, 1, 1, 2);
            b.slice(x, 1, 1, 1)
        },
        "input slice",
    );
    assert_eq!(graph.nodes[1].op, Op::Slice { axis: 1, start: 2 });
    check(|b, x| b.pad(x, 0, 0, 2), "input");
    check(|b, x| b.concat(&[x], 1), "input");
    check(|b, x| b.push(Op::Cast, &[x], vec![2, 3], DType::F32), "input");
}

#[test]
fn sums_of_repeats_are_products() {
    let wide = |b: &mut Builder, x| {
        let x = b.reshape(x, &[2, 1, 3]);
        b.broadcast(x, &[2, 5, 3])
    };
    let graph = check(
        |b, x| {
            let x = wide(b, x);
            b.sum(x, &[1])
        },
        "input reshape constant multiply",
    );
    assert_eq!(graph.nodes[2].op, Op::Constant(5.0));
    check(
        |b, x| {
            let x = wide(b, x);
            b.sum(x, &[1, 2])
        },
        "input reshape reduce_sum constant multiply",
    );
    check(
        |b, x| {
            let x = wide(b, x);
            b.reduce(ReduceKind::Max, x, &[1])
        },
        "input reshape",
    );
    check_constant(
        |b, x| {
            let column = b.slice(x, 1, 0, 1);
            b.reduce(ReduceKind::ArgMax, column, &[1])
        },
        0.0,
    );
}

#[test]
fn the_gradient_of_dropout_behind_relu_reads_their_result() {
    let gradient = |b: &mut Builder, x: Value, factor: f64| {
        let positive = b.unary(Unary::Relu, x);
        let limit = b.like(x, 0.25);
        let kept = b.binary(Binary::LessEqual, limit, x);
        let upstream = b.offset(x, 1.0);
        let scaled = b.scale(upstream, factor);
        let masked = b.mul(scaled, kept);
        let zero = b.like(x, 0.0);
        let is_positive = b.binary(Binary::Less, zero, positive);
        b.select(is_positive, masked, zero)
    };
    // The mask is multiplied by what `relu` made, and by the factor, as dropout itself does; no product is masked.
    let names = "input relu constant less_equal constant add constant multiply constant multiply constant multiply less \
                 select";
    check(|b, x| gradient(b, x, 1.25), names);
    // A factor below 1 may lose what is not 0, so it is left out of the test.
    let names = "input relu constant less_equal constant add constant multiply constant multiply less select";
    check(|b, x| gradient(b, x, 0.5), names);
}
