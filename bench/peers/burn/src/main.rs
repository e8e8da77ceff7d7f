//! Training speed of Burn on W1, W2 and W4 of bench/works.py: `--work W1 --mode flex|ndarray|wgpu [--threads 2]
//! [--share 1.0]`.
//!
//! Data is random, made once and kept in memory; the loss is read once an epoch; one epoch of warm-up is left out, in which
//! wgpu tunes and compiles its kernels. `wgpu` takes the first adapter that the environment shows. Adam's epsilon is
//! PyTorch's.

use std::collections::HashMap;
use std::time::Instant;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Int, Tensor};

/// Batch, steps of an epoch, and shape of a sample, as in bench/works.py.
struct Work {
    batch: usize,
    steps: usize,
    epochs: usize,
    shape: [usize; 3],
    classes: usize,
}

/// Convolutions with a pool behind them, if there are any, then layers of which each but the last has relu and dropout.
#[derive(Module, Debug)]
struct Network {
    convolutions: Vec<Conv2d>,
    pool: MaxPool2d,
    pooled: Dropout,
    layers: Vec<Linear>,
    hidden: Dropout,
}

impl Network {
    fn forward(&self, input: Tensor<4>) -> Tensor<2> {
        let mut image = input;
        for convolution in &self.convolutions {
            image = relu(convolution.forward(image));
        }
        let mut x: Tensor<2> = if self.convolutions.is_empty() {
            image.flatten(1, 3)
        } else {
            self.pooled.forward(self.pool.forward(image)).flatten(1, 3)
        };
        let (last, hidden) = self.layers.split_last().expect("there are layers");
        for layer in hidden {
            x = self.hidden.forward(relu(layer.forward(x)));
        }
        last.forward(x)
    }
}

fn network(channels: &[usize], sizes: &[usize], rates: [f64; 2], device: &Device) -> Network {
    Network {
        convolutions: channels
            .windows(2)
            .map(|pair| Conv2dConfig::new([pair[0], pair[1]], [3, 3]).init(device))
            .collect(),
        pool: MaxPool2dConfig::new([2, 2]).init(),
        pooled: DropoutConfig::new(rates[0]).init(),
        layers: sizes.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect(),
        hidden: DropoutConfig::new(rates[1]).init(),
    }
}

fn make(name: &str, device: &Device) -> (Work, Network, ModuleOptimizer, f64) {
    let adam = || AdamConfig::new().with_epsilon(1e-8).init();
    match name {
        "W1" => {
            let work = Work { batch: 128, steps: 100, epochs: 3, shape: [784, 1, 1], classes: 10 };
            (work, network(&[], &[784, 512, 512, 10], [0.0, 0.2], device), adam(), 1e-3)
        }
        "W4" => {
            let work = Work { batch: 32, steps: 200, epochs: 20, shape: [30, 1, 1], classes: 2 };
            (work, network(&[], &[30, 64, 64, 2], [0.0, 0.0], device), adam(), 1e-3)
        }
        "W2" => {
            let work = Work { batch: 64, steps: 40, epochs: 3, shape: [1, 28, 28], classes: 10 };
            let network = network(&[1, 32, 64], &[9216, 128, 10], [0.25, 0.5], device);
            (work, network, SgdConfig::new().init(), 1e-2)
        }
        other => {
            eprintln!("burn-peer: no work `{other}`; W1, W2, W4");
            std::process::exit(2);
        }
    }
}

fn device(mode: &str) -> Device {
    match mode {
        "flex" => Device::flex(),
        #[allow(deprecated, reason = "measured as long as it is there")]
        "ndarray" => Device::ndarray(),
        "wgpu" => Device::wgpu(Default::default()),
        other => {
            eprintln!("burn-peer: no mode `{other}`; flex, ndarray, wgpu");
            std::process::exit(2);
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: HashMap<&str, &str> = args.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let name = args.get("--work").copied().unwrap_or("W1");
    let mode = args.get("--mode").copied().unwrap_or("flex");
    let threads = args.get("--threads").copied().unwrap_or("2");
    let share: f64 = args.get("--share").map_or(1.0, |share| share.parse().expect("`--share` is a number"));
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", threads) };

    let device = device(mode).autodiff();
    let (work, mut network, mut optimizer, rate) = make(name, &device);
    let steps = ((work.steps as f64 * share) as usize).max(1);
    let [channels, height, width] = work.shape;
    let labels: Vec<i32> = (0..work.batch).map(|row| (row % work.classes) as i32).collect();
    let y = Tensor::<1, Int>::from_ints(labels.as_slice(), &device);
    let loss: CrossEntropyLoss = CrossEntropyLossConfig::new().init(&device);
    let random = || Tensor::<4>::random([work.batch, channels, height, width], Distribution::Normal(0.0, 1.0), &device);
    let batches: Vec<Tensor<4>> = (0..steps).map(|_| random()).collect();

    let mut epoch = || {
        let begin = Instant::now();
        let mut last = None;
        for x in &batches {
            let value = loss.forward(network.forward(x.clone()), y.clone());
            let gradients = GradientsParams::from_grads(value.backward(), &network);
            network = optimizer.step(rate, network.clone(), gradients);
            last = Some(value);
        }
        let value: f32 = last.expect("there are steps").into_scalar();
        assert!(value.is_finite(), "the loss is a number");
        (steps * work.batch) as f64 / begin.elapsed().as_secs_f64()
    };
    epoch();
    let mut rates: Vec<f64> = (0..work.epochs).map(|_| epoch()).collect();
    rates.sort_by(f64::total_cmp);
    let value = rates[rates.len() / 2];
    println!(r#"{{"peer": "Burn", "version": "0.22.1", "work": "{name}", "mode": "{mode}", "value": {value}}}"#);
}
