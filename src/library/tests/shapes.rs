//! Shapes after layers, and what is said where none fits.

use super::{error, infer, layer};
use crate::library::{Meaning, Type};

#[track_caller]
fn check_shape(text: &str, input: &[usize], output: &[usize]) {
    match infer(text, input) {
        Ok(shape) => assert_eq!(shape, output, "`{text}`"),
        Err(error) => panic!("`{text}` of {input:?}: {error:?}"),
    }
}

#[test]
fn convolutions() {
    check_shape("conv2d(8, 3)", &[1, 28, 28], &[8, 26, 26]);
    check_shape("conv2d(8, 3, padding = 1)", &[1, 28, 28], &[8, 28, 28]);
    check_shape("conv2d(8, 3, stride = 2, padding = 1)", &[2, 7, 8], &[8, 4, 4]);
    check_shape("conv2d(8, 4, padding = same, dilation = 3)", &[2, 7, 8], &[8, 7, 8]);
    check_shape("conv2d(8, [3, 5], padding = [1, 2])", &[2, 7, 8], &[8, 7, 8]);
    check_shape("conv2d(6, 3, dilation = 2, groups = 2, bias = false)", &[4, 9, 9], &[6, 5, 5]);
    check_shape("conv2d(2, kernel = 1, padding = 2)", &[3, 4, 4], &[2, 8, 8]);
    check_shape("conv2d(3, 3, regularization = l2(1e-4), init = xavier_normal)", &[3, 3, 3], &[3, 1, 1]);
}

#[test]
fn pools() {
    check_shape("max_pool(2)", &[3, 7, 8], &[3, 3, 4]);
    check_shape("max_pool(3, stride = 2, padding = 1)", &[3, 7, 8], &[3, 4, 4]);
    check_shape("avg_pool([2, 4])", &[3, 7, 8], &[3, 3, 2]);
    check_shape("avg_pool(2, stride = [1, 2])", &[3, 7, 8], &[3, 6, 4]);
    check_shape("global_avg_pool", &[3, 7, 8], &[3]);
}

#[test]
fn layers_that_keep_the_shape() {
    for text in ["relu", "leaky_relu", "elu", "gelu", "gelu(approximate = tanh)", "silu", "sigmoid", "tanh"] {
        check_shape(text, &[5], &[5]);
        check_shape(text, &[2, 3, 4], &[2, 3, 4]);
    }
    for text in ["batch_norm", "batch_norm(affine = false)", "layer_norm", "layer_norm(affine = false)", "dropout"] {
        check_shape(text, &[5], &[5]);
        check_shape(text, &[2, 3, 4], &[2, 3, 4]);
    }
    check_shape("softmax", &[5], &[5]);
}

#[test]
fn layers_that_change_the_shape() {
    check_shape("linear(7, bias = false)", &[5], &[7]);
    check_shape("flatten", &[2, 3, 4], &[24]);
    check_shape("flatten", &[5], &[5]);
    check_shape("reshape([4, 3, 2])", &[24], &[4, 3, 2]);
    check_shape("reshape([6])", &[2, 3], &[6]);
}

#[test]
fn meanings() {
    let meaning = |text: &str, before: Meaning| {
        let input = Type { shape: vec![4], meaning: before };
        layer(text).item.infer(&input).map(|output| output.meaning)
    };
    assert_eq!(meaning("softmax", Meaning::Features), Ok(Meaning::Distribution));
    assert_eq!(meaning("sigmoid", Meaning::Features), Ok(Meaning::Probabilities));
    assert_eq!(meaning("flatten", Meaning::Distribution), Ok(Meaning::Distribution));
    assert_eq!(meaning("reshape([2, 2])", Meaning::Distribution), Ok(Meaning::Features));
    assert_eq!(meaning("relu", Meaning::Distribution), Ok(Meaning::Features));
}

#[test]
fn kernels_that_do_not_fit() {
    assert_eq!(
        error("conv2d(8, 5)", &[1, 3, 3]),
        "kernel: the kernel of `conv2d` is 5×5, the image before it is 3×3 with padding 0 \
         | (3 + 2·0 − 5)/1 + 1 = −1 | choose a kernel of at most 3×3, or shrink the image less before it"
    );
    assert_eq!(
        error("conv2d(8, 3, dilation = 4, padding = 1)", &[1, 3, 9]),
        "kernel: the kernel of `conv2d` is 3×3 and reaches over 9×9, the image before it is 3×9 with padding 1 \
         | height: (3 + 2·1 − 4·(3 − 1) − 1)/1 + 1 = −3 \
         | choose a kernel and a dilation that reach over at most 5×11"
    );
    assert_eq!(
        error("max_pool(4, stride = 2)", &[1, 3, 3]),
        "kernel: the kernel of `max_pool` is 4×4, the image before it is 3×3 with padding 0 \
         | ⌊(3 + 2·0 − 4)/2⌋ + 1 = 0 | choose a kernel of at most 3×3, or shrink the image less before it"
    );
}

#[test]
fn convolutions_that_do_not_divide() {
    assert_eq!(
        error("conv2d(8, 3, groups = 2)", &[3, 9, 9]),
        "groups: 2 groups of `conv2d` do not divide the 3 channels | 3/2 leaves 1 | choose a divisor of 3"
    );
    assert_eq!(
        error("conv2d(8, 3, groups = 3)", &[3, 9, 9]),
        "filters: 3 groups of `conv2d` do not divide its 8 filters | 8/3 leaves 2 | choose a multiple of 3"
    );
    assert_eq!(
        error("conv2d(8, 3, stride = 2, padding = same)", &[3, 9, 9]),
        "padding: padding `same` of `conv2d` needs stride 1, found stride 2 | write `padding = 1`"
    );
}

#[test]
fn inputs_of_another_kind() {
    assert_eq!(
        error("conv2d(8, 3)", &[128]),
        "`conv2d` takes [batch, channels, height, width], found [batch, 128] \
         | put it before `flatten`, or `reshape([channels, height, width])` before it"
    );
    assert_eq!(
        error("softmax", &[1, 2, 3]),
        "`softmax` takes [batch, features], found [batch, 1, 2, 3] | put `flatten` before it"
    );
    assert_eq!(
        error("batch_norm", &[2, 3]),
        "`batch_norm` takes [batch, features] or [batch, channels, height, width], found [batch, 2, 3]"
    );
    assert_eq!(
        error("reshape([4, 3])", &[2, 5]),
        "shape: `reshape` to 12 elements, the value before it has 10 \
         | 4·3 = 12 and 2·5 = 10 | choose sizes whose product is 10"
    );
    assert_eq!(error("reshape([])", &[2]), "shape: the shape of `reshape` is empty | give at least one size");
    assert_eq!(
        error("max_pool(3, padding = 2)", &[1, 9, 9]),
        "padding: the padding of `max_pool` is 2, its kernel is 3×3 | some windows would see nothing but padding \
         | choose a padding of at most half the kernel: 1"
    );
}
