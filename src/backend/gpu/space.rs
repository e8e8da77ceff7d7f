//! Iteration spaces with as few axes as possible, so that positions cost few divisions.

use crate::ir::Shape;
use crate::plan::{Access, Body, Instr, Store};

/// An iteration space and what runs over it.
pub(super) struct Space {
    /// Sizes.
    pub shape: Shape,
    /// How many axes are kept by a reduction.
    pub kept: usize,
    /// The program with accesses along the new axes.
    pub body: Body,
    /// The stores with accesses along the new axes.
    pub stores: Vec<Store>,
}

impl Space {
    /// Merges each axis into the one before it where every access walks over both as over one, and drops axes of size
    /// 1. Row-major positions, also those among the kept and among the reduced axes, stay the same.
    pub fn merged(shape: &[usize], kept: usize, body: &Body, stores: &[Store]) -> Space {
        let mut accesses: Vec<&Access> = stores.iter().map(|store| &store.access).collect();
        let mut pinned = vec![false; shape.len()];
        for instr in &body.instrs {
            match instr {
                Instr::Load(load) => accesses.push(&load.access),
                Instr::Position { axis, .. } => pinned[*axis] = true,
                Instr::Float(_)
                | Instr::Word(_)
                | Instr::Unary(..)
                | Instr::Binary(..)
                | Instr::Select(..)
                | Instr::ToWord(_)
                | Instr::ToFloat(_)
                | Instr::RoundToHalf(_)
                | Instr::Random { .. }
                | Instr::Fold { .. }
                | Instr::Product => {}
            }
        }
        // Runs of old axes that become one new axis.
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut new_kept = 0;
        for axis in 0..shape.len() {
            if shape[axis] == 1 && !pinned[axis] {
                continue;
            }
            let mergeable = |run: &Vec<usize>| {
                let last = run[run.len() - 1];
                let walk = |access: &&Access| access.strides[last] == access.strides[axis] * shape[axis];
                !pinned[axis] && !pinned[last] && (last < kept) == (axis < kept) && accesses.iter().all(walk)
            };
            match runs.last_mut().filter(|run| mergeable(run)) {
                Some(run) => run.push(axis),
                None => {
                    runs.push(vec![axis]);
                    new_kept += usize::from(axis < kept);
                }
            }
        }
        let moved = |access: &Access| Access {
            offset: access.offset,
            strides: runs.iter().map(|run| access.strides[run[run.len() - 1]]).collect(),
            indirect: access.indirect.clone(),
        };
        let new_axis =
            |axis: usize| runs.iter().position(|run| run.contains(&axis)).expect("a pinned axis is never dropped");
        let instrs = body.instrs.iter().map(|instr| match instr {
            Instr::Load(load) => Instr::Load(crate::plan::Load { input: load.input, access: moved(&load.access) }),
            Instr::Position { axis, offset } => Instr::Position { axis: new_axis(*axis), offset: *offset },
            other => other.clone(),
        });
        Space {
            shape: runs.iter().map(|run| run.iter().map(|axis| shape[*axis]).product()).collect(),
            kept: new_kept,
            body: Body { instrs: instrs.collect() },
            stores: stores
                .iter()
                .map(|store| Store { reg: store.reg, output: store.output, access: moved(&store.access) })
                .collect(),
        }
    }
}
