"""The works that nnoptc is measured on, as both sides need them.

  W1   784-512-512-10, relu, dropout 0.2, batch 128, Adam 1e-3
  W2   the convolutional net of pytorch/examples' MNIST: conv 32, conv 64, pool, linear 128; batch 64, SGD 1e-2
  W3a  ResNet-8 for 32x32x3 with batch norm, projection shortcuts, batch 128, SGD 1e-2 with momentum 0.9
  W3b  ResNet-20, as W3a
  W4   30-64-64-2, relu, batch 32, Adam 1e-3
  W5   f32 products 1024x1024x1024 and 2048x2048x2048
  W6   the input path alone: u8 3x32x32, crop with padding 4, flip, rotation by up to 10 degrees, normalize
  W7   the input path from a folder of 500 JPEG photographs, resized to 224x224
  W8   ResNet-18 for 32x32x3 (He et al. 2015 with a first convolution of 3x3 and no pool), as W3a; on GPUs only

On GPUs, W5 is 1024 to 8192, in f32 and with factors of 16 bits (bench/graphics.py).

W1 to W4 and W8 are training steps: cross entropy, f32, made-up data in memory. `steps` are those of an epoch.
"""

WORKS = {
    "W1": {"shape": (784,), "classes": 10, "batch": 128, "steps": 100, "epochs": 7},
    "W2": {"shape": (1, 28, 28), "classes": 10, "batch": 64, "steps": 40, "epochs": 4},
    "W3a": {"shape": (3, 32, 32), "classes": 10, "batch": 128, "steps": 10, "epochs": 4},
    "W3b": {"shape": (3, 32, 32), "classes": 10, "batch": 128, "steps": 5, "epochs": 4},
    "W4": {"shape": (30,), "classes": 2, "batch": 32, "steps": 200, "epochs": 40},
    "W8": {"shape": (3, 32, 32), "classes": 10, "batch": 128, "steps": 20, "epochs": 6},
}
PRODUCTS = (1024, 2048)
IMAGES = {"rows": 10_240, "batch": 256, "epochs": 6}
PHOTOS = {"rows": 500, "batch": 50, "size": 224}

RESNET_UNITS = {"W3a": 1, "W3b": 3, "W8": 2}
NARROW = (16, 32, 64)
RESNET_WIDTHS = {"W3a": NARROW, "W3b": NARROW, "W8": (64, 128, 256, 512)}
ADAM = "adam(lr = 1e-3)"
SGD = "sgd(lr = 1e-2)"
MOMENTUM = "sgd(lr = 1e-2, momentum = 0.9)"
OPTIMIZERS = {"W1": ADAM, "W2": SGD, "W3a": MOMENTUM, "W3b": MOMENTUM, "W4": ADAM, "W8": MOMENTUM}


def resnet_plan(units, widths=NARROW):
    """Channels, stride, and whether the shortcut projects, of each residual unit."""
    for channels in widths:
        for unit in range(units):
            first = channels != widths[0] and unit == 0
            yield channels, 2 if first else 1, first


def resnet(units, widths=NARROW):
    """A ResNet of `2 * units * len(widths) + 2` layers in nnoptc's language."""
    lines = [f"conv2d({widths[0]}, 3, padding = 1, bias = false) -> batch_norm -> relu"]
    for channels, stride, projects in resnet_plan(units, widths):
        convolution = f"conv2d({channels}, 3, padding = 1, bias = false"
        shortcut = f"conv2d({channels}, 1, stride = {stride}, bias = false) -> batch_norm"
        lines.append(
            f"residual {{\n{convolution}, stride = {stride}) -> batch_norm -> relu\n{convolution}) -> batch_norm\n}}"
            + (f" shortcut {{ {shortcut} }}" if projects else "")
            + " -> relu"
        )
    return "\n".join([*lines, "global_avg_pool -> flatten -> linear(classes)"])


def layers(name):
    """The model of a training work in nnoptc's language."""
    if name == "W1":
        return "linear(512) -> relu -> dropout(0.2)\nlinear(512) -> relu -> dropout(0.2)\nlinear(classes)"
    if name == "W4":
        return "linear(64) -> relu\nlinear(64) -> relu\nlinear(classes)"
    if name == "W2":
        return (
            "conv2d(32, 3) -> relu -> conv2d(64, 3) -> relu -> max_pool(2) -> dropout(0.25)\n"
            "flatten -> linear(128) -> relu -> dropout(0.5) -> linear(classes)"
        )
    return resnet(RESNET_UNITS[name], RESNET_WIDTHS[name])


def products(name):
    """Multiplications with an addition that each product and convolution of the forward pass takes for a sample."""
    if name == "W1":
        return [784 * 512, 512 * 512, 512 * 10]
    if name == "W4":
        return [30 * 64, 64 * 64, 64 * 2]
    if name == "W2":
        return [26 * 26 * 32 * 9, 24 * 24 * 64 * 32 * 9, 9216 * 128, 128 * 10]
    return resnet_products(RESNET_UNITS[name], RESNET_WIDTHS[name])


def resnet_products(units, widths=NARROW):
    counts, size, n_in = [32 * 32 * widths[0] * 3 * 9], 32, widths[0]
    for channels, stride, projects in resnet_plan(units, widths):
        size //= stride
        counts += [size * size * channels * n_in * 9, size * size * channels * channels * 9]
        counts += [size * size * channels * n_in] if projects else []
        n_in = channels
    return [*counts, widths[-1] * 10]


def flops(name):
    """Floating-point operations that the products of a training step take for a sample.

    Forward, and twice that backward, but for the first layer, whose input needs no gradient.
    """
    counts = products(name)
    return 2 * (3 * sum(counts) - counts[0])
