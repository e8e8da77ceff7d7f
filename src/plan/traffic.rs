//! How much a plan moves through memory, and what no plan of the same step could go below.

use std::collections::{BTreeSet, HashMap};

use super::{BufferRef, Place, Plan};

/// What a step costs beside its arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that the kernels read and write, each buffer counted once a kernel.
    pub bytes: u64,
    /// Bytes that any plan moves: states that are read or set, rows of data, the step's inputs, each once.
    pub least_bytes: u64,
    /// The longest chain of products that wait for each other: each needs a launch of its own.
    pub least_launches: usize,
}

/// Counts the traffic of a plan.
pub fn traffic(plan: &Plan) -> Traffic {
    let mut traffic = Traffic { bytes: 0, least_bytes: plan.step.words as u64 * 4, least_launches: 0 };
    let (mut read, mut set) = (BTreeSet::new(), BTreeSet::new());
    // How many products each buffer has behind it.
    let mut depth: HashMap<Place, usize> = HashMap::new();
    for kernel in &plan.kernels {
        let most = kernel.outputs().iter().map(|buffer| buffer.len).max().unwrap_or(0);
        let mut behind = 0;
        for buffer in kernel.inputs() {
            traffic.bytes += touched(plan, &buffer, most);
            behind = behind.max(depth.get(&buffer.place).copied().unwrap_or(0));
            match buffer.place {
                Place::State(id) if read.insert(id) && !set.contains(&id) => {
                    traffic.least_bytes += plan.bytes_of(&buffer) as u64
                }
                Place::Data(_) => traffic.least_bytes += touched(plan, &buffer, most),
                _ => {}
            }
        }
        let own = behind + usize::from(kernel.product_output().is_some());
        for buffer in kernel.outputs() {
            traffic.bytes += plan.bytes_of(&buffer) as u64;
            depth.insert(buffer.place, own);
            match buffer.place {
                Place::State(id) if set.insert(id) => traffic.least_bytes += plan.bytes_of(&buffer) as u64,
                _ => {}
            }
        }
        traffic.least_launches = traffic.least_launches.max(own);
    }
    traffic.least_launches = traffic.least_launches.max(usize::from(!plan.kernels.is_empty()));
    traffic
}

/// Bytes of an input; of a data set a kernel reads about as many elements as it computes.
fn touched(plan: &Plan, buffer: &BufferRef, most: usize) -> u64 {
    match buffer.place {
        Place::Data(_) => (buffer.len.min(most) * buffer.dtype.size()) as u64,
        Place::Arena(_) | Place::State(_) | Place::Step(_) => plan.bytes_of(buffer) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::graph::{Init, StateInfo, StateKind};
    use crate::ir::{Builder, DType};
    use crate::plan::{Fusion, plan};

    #[test]
    fn a_chain_of_two_products_and_one_beside_it() {
        let mut b = Builder::default();
        let state = |b: &mut Builder, name: &str, shape: &[usize]| {
            let (name, shape) = (name.to_owned(), shape.to_vec());
            let (kind, init) = (StateKind::Weight, Init::Fill(0.0));
            b.state(StateInfo { name, shape, dtype: DType::F32, kind, init, layer: None })
        };
        let [x, v, w] = ["x", "v", "w"].map(|name| state(&mut b, name, &[8, 8]));
        let first = b.matmul(x, v, false, false);
        let second = b.matmul(first, w, false, false);
        let beside = b.matmul(x, w, false, false);
        for (name, value) in [("second", second), ("beside", beside)] {
            let result = state(&mut b, name, &[8, 8]);
            let id = b.state_of(result).unwrap();
            b.update(id, value);
        }
        let plan = plan(&b.graph, &b.states, Fusion { epilogues: true, ..Fusion::default() });
        // Nine operands and results, of which the first product's is no state and is touched twice.
        let tensor = 8 * 8 * 4;
        assert_eq!(traffic(&plan), Traffic { bytes: 9 * tensor, least_bytes: 5 * tensor, least_launches: 2 });
    }
}
