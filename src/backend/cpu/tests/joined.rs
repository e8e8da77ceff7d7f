//! Short kernels that run as one.

use super::super::chain;
use super::*;
use crate::ir::{Binary, Unary};
use crate::plan::{Body, Reducer, Reduction, Store};

/// The loss of a classifier over `[rows, columns]`, its gradient, and how often it is right, kernel by kernel as plans have
/// them; gives the results.
fn classifier(case: &mut Case, [rows, columns]: [usize; 2]) -> Vec<BufferRef> {
    let mut random = Sequence::new(31, rows as u32, columns as u32);
    let scores = case.floats(&numbers(&mut random, rows * columns));
    let bias = case.floats(&numbers(&mut random, columns));
    let classes: Vec<u32> = (0..rows).map(|_| below(&mut random, columns) as u32).collect();
    let classes = case.words(&classes);
    let (largest, sums) = (case.result(rows, DType::F32), case.result(rows, DType::F32));
    let guesses = case.result(rows, DType::U32);
    let powers = case.result(rows * columns, DType::F32);
    let gradient = case.result(rows * columns, DType::F32);
    let (loss, right) = (case.result(1, DType::F32), case.result(1, DType::F32));
    let of_columns = case.result(columns, DType::F32);
    let per_element = access(&[columns, 1]);
    let row = |input: usize| load(input, &[1, 0]);
    let with_bias = || vec![load(0, &[columns, 1]), load(1, &[0, 1]), Instr::Binary(Binary::Add, 0, 1)];
    let reduction = |reg, kind, output| Reduction { reg, kind, output };
    let space = || vec![rows, columns];
    let reduce = |kept, inputs: &[BufferRef], instrs, reductions| KernelKind::Reduce {
        shape: space(),
        kept,
        inputs: inputs.to_vec(),
        body: Body { instrs },
        reductions,
    };
    let pointwise = |inputs: &[BufferRef], instrs, reg, output| KernelKind::Pointwise {
        shape: space(),
        inputs: inputs.to_vec(),
        body: Body { instrs },
        stores: vec![Store { reg, output, access: per_element.clone() }],
    };
    // The largest of each row, powers, their sums and where the largest is.
    case.kernel(reduce(1, &[scores, bias], with_bias(), vec![reduction(2, Reducer::Max, largest)]));
    let mut instrs = with_bias();
    instrs.extend([row(2), Instr::Binary(Binary::Subtract, 2, 3), Instr::Unary(Unary::Exp, 4)]);
    case.kernel(pointwise(&[scores, bias, largest], instrs, 5, powers));
    let mut instrs = with_bias();
    instrs.push(load(2, &[columns, 1]));
    let both = vec![reduction(3, Reducer::Sum, sums), reduction(2, Reducer::ArgMax, guesses)];
    case.kernel(reduce(1, &[scores, bias, powers], instrs, both));
    // Behind all rows: the loss, and how many are right.
    let is_class = |position: usize, class: usize| {
        [Instr::Position { axis: position, offset: 0 }, row(class), Instr::Binary(Binary::Equal, 0, 1)]
    };
    let mut instrs = is_class(1, 0).to_vec();
    instrs.extend([row(1), Instr::Unary(Unary::Log, 3), Instr::Binary(Binary::Multiply, 2, 4)]);
    case.kernel(reduce(0, &[classes, sums], instrs, vec![reduction(5, Reducer::Sum, loss)]));
    case.kernel(KernelKind::Reduce {
        shape: vec![rows],
        kept: 0,
        inputs: vec![guesses, classes],
        body: Body { instrs: vec![load(0, &[1]), load(1, &[1]), Instr::Binary(Binary::Equal, 0, 1)] },
        reductions: vec![reduction(2, Reducer::Sum, right)],
    });
    // The gradient, and its sums over the rows.
    let mut instrs = is_class(1, 0).to_vec();
    instrs.extend([load(1, &[columns, 1]), row(2), Instr::Binary(Binary::Divide, 3, 4)]);
    instrs.push(Instr::Binary(Binary::Subtract, 5, 2));
    case.kernel(pointwise(&[classes, powers, sums], instrs, 6, gradient));
    case.kernel(KernelKind::Reduce {
        shape: vec![columns, rows],
        kept: 1,
        inputs: vec![gradient],
        body: Body { instrs: vec![load(0, &[1, columns])] },
        reductions: vec![reduction(0, Reducer::Sum, of_columns)],
    });
    vec![largest, sums, guesses, powers, gradient, loss, right, of_columns]
}

#[test]
fn kernels_over_the_same_rows_are_one() {
    for [rows, columns] in [[2, 2], [32, 2], [8, 3], [7, 7], [5, 4], [33, 10], [16, 1], [30, 40]] {
        let mut case = Case::default();
        let results = classifier(&mut case, [rows, columns]);
        let late = vec![vec![3, 4, 6]];
        let chain = Chain { kernels: 0..7, rows, row_bytes: 4 * columns, late };
        for (isa, result) in isas().flat_map(|isa| results.iter().map(move |result| (isa, result))) {
            case.chains.clear();
            let alone = case.run_with(*result, isa);
            case.chains.push(chain.clone());
            let found = case.run_with(*result, isa);
            let is_float = result.dtype == DType::F32;
            for (at, (found, alone)) in found.iter().zip(&alone).enumerate() {
                let [value, wanted] = [*found, *alone].map(f32::from_bits);
                // Sums over the rows have another order.
                let is_near = is_float && (value - wanted).abs() <= 1e-5 * wanted.abs().max(1.0);
                assert!(
                    found == alone || is_near,
                    "{isa}, {rows} x {columns}, {result:?} at {at}: {value}, not {wanted}"
                );
            }
        }
        let plan = case.plan();
        let members: Vec<Vec<usize>> = chain::runs(&plan, &plan.chains[0]).into_iter().map(|run| run.0).collect();
        let expected: Vec<Vec<usize>> = match [rows, columns] {
            // Rows of one number are no rows to reduce.
            [_, 1] => Vec::new(),
            // Too long to be short.
            [30, 40] => Vec::new(),
            _ => vec![vec![0, 1, 2, 5, 3, 4, 6]],
        };
        assert_eq!(members, expected, "{rows} x {columns}");
    }
}
