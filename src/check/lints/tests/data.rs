//! Lints of data and augmentation.

use super::*;

#[test]
fn no_normalization() {
    let large = ("small.csv", "large.csv");
    check_lint(
        "W0101",
        &with(TABLE, &[large, ("; normalize = auto", "")]),
        &[
            "1:16..44 W0101 the samples are not normalized",
            "  1:16..44: read from here",
            "  note: `price` has mean 310000 and standard deviation 5770",
            "  fix: write `normalize = auto`",
        ],
        &[
            with(TABLE, &[large]),
            with(TABLE, &[("; normalize = auto", "")]),
            with(TABLE, &[large, ("; normalize = auto", ""), ("linear(8)", "batch_norm -> linear(8)")]),
        ],
    );
    check_lint(
        "W0101",
        &with(IMAGES, &[("auto", "none")]),
        &[
            "1:16..28 W0101 the samples are not normalized: bytes go in as shares of 255, from 0 to 1",
            "  1:16..28: read from here",
            "  fix: write `normalize = auto`",
        ],
        &[],
    );
}

#[test]
fn saturated_inputs() {
    let (large, raw, tanh) = (("small.csv", "large.csv"), ("; normalize = auto", ""), ("relu", "tanh"));
    check_lint(
        "W0102",
        &with(TABLE, &[large, raw, tanh]),
        &[
            "2:22..26 W0102 `tanh` saturates: the samples are not normalized",
            "  2:22..26: gives nearly no gradient for large numbers",
            "  1:16..44: the samples are read here",
            "  note: `price` has mean 310000 and standard deviation 5770",
            "  fix: write `normalize = auto`",
        ],
        &[with(TABLE, &[large, tanh]), with(TABLE, &[raw, tanh])],
    );
}

#[test]
fn normalization_scale() {
    let given = |text: &str| with(IMAGES, &[("auto", text)]);
    check_lint(
        "W0103",
        &given("given(mean = 33.3, std = 78.6)"),
        &[
            "1:42..72 W0103 mean and deviation are on the scale 0 to 255",
            "  1:42..72: measured on bytes",
            "  1:16..28: bytes go in as shares of 255, from 0 to 1",
            "  fix: write `given(mean = 0.1306, std = 0.3082)`",
        ],
        &[given("given(mean = 0.1307, std = 0.3081)")],
    );
    let given = |text: &str| with(TABLE, &[("small.csv", "large.csv"), ("auto", text)]);
    check_lint(
        "W0103",
        &given("given(mean = [10, 310], std = [6, 6])"),
        &[
            "1:58..95 W0103 mean and deviation are on another scale than the data",
            "  1:58..95: mean 310, standard deviation 6",
            "  1:16..44: the samples are read here",
            "  note: `price` has mean 310000 and standard deviation 5770",
            "  fix: write `auto`",
        ],
        &[given("given(mean = [10, 310e3], std = [6, 6e3])")],
    );
}

#[test]
fn mirrored_text() {
    let flip = |path: &str, transform: &str| {
        with(IMAGES, &[("\"train\"", path), ("\nmodel", &format!("\naugment {{ {transform} }}\nmodel"))])
    };
    check_lint(
        "W0104",
        &flip("\"mnist/train\"", "horizontal_flip(0.5)"),
        &[
            "2:11..31 W0104 `horizontal_flip` mirrors digits or letters",
            "  2:11..31: a mirrored 2 is no 2",
            "  1:16..34: the images show writing",
            "  help: remove `horizontal_flip`; turns and moves of a few degrees and pixels keep the class",
            "  fix: remove `horizontal_flip`",
        ],
        &[
            flip("\"train\"", "horizontal_flip(0.5)"),
            flip("\"fashion-mnist/train\"", "horizontal_flip(0.5)"),
            flip("\"pathmnist\"", "horizontal_flip(0.5)"),
            flip("\"mnist/train\"", "random_rotation(10)"),
        ],
    );
    let letters = with(
        TABLE,
        &[
            ("small.csv\"", "letters.csv\", shape = [1, 2, 2]"),
            ("\nmodel { ", "\naugment { horizontal_flip }\nmodel { flatten -> "),
        ],
    );
    check_lint(
        "W0104",
        &letters,
        &[
            "2:11..26 W0104 `horizontal_flip` mirrors digits or letters",
            "  2:11..26: a mirrored 2 is no 2",
            "  1:16..65: the classes are letters",
            "  help: remove `horizontal_flip`; turns and moves of a few degrees and pixels keep the class",
            "  fix: remove `horizontal_flip`",
        ],
        &[],
    );
}

#[test]
fn class_imbalance() {
    let rare = ("small.csv", "rare.csv");
    check_lint(
        "W0105",
        &with(TABLE, &[rare]),
        &[
            "3:8..21 W0105 class `0` has 21 times as many samples as `1`",
            "  3:8..21: counts every sample alike",
            "  1:16..43: the samples are read here",
            "  note: `0` has 42 samples, `1` has 2 samples; accuracy is 95% for a model that always answers `0`",
            "  help: weigh the classes: `weights = [0.52, 11.00]`",
            "  fix: weigh each class by how rare it is",
        ],
        &[
            with(TABLE, &[("small.csv", "uneven.csv")]),
            with(TABLE, &[rare, ("cross_entropy", "cross_entropy(weights = [0.52, 11])")]),
        ],
    );
    let binary = with(TABLE, &[rare, ("cross_entropy", "binary_cross_entropy"), ("linear(classes)", "linear(1)")]);
    check_lint(
        "W0105",
        &binary,
        &[
            "3:8..28 W0105 class `0` has 21 times as many samples as `1`",
            "  3:8..28: counts every sample alike",
            "  1:16..43: the samples are read here",
            "  note: `0` has 42 samples, `1` has 2 samples; accuracy is 95% for a model that always answers `0`",
            "  help: weigh the classes: `pos_weight = 21.00`",
            "  fix: weigh each class by how rare it is",
        ],
        &[with(&binary, &[("binary_cross_entropy", "binary_cross_entropy(pos_weight = 21)")])],
    );
}
