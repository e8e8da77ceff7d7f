//! Lints of the model.

use super::*;

#[test]
fn bias_before_norm() {
    let norm = ("3) -> relu", "3) -> batch_norm -> relu");
    check_lint(
        "W0201",
        &with(IMAGES, &[norm]),
        &[
            "2:9..30 W0201 the bias of `conv2d` has no effect before `batch_norm`",
            "  2:9..30: learns an offset for each channel",
            "  2:34..44: subtracts the mean of each channel, and with it the offset",
            "  fix: write `bias = false`",
        ],
        &[
            with(IMAGES, &[("3) -> relu", "3, bias = false) -> batch_norm -> relu")]),
            with(IMAGES, &[("3) -> relu", "3) -> relu -> batch_norm")]),
            with(IMAGES, &[("3) -> relu", "3) -> layer_norm -> relu")]),
            with(
                IMAGES,
                &[(
                    "model { conv2d(4, kernel = 3) -> relu",
                    "model { x = conv2d(4, kernel = 3)\nbatch_norm -> add(x) -> relu",
                )],
            ),
        ],
    );
    // A block that is used with a bias and without one is right where it has none.
    let block = with(
        IMAGES,
        &[(
            "model { conv2d(4, kernel = 3) -> relu",
            "block b(bias) { conv2d(4, kernel = 3, bias = bias) -> batch_norm -> relu }\nmodel { b(true) -> b(false)",
        )],
    );
    assert_eq!(said(&block), [""; 0]);
    check_lint(
        "W0201",
        &with(&block, &[("b(false)", "b(true)")]),
        &[
            "2:17..51 W0201 the bias of `conv2d` has no effect before `batch_norm`",
            "  2:17..51: learns an offset for each channel",
            "  2:55..65: subtracts the mean of each channel, and with it the offset",
            "  help: write `bias = false`",
        ],
        &[],
    );
}

#[test]
fn dropout_before_norm() {
    let chain = |text: &str| with(IMAGES, &[("conv2d(4, kernel = 3) -> relu", text)]);
    check_lint(
        "W0202",
        &chain("conv2d(4, kernel = 3) -> dropout(0.2) -> relu -> batch_norm"),
        &[
            "2:34..46 W0202 `dropout` stands before `batch_norm`",
            "  2:34..46: raises the variance while training only",
            "  2:58..68: keeps that variance for evaluation, where it is lower",
            "  help: move `dropout` after the last `batch_norm`",
        ],
        &[
            chain("conv2d(4, kernel = 3, bias = false) -> batch_norm -> dropout(0.2) -> relu"),
            chain("conv2d(4, kernel = 3) -> dropout(0.2) -> layer_norm -> relu"),
        ],
    );
}

#[test]
fn deep_without_norm() {
    let deep = |text: &str| with(TABLE, &[("linear(8) -> relu", text)]);
    check_lint(
        "W0203",
        &deep("repeat 11 { linear(8) -> relu }"),
        &[
            "2:21..30 W0203 12 layers with weights, without normalization or residuals",
            "  2:21..30: the first of them",
            "  2:44..59: the last",
            "  note: gradients shrink or grow from layer to layer, so that the first layers hardly learn",
            "  help: normalize after each layer, or put pairs of layers into `residual { … }`",
        ],
        &[
            deep("repeat 10 { linear(8) -> relu }"),
            deep("linear(8); repeat 11 { residual { linear(8) -> relu } }"),
            deep("repeat 11 { linear(8) -> layer_norm -> relu }"),
        ],
    );
}

#[test]
fn single_sample_statistics() {
    let norm = ("3) -> relu", "3, bias = false) -> batch_norm -> relu");
    let one = ("\"train\"", "\"one\"");
    check_lint(
        "W0204",
        &with(IMAGES, &[norm, one]),
        &[
            "5:29..30 W0204 the last batch of an epoch has 1 sample, and `batch_norm` normalizes by it alone",
            "  5:29..30: 21 rows in batches of 5",
            "  2:48..58: keeps the statistics of that sample for evaluation",
            "  note: 21 mod 5 = 1",
            "  fix: write `drop_last = true`",
        ],
        &[
            with(IMAGES, &[norm]),
            with(IMAGES, &[one]),
            with(IMAGES, &[norm, one, ("batch = 5", "batch = 5; drop_last = true")]),
            with(IMAGES, &[norm, one, ("batch = 5", "batch = 1")]),
        ],
    );
}
