//! The graph: nodes in an order in which operands come first, and the state they read and write.

use super::Shape;
use super::op::{DType, Op};

/// A node of a graph, as an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

/// A tensor that lives from step to step, as an index into [`States`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub u32);

/// A resident data set, as an index into [`Graph::data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DataId(pub u32);

/// A value given by the host for each step, as an index into [`Graph::inputs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InputId(pub u32);

impl Value {
    /// The index of the node.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl StateId {
    /// The index of the state.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a state is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateKind {
    /// Trained by the optimizer.
    Weight,
    /// Part of the model, not trained: running statistics.
    Buffer,
    /// Kept by the optimizer, the gradient accumulator or the step itself.
    Optimizer,
    /// A sum of a metric since the host last set it to zero.
    Metric,
    /// What devices exchange in the middle of a step; it holds nothing from step to step.
    Exchange,
}

/// How a state is filled before the first step.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// Every element is this number.
    Fill(f64),
    /// Uniform in `[-bound, bound)`.
    Uniform {
        /// Half the width.
        bound: f64,
    },
    /// Normal around 0.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// These elements.
    Given(std::sync::Arc<Vec<f32>>),
}

/// A tensor that lives from step to step.
#[derive(Clone, Debug, PartialEq)]
pub struct StateInfo {
    /// A dotted path, unique: `model.3.weight`.
    pub name: String,
    /// Its sizes.
    pub shape: Shape,
    /// `F32`, `F16` or `U32`.
    pub dtype: DType,
    /// What it is for.
    pub kind: StateKind,
    /// How it begins.
    pub init: Init,
    /// The stage of the model that it belongs to, as an index into the program's stages.
    pub layer: Option<u32>,
}

/// The states that the graphs of one program share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    infos: Vec<StateInfo>,
}

impl States {
    /// The state of this name, declared now if it is new.
    ///
    /// # Panics
    /// When the name is taken by a state of another shape, which is a mistake of ours.
    pub fn declare(&mut self, info: StateInfo) -> StateId {
        if let Some(found) = self.find(&info.name) {
            assert_eq!(self.infos[found.index()].shape, info.shape, "two shapes for the state `{}`", info.name);
            return found;
        }
        self.infos.push(info);
        StateId((self.infos.len() - 1) as u32)
    }

    /// Gives all states of a kind this type.
    pub fn store_as(&mut self, kind: StateKind, dtype: DType) {
        self.infos.iter_mut().filter(|info| info.kind == kind).for_each(|info| info.dtype = dtype);
    }

    /// The state with this name.
    pub fn find(&self, name: &str) -> Option<StateId> {
        self.infos.iter().position(|info| info.name == name).map(|index| StateId(index as u32))
    }

    /// What is known of a state.
    pub fn info(&self, id: StateId) -> &StateInfo {
        &self.infos[id.index()]
    }

    /// All states in the order of their ids.
    pub fn infos(&self) -> &[StateInfo] {
        &self.infos
    }
}

/// A resident data set: `shape[0]` rows.
#[derive(Clone, Debug, PartialEq)]
pub struct DataInfo {
    /// `train.images`
    pub name: String,
    /// Sizes, rows first.
    pub shape: Shape,
    /// The storage type.
    pub dtype: DType,
}

/// A value that the host gives for each step.
#[derive(Clone, Debug, PartialEq)]
pub struct InputInfo {
    /// `lr`, `step`, `batch` …; what the training loop fills it by.
    pub name: String,
    /// Its sizes.
    pub shape: Shape,
    /// `F32` or `U32`.
    pub dtype: DType,
}

/// An operation applied to operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From what; each smaller than the node's own index.
    pub operands: Vec<Value>,
    /// Sizes of the result.
    pub shape: Shape,
    /// Element type of the result.
    pub dtype: DType,
    /// The stage of the model that it came from, as an index into the program's stages.
    pub layer: Option<u32>,
}

/// A whole step: what is computed from the states, the data and the step's inputs, and which states it sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Nodes; operands come before their users.
    pub nodes: Vec<Node>,
    /// The data sets it reads.
    pub data: Vec<DataInfo>,
    /// What the host gives for each step.
    pub inputs: Vec<InputInfo>,
    /// The states it sets at the end of the step; at most one entry a state.
    pub updates: Vec<(StateId, Value)>,
    /// Names of values for messages: the loss, the gradient of a weight.
    pub names: Vec<(Value, String)>,
}

impl Graph {
    /// The node of a value.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.index()]
    }

    /// Sizes of a value.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.nodes[value.index()].shape
    }

    /// Element type of a value.
    pub fn dtype(&self, value: Value) -> DType {
        self.nodes[value.index()].dtype
    }

    /// All values in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = Value> + use<> {
        (0..self.nodes.len() as u32).map(Value)
    }

    /// Operations of a value that is a product or a convolution, two for each multiply-add; 0 for all others.
    pub fn flops(&self, value: Value) -> u64 {
        let node = self.node(value);
        let each = match &node.op {
            Op::MatMul { transpose_a, .. } => {
                let left = self.shape(node.operands[0]);
                if *transpose_a { left[0] } else { left[1] }
            }
            Op::Conv2d(g) => g.channels / g.groups * g.kernel[0] * g.kernel[1],
            _ => 0,
        };
        2 * (count(&node.shape) * each) as u64
    }

    /// How many nodes and updates use each value.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.nodes.len()];
        for node in &self.nodes {
            for operand in &node.operands {
                counts[operand.index()] += 1;
            }
        }
        for (_, value) in &self.updates {
            counts[value.index()] += 1;
        }
        counts
    }
}

/// The number of elements of a shape.
pub fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}
