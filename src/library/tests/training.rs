//! Losses, optimizers, schedules, augmentations and metrics.

use super::{make, show};
use crate::ir::graph::States;
use crate::ir::{Builder, DType};
use crate::library::{
    Coordinates, ImageBuilder, Meaning, RunShape, StepContext, TargetType, Type, UpdateBuilder, augmentations,
    initializers, losses, metrics, optimizers, regularizers, schedules,
};

fn loss_error(text: &str, meaning: Meaning, width: usize, targets: TargetType) -> String {
    let output = Type { shape: vec![width], meaning };
    show(&make(losses::ALL, text).item.check(&output, targets).expect_err(text))
}

#[test]
fn losses_that_do_not_fit() {
    let (two, ten, three) = (TargetType::Classes(2), TargetType::Classes(10), TargetType::Values(3));
    assert_eq!(
        loss_error("binary_cross_entropy", Meaning::Probabilities, 1, two),
        "`binary_cross_entropy` takes logits, found probabilities | remove the `sigmoid`: the loss applies it"
    );
    assert_eq!(
        loss_error("binary_cross_entropy", Meaning::Features, 1, ten),
        "`binary_cross_entropy` is for two classes, the data has 10 | use `cross_entropy`"
    );
    assert_eq!(
        loss_error("binary_cross_entropy", Meaning::Features, 2, two),
        "`binary_cross_entropy` takes one output for two classes, the model ends in [batch, 2] \
         | end the model with `linear(1)`"
    );
    assert_eq!(
        loss_error("mse", Meaning::Features, 10, ten),
        "`mse` takes numbers as targets, found classes | use `cross_entropy`, or `task = regression` in the data"
    );
    assert_eq!(
        loss_error("mse", Meaning::Features, 1, three),
        "the model ends in [batch, 1], the data has [batch, 3] targets | end the model with `linear(3)`"
    );
}

#[test]
fn losses_and_metrics_take_what_they_check() {
    let cases = [
        ("cross_entropy(0.1, weights = [1, 2, 0.5, 1])", TargetType::Classes(4), 4),
        ("binary_cross_entropy(pos_weight = 2)", TargetType::Classes(2), 1),
        ("binary_cross_entropy", TargetType::Values(3), 3),
        ("mse", TargetType::Values(3), 3),
    ];
    let metrics_of = |targets| match targets {
        TargetType::Classes(_) => ["accuracy", "top_k(1)", "confusion"].as_slice(),
        TargetType::Values(_) => ["mae", "mse"].as_slice(),
    };
    for (text, targets, width) in cases {
        let mut graph = Builder::new(States::default());
        let output = graph.input("output", &[5, width], DType::F32);
        let target = match targets {
            TargetType::Classes(_) => graph.input("targets", &[5], DType::U32),
            TargetType::Values(n) => graph.input("targets", &[5, n], DType::F32),
        };
        let loss = make(losses::ALL, text).item;
        assert_eq!(loss.check(&Type::features([width]), targets), Ok(()));
        let value = loss.lower(&mut graph, output, target);
        assert!(graph.shape(value).is_empty());
        for metric in metrics_of(targets) {
            let metric = make(metrics::ALL, metric).item;
            assert_eq!(metric.check(&Type::features([width]), targets), Ok(()));
            let value = metric.lower(&mut graph, output, target);
            let matrix = [width.max(2), width.max(2)];
            assert_eq!(graph.shape(value), if metric.name() == "confusion" { &matrix[..] } else { &[] });
        }
    }
    let top = make(metrics::ALL, "top_k").item;
    let error = top.check(&Type::features([3]), TargetType::Classes(3)).expect_err("5 of 3");
    assert_eq!(show(&error), "k: `k` of `top_k` is 5, the data has 3 classes | choose a number below 3");
}

#[test]
fn optimizers_keep_the_shape_and_their_slots() {
    let cases = [
        ("sgd", 0),
        ("sgd(momentum = 0.9, nesterov = true, weight_decay = 0.1)", 1),
        ("adagrad", 1),
        ("rmsprop", 1),
        ("rmsprop(momentum = 0.9, centered = true)", 3),
        ("adam", 2),
        ("adamw(amsgrad = true)", 3),
    ];
    for (text, slots) in cases {
        let (mut graph, mut scalars) = (Builder::new(States::default()), Vec::new());
        let weight = graph.input("weight", &[2, 3], DType::F32);
        let grad = graph.input("grad", &[2, 3], DType::F32);
        let weight_name = "w".to_owned();
        let mut update =
            UpdateBuilder { graph: &mut graph, scalars: &mut scalars, weight_name, layer: None, slots: Vec::new() };
        let optimizer = make(optimizers::ALL, text).item;
        assert_eq!(optimizer.check(), Ok(()));
        let next = optimizer.lower(&mut update, weight, grad);
        assert_eq!(update.slots.len(), slots, "`{text}`");
        assert_eq!(graph.shape(next), [2, 3]);
        for scalar in &scalars {
            assert!((scalar.value)(&StepContext { step: 0, lr: 0.1 }).is_finite(), "`{}` of `{text}`", scalar.name);
        }
    }
    let check = |text| show(&make(optimizers::ALL, text).item.check().expect_err(text));
    assert_eq!(
        check("sgd(nesterov = true)"),
        "nesterov: `nesterov` of `sgd` needs momentum, found momentum 0 \
         | write `momentum = 0.9`, or leave `nesterov` out"
    );
    assert_eq!(
        check("sgd(nesterov = true, momentum = 0.9, dampening = 0.5)"),
        "dampening: `nesterov` of `sgd` needs dampening 0, found dampening 0.5 | leave one of the two out"
    );
}

