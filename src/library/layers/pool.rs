//! What the pooling layers share.

use super::window::{Window, image, show_pair, show_size};
use crate::ir::{Builder, PoolGeometry, Value};
use crate::library::{ShapeError, Type};
use crate::schema::{Border, Pair, Stride};

/// The window of a pooling layer.
pub fn window(item: &'static str, kernel: Pair, stride: Stride, padding: Border) -> Window {
    let stride = match stride {
        Stride::Kernel => kernel.0,
        Stride::Each(each) => each,
    };
    Window { item, kernel: kernel.0, stride, padding: padding.0, dilation: [1, 1] }
}

/// The type after pooling.
///
/// # Errors
/// When the input is not an image, the window does not fit, or the padding is more than half the window.
pub fn infer(window: &Window, input: &Type) -> Result<Type, ShapeError> {
    let [channels, height, width] = image(window.item, input)?;
    let most = window.kernel.map(|size| size / 2);
    if window.padding[0] > most[0] || window.padding[1] > most[1] {
        let (item, kernel) = (window.item, show_size(window.kernel));
        let padding = show_pair(window.padding);
        return Err(ShapeError::new(format!("the padding of `{item}` is {padding}, its kernel is {kernel}"))
            .at("padding")
            .note("some windows would see nothing but padding")
            .help(format!("choose a padding of at most half the kernel: {}", show_border(most))));
    }
    let [height, width] = window.output([height, width])?;
    Ok(Type { shape: vec![channels, height, width], meaning: input.meaning })
}

fn show_border(size: [usize; 2]) -> String {
    crate::schema::FromArg::show(&Border(size))
}

/// Whether each window is one number, and each number has a window.
pub fn changes_nothing(window: &Window, input: &Type) -> bool {
    window.kernel == [1, 1] && infer(window, input).as_ref() == Ok(input)
}

/// The sizes of a pooling operation over `[N, C, H, W]`.
pub fn geometry(window: &Window, graph: &Builder, input: Value) -> PoolGeometry {
    let [batch, channels, height, width] = graph.shape(input)[..] else {
        unreachable!("a checked pooling layer has images")
    };
    let Ok(output) = window.output([height, width]) else { unreachable!("a checked window fits its images") };
    let (kernel, stride, padding) = (window.kernel, window.stride, window.padding);
    PoolGeometry { planes: batch * channels, input: [height, width], output, kernel, stride, padding }
}
