//! Convolutions as sums of products; the text of each problem is in `shaders/conv2d*.wgsl`.

use crate::ir::ConvGeometry;
use crate::plan::{BufferRef, Output};

use super::product::Product;

/// `out = conv(x, weight)`
pub(super) fn forward<'a>(geometry: &ConvGeometry, x: BufferRef, weight: BufferRef, out: &'a Output) -> Product<'a> {
    let sizes = Sizes::of(geometry);
    Product {
        name: "conv2d",
        parts: geometry.groups,
        rows: sizes.part_filters,
        columns: geometry.batch * sizes.out_area,
        terms: sizes.part_channels * sizes.taps,
        a_terms_adjacent: true,
        b_terms_adjacent: false,
        constants: sizes.constants(geometry),
        parameters: Vec::new(),
        reads: [("x", x), ("weight", weight)],
        out,
        is_matrix: false,
        text: include_str!("../../../shaders/conv2d.wgsl"),
    }
}

/// The gradient of the images.
pub(super) fn input_grad<'a>(
    geometry: &ConvGeometry,
    weight: BufferRef,
    grad: BufferRef,
    out: &'a Output,
) -> Product<'a> {
    let sizes = Sizes::of(geometry);
    Product {
        name: "conv2d_input_grad",
        parts: geometry.groups,
        rows: sizes.part_channels,
        columns: geometry.batch * sizes.in_area,
        terms: sizes.part_filters * sizes.taps,
        a_terms_adjacent: true,
        b_terms_adjacent: false,
        constants: sizes.constants(geometry),
        parameters: Vec::new(),
        reads: [("weight", weight), ("grad", grad)],
        out,
        is_matrix: false,
        text: include_str!("../../../shaders/conv2d_input_grad.wgsl"),
    }
}

/// The gradient of the filters.
pub(super) fn weight_grad<'a>(geometry: &ConvGeometry, x: BufferRef, grad: BufferRef, out: &'a Output) -> Product<'a> {
    let sizes = Sizes::of(geometry);
    Product {
        name: "conv2d_weight_grad",
        parts: geometry.groups,
        rows: sizes.part_filters,
        columns: sizes.part_channels * sizes.taps,
        terms: geometry.batch * sizes.out_area,
        a_terms_adjacent: true,
        b_terms_adjacent: true,
        constants: sizes.constants(geometry),
        parameters: Vec::new(),
        reads: [("x", x), ("grad", grad)],
        out,
        is_matrix: false,
        text: include_str!("../../../shaders/conv2d_weight_grad.wgsl"),
    }
}

struct Sizes {
    part_channels: usize,
    part_filters: usize,
    in_area: usize,
    out_area: usize,
    taps: usize,
}

impl Sizes {
    fn of(geometry: &ConvGeometry) -> Sizes {
        Sizes {
            part_channels: geometry.channels / geometry.groups,
            part_filters: geometry.filters / geometry.groups,
            in_area: geometry.input[0] * geometry.input[1],
            out_area: geometry.output[0] * geometry.output[1],
            taps: geometry.kernel[0] * geometry.kernel[1],
        }
    }

    fn constants(&self, geometry: &ConvGeometry) -> Vec<(&'static str, usize)> {
        vec![
            ("CHANNELS", geometry.channels),
            ("FILTERS", geometry.filters),
            ("PART_CHANNELS", self.part_channels),
            ("PART_FILTERS", self.part_filters),
            ("IN_HEIGHT", geometry.input[0]),
            ("IN_WIDTH", geometry.input[1]),
            ("IN_AREA", self.in_area),
            ("OUT_HEIGHT", geometry.output[0]),
            ("OUT_WIDTH", geometry.output[1]),
            ("OUT_AREA", self.out_area),
            ("KERNEL_WIDTH", geometry.kernel[1]),
            ("TAPS", self.taps),
            ("STRIDE_Y", geometry.stride[0]),
            ("STRIDE_X", geometry.stride[1]),
            ("PADDING_Y", geometry.padding[0]),
            ("PADDING_X", geometry.padding[1]),
            ("DILATION_Y", geometry.dilation[0]),
            ("DILATION_X", geometry.dilation[1]),
        ]
    }
}
