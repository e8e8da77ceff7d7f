//! Lints of losses, optimizers, schedules and training.

use super::*;

#[test]
fn probabilities_into_regression() {
    check_lint(
        "W0301",
        &with(REGRESSION, &[("linear(2)", "linear(2) -> softmax")]),
        &[
            "3:8..11 W0301 `mse` compares probabilities by their difference",
            "  3:8..11: gives nearly no gradient where the model is sure and wrong",
            "  2:43..50: the 2 outputs are shares that add up to 1",
            "  help: for classes read them as classes and use a loss that takes logits; for numbers remove `softmax`",
        ],
        &[with(REGRESSION, &[("linear(2)", "linear(2) -> sigmoid")])],
    );
}

#[test]
fn coupled_decay() {
    let optimizer = |text: &str| with(TABLE, &[("optimizer = adam", &format!("optimizer = {text}"))]);
    check_lint(
        "W0302",
        &optimizer("adam(weight_decay = 0.01)"),
        &[
            "4:33..37 W0302 `weight_decay` of `adam` passes through the adaptive step",
            "  4:33..37: weights with large gradients hardly decay",
            "  note: Loshchilov and Hutter (2019): decay beside the step, not in the gradient",
            "  note: `adamw` decays every weight alike, by `lr · weight_decay`",
            "  fix: write `adamw`",
        ],
        &[
            optimizer("adamw(weight_decay = 0.01)"),
            optimizer("sgd(weight_decay = 1e-4)"),
            optimizer("adam(weight_decay = 0)"),
            optimizer("adam\nregularization = l2(1e-4)"),
        ],
    );
    check_lint(
        "W0302",
        &optimizer("rmsprop(weight_decay = 0.01)"),
        &[
            "4:36..40 W0302 `weight_decay` of `rmsprop` passes through the adaptive step",
            "  4:36..40: weights with large gradients hardly decay",
            "  note: Loshchilov and Hutter (2019): decay beside the step, not in the gradient",
            "  help: write the penalty as `regularization = l2(…)` if it is meant",
        ],
        &[],
    );
}

#[test]
fn decay_twice() {
    let optimizer = |text: &str| with(TABLE, &[("optimizer = adam", &format!("regularization = {text}"))]);
    check_lint(
        "W0303",
        &optimizer("l2(1e-4)\noptimizer = adamw"),
        &[
            "4:18..26 W0303 the weights decay twice",
            "  4:18..26: adds 0.0002 · w to the gradient",
            "  5:13..18: `adamw` has a weight decay of 0.01 by default",
            "  help: keep one of the two: remove `regularization`, or write `weight_decay = 0`",
        ],
        &[
            optimizer("l1(1e-4)\noptimizer = adamw"),
            optimizer("l2(1e-4)\noptimizer = adamw(weight_decay = 0)"),
            optimizer("l2(1e-4)\noptimizer = adam"),
        ],
    );
    check_lint(
        "W0303",
        &optimizer("elastic(l1 = 0, l2 = 1e-4)\noptimizer = sgd(weight_decay = 5e-4)"),
        &[
            "4:18..44 W0303 the weights decay twice",
            "  4:18..44: adds 0.0002 · w to the gradient",
            "  5:32..36: `sgd` has a weight decay of 0.0005",
            "  help: keep one of the two: remove `regularization`, or write `weight_decay = 0`",
        ],
        &[],
    );
}

#[test]
fn decay_on_norms() {
    let norm = |optimizer: &str| {
        with(IMAGES, &[("3) -> relu", "3, bias = false) -> batch_norm -> relu"), ("= adam", &format!("= {optimizer}"))])
    };
    check_lint(
        "W0304",
        &norm("sgd(weight_decay = 1e-4)"),
        &[
            "4:32..36 W0304 offsets and normalization decay too",
            "  4:32..36: applies to every weight",
            "  2:48..58: its factors are drawn to 0, which shrinks what comes out",
            "  help: write `regularization = l2(5e-5)` instead: the same for matrices and filters, nothing for the rest",
        ],
        &[
            norm("sgd\nregularization = l2(5e-5)"),
            norm("adamw"),
            with(IMAGES, &[("= adam", "= sgd(weight_decay = 1e-4)")]),
        ],
    );
}

#[test]
fn odd_learning_rate() {
    let rate = |text: &str| with(TABLE, &[("adam", text)]);
    check_lint(
        "W0305",
        &rate("adam(lr = 1)"),
        &[
            "4:23..24 W0305 a learning rate of 1 is very high for `adam`",
            "  4:23..24: usual are 1e-5 to 0.01",
            "  note: with it the loss grows without bound, or stays where it is",
            "  help: choose one within them, or write `lr = auto` to have one measured",
        ],
        &[rate("adam(lr = 0.1)"), rate("sgd(lr = 1)"), rate("adamw(lr = 1e-6)")],
    );
    check_lint(
        "W0305",
        &rate("sgd(lr = 1e-6)"),
        &[
            "4:22..26 W0305 a learning rate of 1e-6 is very low for `sgd`",
            "  4:22..26: usual are 1e-4 to 0.5",
            "  note: with it the loss hardly changes",
            "  help: choose one within them, or write `lr = auto` to have one measured",
        ],
        &[],
    );
}

