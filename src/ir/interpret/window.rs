//! Operations on 2-D windows: convolutions and pools with their gradients.

use super::{Tensor, larger};
use crate::ir::{ConvGeometry, PoolGeometry, graph::count};

pub(super) fn conv2d(geometry: &ConvGeometry, x: &Tensor, weight: &Tensor) -> Tensor {
    let mut out = zeros(&geometry.output_shape());
    for_each_tap(geometry, |image, tap, pixel| out.data[pixel] += x.data[image] * weight.data[tap]);
    out
}

pub(super) fn conv2d_input_grad(geometry: &ConvGeometry, weight: &Tensor, grad: &Tensor) -> Tensor {
    let mut out = zeros(&geometry.input_shape());
    for_each_tap(geometry, |image, tap, pixel| out.data[image] += grad.data[pixel] * weight.data[tap]);
    out
}

pub(super) fn conv2d_weight_grad(geometry: &ConvGeometry, x: &Tensor, grad: &Tensor) -> Tensor {
    let mut out = zeros(&geometry.weight_shape());
    for_each_tap(geometry, |image, tap, pixel| out.data[tap] += x.data[image] * grad.data[pixel]);
    out
}

pub(super) fn max_pool(geometry: &PoolGeometry, x: &Tensor, shape: &[usize]) -> Tensor {
    let mut out = Tensor { shape: shape.to_vec(), data: vec![f64::NEG_INFINITY; count(shape)] };
    for_each_window(geometry, |window, pixel| {
        if let Some(largest) = first_largest(window, x) {
            out.data[pixel] = x.data[largest];
        }
    });
    out
}

pub(super) fn max_pool_grad(geometry: &PoolGeometry, x: &Tensor, grad: &Tensor, shape: &[usize]) -> Tensor {
    let mut out = zeros(shape);
    for_each_window(geometry, |window, pixel| {
        if let Some(largest) = first_largest(window, x) {
            out.data[largest] += grad.data[pixel];
        }
    });
    out
}

pub(super) fn avg_pool(geometry: &PoolGeometry, x: &Tensor, shape: &[usize]) -> Tensor {
    let area = (geometry.kernel[0] * geometry.kernel[1]) as f64;
    let mut out = zeros(shape);
    for_each_window(geometry, |window, pixel| {
        out.data[pixel] = window.iter().map(|&image| x.data[image]).sum::<f64>() / area;
    });
    out
}

pub(super) fn avg_pool_grad(geometry: &PoolGeometry, grad: &Tensor, shape: &[usize]) -> Tensor {
    let area = (geometry.kernel[0] * geometry.kernel[1]) as f64;
    let mut out = zeros(shape);
    for_each_window(geometry, |window, pixel| {
        for &image in window {
            out.data[image] += grad.data[pixel] / area;
        }
    });
    out
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor { shape: shape.to_vec(), data: vec![0.0; count(shape)] }
}

/// The first of the largest elements; NaN counts as the largest.
fn first_largest(window: &[usize], x: &Tensor) -> Option<usize> {
    window.iter().copied().reduce(|best, image| if larger(x.data[image], x.data[best]) { image } else { best })
}

/// The index along an axis that a tap of a window falls on, if it is not padding.
fn tapped(out: usize, stride: usize, tap: usize, dilation: usize, padding: usize, size: usize) -> Option<usize> {
    (out * stride + tap * dilation).checked_sub(padding).filter(|&index| index < size)
}

/// Visits every product of a convolution: the element of `x`, of `weight` and of the result that take part in it.
fn for_each_tap(geometry: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let g = geometry;
    let (group_channels, group_filters) = (g.channels / g.groups, g.filters / g.groups);
    let tapped =
        |axis: usize, out, tap| tapped(out, g.stride[axis], tap, g.dilation[axis], g.padding[axis], g.input[axis]);
    for n in 0..g.batch {
        for filter in 0..g.filters {
            for out_row in 0..g.output[0] {
                for out_column in 0..g.output[1] {
                    let pixel = ((n * g.filters + filter) * g.output[0] + out_row) * g.output[1] + out_column;
                    for group_channel in 0..group_channels {
                        let channel = filter / group_filters * group_channels + group_channel;
                        for tap_row in 0..g.kernel[0] {
                            let Some(row) = tapped(0, out_row, tap_row) else { continue };
                            for tap_column in 0..g.kernel[1] {
                                let Some(column) = tapped(1, out_column, tap_column) else { continue };
                                let image = ((n * g.channels + channel) * g.input[0] + row) * g.input[1] + column;
                                let plane = (filter * group_channels + group_channel) * g.kernel[0];
                                visit(image, (plane + tap_row) * g.kernel[1] + tap_column, pixel);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Visits every window of a pool: the elements of `x` in it, padding left out, and the element of the result.
fn for_each_window(geometry: &PoolGeometry, mut visit: impl FnMut(&[usize], usize)) {
    let g = geometry;
    let tapped = |axis: usize, out, tap| tapped(out, g.stride[axis], tap, 1, g.padding[axis], g.input[axis]);
    let mut window = Vec::with_capacity(g.kernel[0] * g.kernel[1]);
    for plane in 0..g.planes {
        for out_row in 0..g.output[0] {
            for out_column in 0..g.output[1] {
                window.clear();
                for row in (0..g.kernel[0]).filter_map(|tap| tapped(0, out_row, tap)) {
                    for column in (0..g.kernel[1]).filter_map(|tap| tapped(1, out_column, tap)) {
                        window.push((plane * g.input[0] + row) * g.input[1] + column);
                    }
                }
                visit(&window, (plane * g.output[0] + out_row) * g.output[1] + out_column);
            }
        }
    }
}