#[test]
fn regularizers_are_scalars() {
    for text in ["l1(0.1)", "l2(0.1)", "elastic(0.1, 0.2)"] {
        let mut graph = Builder::new(States::default());
        let weight = graph.input("weight", &[2, 3], DType::F32);
        let penalty = make(regularizers::ALL, text).item.penalty(&mut graph, weight);
        assert!(graph.shape(penalty).is_empty());
    }
}

#[test]
fn initializers_follow_the_papers() {
    use crate::ir::graph::Init;
    let init = |text| make(initializers::ALL, text).item.init(8, 16);
    assert_eq!(init("kaiming_uniform"), Init::Uniform { bound: (6.0f64 / 8.0).sqrt() });
    assert_eq!(init("kaiming_normal(a = 1)"), Init::Normal { std: (2.0f64 / 16.0).sqrt() });
    assert_eq!(init("xavier_uniform"), Init::Uniform { bound: 0.5 });
    assert_eq!(init("xavier_normal(gain = 2)"), Init::Normal { std: 2.0 * (2.0f64 / 24.0).sqrt() });
    assert_eq!(init("zeros"), Init::Fill(0.0));
}

#[test]
fn schedules_follow_their_formulas() {
    let run = RunShape { steps_per_epoch: 10, total_steps: 100 };
    let rate = |text, step| make(schedules::ALL, text).item.learning_rate(1.0, step, &run);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} and {b}");
    close(rate("step(every = 2 epochs)", 19), 1.0);
    close(rate("step(every = 2 epochs)", 40), 0.01);
    close(rate("step(every = 3 steps, gamma = 0.5, warmup = 8 steps)", 6), 0.25 * 7.0 / 8.0);
    close(rate("cosine", 50), 0.5);
    close(rate("cosine(over = 4 epochs, min = 0.1)", 10), 0.1 + 0.9 * (1.0 + 0.5f64.sqrt()) / 2.0);
    close(rate("cosine(over = 4 epochs, min = 0.1)", 40), 0.1);
    close(rate("cosine(over = 4 epochs, min = 0.1)", 99), 0.1);
}

#[test]
fn augmentations_compose_over_sizes() {
    let transforms = ["random_rotation(10)", "horizontal_flip", "random_affine(5, [0.1, 0.2], 0.9..1.1, 3)"];
    let all: Vec<_> = transforms.into_iter().chain(["random_crop(6, padding = 1)"]).collect();
    let (mut sizes, mut image) = (vec![[8, 9]], Type::features([3, 8, 9]));
    let items: Vec<_> = all.iter().map(|text| make(augmentations::ALL, text).item).collect();
    for item in &items {
        image = item.infer(&image).expect("images fit");
        sizes.push([image.shape[1], image.shape[2]]);
    }
    assert_eq!(image.shape, [3, 6, 6]);
    let mut graph = Builder::new(States::default());
    let rows = graph.input("rows", &[5], DType::U32);
    let y = graph.input("y", &[5, 6, 6], DType::F32);
    let mut at = Coordinates { y, x: graph.input("x", &[5, 6, 6], DType::F32) };
    let mut images = ImageBuilder::new(&mut graph, rows);
    for (index, item) in items.iter().enumerate().rev() {
        at = item.lower(&mut images, sizes[index], sizes[index + 1], at);
    }
    assert!(!images.bilinear);
    assert_eq!(graph.shape(at.x), [5, 6, 6]);
}

#[test]
fn augmentations_that_do_not_fit() {
    let error = |text, shape: &[usize]| {
        show(&make(augmentations::ALL, text).item.infer(&Type::features(shape)).expect_err(text))
    };
    assert_eq!(
        error("random_crop(32, padding = 1)", &[3, 28, 40]),
        "size: the window of `random_crop` is 32×32, the image before it is 28×40 with padding 1 \
         | 28 + 2·1 = 30 < 32 | choose a window of at most 30×42, or add padding"
    );
    assert_eq!(
        error("horizontal_flip", &[10]),
        "`horizontal_flip` takes images [batch, channels, height, width], found [batch, 10]"
    );
    assert_eq!(
        error("random_affine(5, scale = 0..2)", &[1, 4, 4]),
        "scale: `scale` of `random_affine` is above 0, found `0..2` | write a range such as `0.9..1.1`"
    );
}