#[test]
fn no_warmup() {
    let large = |optimizer: &str, batch: &str| {
        with(
            IMAGES,
            &[
                ("\"train\"", "\"many\""),
                ("adam", optimizer),
                ("batch = 5", &format!("batch = {batch}")),
                ("epochs = 4", "epochs = 40"),
            ],
        )
    };
    check_lint(
        "W0306",
        &large("sgd(lr = 0.5)", "512"),
        &[
            "4:22..25 W0306 a learning rate of 0.5 from the first step on",
            "  4:22..25: large steps before the gradients point anywhere",
            "  5:30..33: batches of 512",
            "  help: write `schedule = cosine(warmup = 4 steps)`",
        ],
        &[
            large("sgd(lr = 0.4)", "512"),
            large("sgd(lr = 0.5)", "500"),
            large("sgd(lr = 0.5)\nschedule = constant(warmup = 4 steps)", "512"),
        ],
    );
    check_lint(
        "W0306",
        &large("adam(lr = 1e-2)\nschedule = cosine(min = 1e-5)", "512"),
        &[
            "4:23..27 W0306 a learning rate of 0.01 from the first step on",
            "  4:23..27: large steps before the gradients point anywhere",
            "  6:30..33: batches of 512",
            "  fix: write `warmup = 4 steps`",
        ],
        &[],
    );
}

#[test]
fn schedule_without_effect() {
    let schedule = |text: &str| with(TABLE, &[("adam", &format!("adam\nschedule = {text}"))]);
    check_lint(
        "W0401",
        &schedule("step(every = 4 epochs)"),
        &[
            "5:25..33 W0401 `step` never changes the learning rate",
            "  5:25..33: the rate is 0.001 at every step",
            "  6:18..19: 4 epochs in all",
            "  note: the training has 16 steps",
            "  help: choose a time within the training, or leave the schedule out",
        ],
        &[schedule("step(every = 2 epochs)"), schedule("constant")],
    );
    check_lint(
        "W0401",
        &schedule("step(every = 1 epoch, gamma = 1)"),
        &[
            "5:25..32 W0401 `step` never changes the learning rate",
            "  5:25..32: the rate is 0.001 at every step",
            "  6:18..19: 4 epochs in all",
            "  note: the training has 16 steps",
            "  help: choose a time within the training, or leave the schedule out",
        ],
        &[],
    );
}

#[test]
fn schedule_length() {
    let schedule = |text: &str| with(TABLE, &[("adam", &format!("adam\nschedule = {text}"))]);
    check_lint(
        "W0402",
        &schedule("cosine(over = 8 epochs)"),
        &[
            "5:26..34 W0402 `cosine` goes on for 32 steps, the training ends before",
            "  5:26..34: the last rate is 5.49e-4",
            "  6:18..19: the training has 16 steps",
            "  fix: write `auto`: the whole training",
        ],
        &[
            schedule("cosine(over = 4 epochs)"),
            schedule("cosine(over = 17 steps)"),
            schedule("cosine"),
            schedule("cosine(over = 2 epochs, min = 1e-5)"),
        ],
    );
    check_lint(
        "W0402",
        &schedule("cosine(over = 2 epochs)"),
        &[
            "5:26..34 W0402 `cosine` arrives at 0 after 8 steps, the training goes on",
            "  5:26..34: nothing is learned in the last 8 steps",
            "  6:18..19: the training has 16 steps",
            "  fix: write `auto`: the whole training",
        ],
        &[],
    );
    check_lint(
        "W0402",
        &schedule("constant(warmup = 4 epochs)"),
        &[
            "5:30..38 W0402 the warm-up of 16 steps outlasts the training",
            "  5:30..38: the rate never arrives at its full height",
            "  6:18..19: the training has 16 steps",
            "  help: a twentieth of the training is usual",
        ],
        &[schedule("constant(warmup = 3 epochs)")],
    );
}

#[test]
fn min_above_lr() {
    let schedule = |text: &str| with(TABLE, &[("adam", &format!("adam(lr = 1e-4)\nschedule = {text}"))]);
    check_lint(
        "W0403",
        &schedule("cosine(min = 1e-3)"),
        &[
            "5:25..29 W0403 `min` of `cosine` is 0.001, the learning rate is 1e-4",
            "  5:25..29: the rate does not fall",
            "  4:23..27: begins here",
            "  help: choose a minimum below the learning rate",
        ],
        &[schedule("cosine(min = 1e-5)")],
    );
}

#[test]
fn early_stop_on_training() {
    let rule = |data: &str, text: &str| {
        with(
            TABLE,
            &[
                ("; normalize", &format!("{data}; normalize")),
                ("batch = 5", &format!("batch = 5; early_stop = patience({text})")),
            ],
        )
    };
    let val = "; val = split(train, 5)";
    check_lint(
        "W0404",
        &rule("", "2 epochs"),
        &[
            "5:45..63 W0404 early stopping watches `train.accuracy`, which improves while the model overfits",
            "  5:45..63: never sees a sample that was not trained on",
            "  help: add `val = split(train, 10%)` to `data`",
        ],
        &[rule(val, "2 epochs"), rule(val, "2 epochs, on = val.loss")],
    );
    check_lint(
        "W0404",
        &rule(val, "2 epochs, on = train.loss"),
        &[
            "5:45..80 W0404 early stopping watches `train.loss`, which improves while the model overfits",
            "  5:45..80: never sees a sample that was not trained on",
            "  1:52..67: measured after each epoch",
            "  help: watch `val.loss`",
        ],
        &[],
    );
}

#[test]
fn patience_beyond_training() {
    let rule = |text: &str| {
        with(
            TABLE,
            &[
                ("; normalize", "; val = split(train, 5); normalize"),
                ("batch = 5", &format!("batch = 5; early_stop = patience({text})")),
            ],
        )
    };
    check_lint(
        "W0405",
        &rule("3 epochs"),
        &[
            "5:45..63 W0405 early stopping waits for 9 steps, the training has 12",
            "  5:45..63: never stops the training",
            "  5:18..19: 4 epochs",
            "  help: choose a shorter patience, or leave `early_stop` out",
        ],
        &[rule("2 epochs"), rule("6 steps")],
    );
}
