//! Training speed of meganeura on W1, W2 and W4 of bench/works.py: `--work W1 --mode vulkan [--share 1.0]`.
//!
//! Data is made up once; each step copies its batch into memory that the device reads, and the loss is read once an
//! epoch, after the last step. One epoch is left out as warm-up. meganeura has no dropout, and gives the gradient of a
//! maximum pool to all elements of a window alike: less work than the others do.

use std::collections::HashMap;
use std::time::Instant;

use meganeura::graph::NodeId;
use meganeura::{Graph, Session, SessionConfig};

/// Batch, steps of an epoch, and size of a sample, as in bench/works.py.
struct Work {
    batch: usize,
    steps: usize,
    epochs: usize,
    size: usize,
    classes: usize,
}

/// A graph under construction, with the sizes of its weights: name, count, and terms of each sum.
struct Network {
    graph: Graph,
    weights: Vec<(String, usize, usize)>,
}

impl Network {
    fn weight(&mut self, shape: &[usize], terms: usize) -> NodeId {
        let name = format!("w{}", self.weights.len());
        self.weights.push((name.clone(), shape.iter().product(), terms));
        self.graph.parameter(&name, shape)
    }

    fn linears(&mut self, mut x: NodeId, sizes: &[usize]) -> NodeId {
        for (idx, pair) in sizes.windows(2).enumerate() {
            let weight = self.weight(pair, pair[0]);
            let bias = self.weight(&pair[1..], pair[0]);
            let product = self.graph.matmul(x, weight);
            x = self.graph.bias_add(product, bias);
            if idx + 2 < sizes.len() {
                x = self.graph.relu(x);
            }
        }
        x
    }

    /// A convolution with 3 x 3 taps of square images, with bias and activation.
    fn convolution(&mut self, x: NodeId, batch: usize, channels: [usize; 2], size: usize) -> NodeId {
        let terms = channels[0] * 9;
        let [n_in, n_out, batch, side] = [channels[0], channels[1], batch, size].map(|size| size as u32);
        let weight = self.weight(&[channels[1] * terms], terms);
        let bias = self.weight(&[channels[1]], terms);
        let x = self.graph.conv2d(x, weight, batch, n_in, side, side, n_out, 3, 3, 1, 0);
        let x = self.graph.add_per_channel(x, bias, n_out, (side - 2) * (side - 2));
        self.graph.relu(x)
    }
}

fn make(name: &str) -> (Work, Network) {
    let work = match name {
        "W1" => Work { batch: 128, steps: 100, epochs: 3, size: 784, classes: 10 },
        "W2" => Work { batch: 64, steps: 40, epochs: 3, size: 784, classes: 10 },
        "W4" => Work { batch: 32, steps: 200, epochs: 3, size: 30, classes: 2 },
        other => {
            eprintln!("meganeura-peer: no work `{other}`; W1, W2, W4");
            std::process::exit(2);
        }
    };
    let batch = work.batch;
    let mut network = Network { graph: Graph::new(), weights: Vec::new() };
    let logits = if name == "W2" {
        let x = network.graph.input("x", &[batch * work.size]);
        let x = network.convolution(x, batch, [1, 32], 28);
        let x = network.convolution(x, batch, [32, 64], 26);
        let x = network.graph.max_pool_2d(x, batch as u32, 64, 24, 24, 2, 2, 2, 0);
        let x = network.graph.reshape(x, &[batch, 9216]);
        network.linears(x, &[9216, 128, 10])
    } else {
        let x = network.graph.input("x", &[batch, work.size]);
        network.linears(x, if name == "W1" { &[784, 512, 512, 10] } else { &[30, 64, 64, 2] })
    };
    let labels = network.graph.input("labels", &[batch, work.classes]);
    let loss = network.graph.cross_entropy_loss(logits, labels);
    network.graph.set_outputs(vec![loss]);
    (work, network)
}

/// Uniform numbers from -1 to 1, by a linear congruential generator.
fn numbers(seed: &mut u64, count: usize) -> Vec<f32> {
    let mut next = || {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: HashMap<&str, &str> = args.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let name = args.get("--work").copied().unwrap_or("W1");
    let share: f64 = args.get("--share").map_or(1.0, |share| share.parse().expect("`--share` is a number"));

    let (work, network) = make(name);
    let mut session: Session = meganeura::build(&network.graph, SessionConfig::from_env()).0;
    let mut seed = 1;
    for (name, count, terms) in &network.weights {
        let bound = 1.0 / (*terms as f32).sqrt();
        let values: Vec<f32> = numbers(&mut seed, *count).iter().map(|value| value * bound).collect();
        session.set_parameter(name, &values);
    }
    if name == "W2" {
        session.set_learning_rate(1e-2);
    } else {
        session.set_adam(1e-3, 0.9, 0.999, 1e-8);
    }
    let steps = ((work.steps as f64 * share) as usize).max(1);
    let batches: Vec<Vec<f32>> = (0..steps).map(|_| numbers(&mut seed, work.batch * work.size)).collect();
    let mut labels = vec![0.0f32; work.batch * work.classes];
    labels.chunks_exact_mut(work.classes).enumerate().for_each(|(row, one)| one[row % work.classes] = 1.0);

    let mut losses = Vec::new();
    let mut epoch = || {
        let begin = Instant::now();
        for x in &batches {
            session.set_input("x", x);
            session.set_input("labels", &labels);
            session.step();
        }
        session.wait();
        losses.push(session.read_loss());
        (steps * work.batch) as f64 / begin.elapsed().as_secs_f64()
    };
    let begin = Instant::now();
    epoch();
    let warmup = begin.elapsed().as_secs_f64();
    let mut rates: Vec<f64> = (0..work.epochs).map(|_| epoch()).collect();
    rates.sort_by(f64::total_cmp);
    let value = rates[rates.len() / 2];
    assert!(losses.iter().all(|loss| loss.is_finite()), "the loss is a number");
    let dispatches = session.plan().dispatches.len();
    println!(
        r#"{{"peer": "meganeura", "version": "0.3.0", "work": "{name}", "mode": "vulkan", "value": {value}, "dispatches": {dispatches}, "first_epoch_s": {warmup}, "first_loss": {}, "last_loss": {}}}"#,
        losses[0],
        losses.last().expect("there are epochs"),
    );
}
