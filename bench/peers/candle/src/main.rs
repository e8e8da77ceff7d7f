//! Training speed of candle on W1, W2 and W4 of bench/works.py: `--work W1 --mode cpu [--threads 2] [--share 1.0]`.
//!
//! Data is random, made once and kept in memory; the loss is read once an epoch; one epoch of warm-up is left out.
//! Candle's SGD has no momentum, so that W3 is not among its works.

use std::collections::HashMap;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{
    AdamW, Conv2d, Linear, Module, Optimizer, ParamsAdamW, SGD, VarBuilder, VarMap, conv2d, linear, loss, ops,
};

/// Batch, steps of an epoch, and shape of a sample, as in bench/works.py.
struct Work {
    batch: usize,
    steps: usize,
    epochs: usize,
    shape: Vec<usize>,
    classes: u32,
}

enum Network {
    Perceptron { layers: Vec<Linear>, rate: f32 },
    ConvNet { convolutions: [Conv2d; 2], linears: [Linear; 2] },
}

impl Network {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        match self {
            Network::Perceptron { layers, rate } => {
                let (last, hidden) = layers.split_last().expect("there are layers");
                for layer in hidden {
                    x = layer.forward(&x)?.relu()?;
                    if *rate > 0.0 {
                        x = ops::dropout(&x, *rate)?;
                    }
                }
                last.forward(&x)
            }
            Network::ConvNet { convolutions, linears } => {
                for convolution in convolutions {
                    x = convolution.forward(&x)?.relu()?;
                }
                x = ops::dropout(&x.max_pool2d(2)?, 0.25)?.flatten_from(1)?;
                x = ops::dropout(&linears[0].forward(&x)?.relu()?, 0.5)?;
                linears[1].forward(&x)
            }
        }
    }
}

enum Update {
    Adam(AdamW),
    Sgd(SGD),
}

fn perceptron(sizes: &[usize], rate: f32, weights: &VarBuilder) -> Result<Network> {
    let layers = sizes.windows(2).enumerate().map(|(idx, pair)| linear(pair[0], pair[1], weights.pp(idx)));
    Ok(Network::Perceptron { layers: layers.collect::<Result<_>>()?, rate })
}

fn make(name: &str, weights: &VarBuilder) -> Result<(Work, Network)> {
    Ok(match name {
        "W1" => {
            let work = Work { batch: 128, steps: 100, epochs: 3, shape: vec![784], classes: 10 };
            (work, perceptron(&[784, 512, 512, 10], 0.2, weights)?)
        }
        "W4" => {
            let work = Work { batch: 32, steps: 200, epochs: 20, shape: vec![30], classes: 2 };
            (work, perceptron(&[30, 64, 64, 2], 0.0, weights)?)
        }
        "W2" => {
            let work = Work { batch: 64, steps: 40, epochs: 3, shape: vec![1, 28, 28], classes: 10 };
            let convolutions = [
                conv2d(1, 32, 3, Default::default(), weights.pp("first"))?,
                conv2d(32, 64, 3, Default::default(), weights.pp("second"))?,
            ];
            let linears = [linear(9216, 128, weights.pp("third"))?, linear(128, 10, weights.pp("fourth"))?];
            (work, Network::ConvNet { convolutions, linears })
        }
        other => {
            eprintln!("candle-peer: no work `{other}`; W1, W2, W4");
            std::process::exit(2);
        }
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: HashMap<&str, &str> = args.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let name = args.get("--work").copied().unwrap_or("W1");
    let threads = args.get("--threads").copied().unwrap_or("2");
    let share: f64 = args.get("--share").map_or(1.0, |share| share.parse().expect("`--share` is a number"));
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", threads) };

    let device = Device::Cpu;
    let map = VarMap::new();
    let (work, network) = make(name, &VarBuilder::from_varmap(&map, DType::F32, &device))?;
    let mut update = if name == "W2" {
        Update::Sgd(SGD::new(map.all_vars(), 1e-2)?)
    } else {
        let params = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..ParamsAdamW::default() };
        Update::Adam(AdamW::new(map.all_vars(), params)?)
    };
    let steps = ((work.steps as f64 * share) as usize).max(1);
    let mut shape = vec![work.batch];
    shape.extend(&work.shape);
    let labels: Vec<u32> = (0..work.batch as u32).map(|row| row % work.classes).collect();
    let y = Tensor::from_vec(labels, work.batch, &device)?;
    let batches: Vec<Tensor> =
        (0..steps).map(|_| Tensor::randn(0f32, 1.0, shape.as_slice(), &device)).collect::<Result<_>>()?;

    let mut epoch = || -> Result<f64> {
        let begin = Instant::now();
        let mut last = None;
        for x in &batches {
            let loss = loss::cross_entropy(&network.forward(x)?, &y)?;
            match &mut update {
                Update::Adam(adam) => adam.backward_step(&loss)?,
                Update::Sgd(sgd) => sgd.backward_step(&loss)?,
            }
            last = Some(loss);
        }
        let loss = last.expect("there are steps").to_scalar::<f32>()?;
        assert!(loss.is_finite(), "the loss is a number");
        Ok((steps * work.batch) as f64 / begin.elapsed().as_secs_f64())
    };
    epoch()?;
    let mut rates = (0..work.epochs).map(|_| epoch()).collect::<Result<Vec<f64>>>()?;
    rates.sort_by(f64::total_cmp);
    let rate = rates[rates.len() / 2];
    println!(r#"{{"peer": "candle", "version": "0.11.1", "work": "{name}", "mode": "cpu", "value": {rate}}}"#);
    Ok(())
}
