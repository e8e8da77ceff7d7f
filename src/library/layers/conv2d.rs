//! Convolution of images.

use super::window::{Window, image, show_pair};
use crate::ir::graph::Init;
use crate::ir::{ConvGeometry, Value};
use crate::item;
use crate::library::initializers::InitializerArg;
use crate::library::regularizers::RegularizerArg;
use crate::library::{Layer, ModelBuilder, Regularizer, Role, ShapeError, Type};
use crate::schema::{Count, Padding, Pair};

item! {
    /// Slides learned filters over images: each output channel is the cross-correlation with one filter, plus an offset.
    ///
    /// The size becomes `⌊(size + 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1`. Filters are stored
    /// `[filters, channels/groups, height, width]`. Filters and offsets begin uniform in `±1/√fan_in` with
    /// `fan_in = channels/groups·height·width`, as in `torch.nn.Conv2d`.
    ///
    /// ```nnopt
    /// conv2d(32, kernel = 3, padding = same)
    /// ```
    "conv2d" aka "conv", "convolution", "convolution_2d" => pub struct Conv2d: Layer {
        /// Number of output channels.
        filters: Count,
        /// Size of each filter: a number for a square, or `[height, width]`.
        kernel: Pair,
        /// How far the filter moves.
        stride: Pair = Pair([1, 1]),
        /// Zeros around the image; `same` keeps the size and needs stride 1.
        padding: Padding = Padding::Each([0, 0]),
        /// Distance between the taps of a filter.
        dilation: Pair = Pair([1, 1]),
        /// Groups of channels that do not see each other; the number of channels gives a depthwise convolution.
        groups: Count = Count(1),
        /// Whether to add a learned offset to each channel.
        bias: bool = true,
        /// How the filters begin.
        init: InitializerArg = InitializerArg::default(),
        /// A penalty on the filters, in addition to the program's.
        regularization: Option<RegularizerArg> = None,
    }
}

impl Conv2d {
    /// Rows and columns added before and after the image in all.
    fn added(&self) -> [usize; 2] {
        match self.padding {
            Padding::Same => [0, 1].map(|axis| self.dilation.0[axis] * (self.kernel.0[axis] - 1)),
            Padding::Each(each) => each.map(|size| 2 * size),
        }
    }

    fn output(&self, size: [usize; 2]) -> Result<[usize; 2], ShapeError> {
        let Padding::Each(padding) = self.padding else { return Ok(size) };
        let (kernel, stride, dilation) = (self.kernel.0, self.stride.0, self.dilation.0);
        Window { item: "conv2d", kernel, stride, padding, dilation }.output(size)
    }
}

impl Layer for Conv2d {
    fn role(&self) -> Role {
        Role::Weights
    }

    fn infer(&self, input: &Type) -> Result<Type, ShapeError> {
        let [channels, height, width] = image("conv2d", input)?;
        let (filters, groups) = (self.filters.0, self.groups.0);
        if channels % groups != 0 {
            return Err(ShapeError::new(format!("{groups} groups of `conv2d` do not divide the {channels} channels"))
                .at("groups")
                .note(format!("{channels}/{groups} leaves {}", channels % groups))
                .help(format!("choose a divisor of {channels}")));
        }
        if filters % groups != 0 {
            return Err(ShapeError::new(format!("{groups} groups of `conv2d` do not divide its {filters} filters"))
                .at("filters")
                .note(format!("{filters}/{groups} leaves {}", filters % groups))
                .help(format!("choose a multiple of {groups}")));
        }
        if self.padding == Padding::Same && self.stride.0 != [1, 1] {
            let half = self.added().map(|size| size / 2);
            let stride = show_pair(self.stride.0);
            return Err(ShapeError::new(format!("padding `same` of `conv2d` needs stride 1, found stride {stride}"))
                .at("padding")
                .help(format!("write `padding = {}`", show_pair(half))));
        }
        let [height, width] = self.output([height, width])?;
        Ok(Type::features([filters, height, width]))
    }

    fn lower(&self, model: &mut ModelBuilder, input: Value) -> Value {
        let [batch, channels, height, width] = model.graph.shape(input)[..] else {
            unreachable!("a checked `conv2d` has images")
        };
        let Ok(output) = self.output([height, width]) else { unreachable!("a checked `conv2d` fits its images") };
        let (filters, groups, kernel) = (self.filters.0, self.groups.0, self.kernel.0);
        // Of an odd number PyTorch puts the larger part after the image.
        let padding = self.added().map(|size| size / 2);
        let (stride, dilation) = (self.stride.0, self.dilation.0);
        let input_size = [height, width];
        let geometry = ConvGeometry {
            batch,
            channels,
            input: input_size,
            filters,
            kernel,
            output,
            stride,
            padding,
            dilation,
            groups,
        };
        let fan_in = channels / groups * kernel[0] * kernel[1];
        let init = self.init.init(fan_in, filters * kernel[0] * kernel[1]);
        let weight = model.weight("weight", &geometry.weight_shape(), init);
        let product = model.graph.conv2d(input, weight, geometry);
        if !self.bias {
            return product;
        }
        let bias = model.weight("bias", &[filters], Init::Uniform { bound: 1.0 / (fan_in as f64).sqrt() });
        let bias = model.graph.broadcast_axis(bias, 1, &geometry.output_shape());
        model.graph.add(product, bias)
    }

    fn regularization(&self) -> Option<&dyn Regularizer> {
        self.regularization.as_deref()
    }
}
