"""The networks that nnoptc is measured on, as both sides need them.

  W1   784-512-512-10, relu, dropout 0.2, batch 128, Adam 1e-3
  W2   the convolutional net of pytorch/examples' MNIST: conv 32, conv 64, pool, linear 128; batch 64, SGD 1e-2
  W3a  ResNet-8 for 32x32x3 with batch norm, projection shortcuts, batch 128, SGD 1e-2 with momentum 0.9
  W3b  ResNet-20, as W3a
  W4   30-64-64-2, relu, batch 32, Adam 1e-3

All: cross entropy, f32, made-up data in memory. `steps` are those of an epoch.
"""

WORKS = {
    "W1": {"shape": (784,), "classes": 10, "batch": 128, "steps": 100, "epochs": 7},
    "W2": {"shape": (1, 28, 28), "classes": 10, "batch": 64, "steps": 40, "epochs": 4},
    "W3a": {"shape": (3, 32, 32), "classes": 10, "batch": 128, "steps": 10, "epochs": 4},
    "W3b": {"shape": (3, 32, 32), "classes": 10, "batch": 128, "steps": 5, "epochs": 4},
    "W4": {"shape": (30,), "classes": 2, "batch": 32, "steps": 200, "epochs": 40},
}

RESNET_UNITS = {"W3a": 1, "W3b": 3}
ADAM = "adam(lr = 1e-3)"
SGD = "sgd(lr = 1e-2)"
MOMENTUM = "sgd(lr = 1e-2, momentum = 0.9)"
OPTIMIZERS = {"W1": ADAM, "W2": SGD, "W3a": MOMENTUM, "W3b": MOMENTUM, "W4": ADAM}


def resnet_plan(units):
    """Channels, stride, and whether the shortcut projects, of each residual unit."""
    for channels in (16, 32, 64):
        for unit in range(units):
            first = channels != 16 and unit == 0
            yield channels, 2 if first else 1, first


def layers(name):
    """The model of a work in nnoptc's language."""
    if name == "W1":
        return "linear(512) -> relu -> dropout(0.2)\nlinear(512) -> relu -> dropout(0.2)\nlinear(classes)"
    if name == "W4":
        return "linear(64) -> relu\nlinear(64) -> relu\nlinear(classes)"
    if name == "W2":
        return (
            "conv2d(32, 3) -> relu -> conv2d(64, 3) -> relu -> max_pool(2) -> dropout(0.25)\n"
            "flatten -> linear(128) -> relu -> dropout(0.5) -> linear(classes)"
        )
    lines = ["conv2d(16, 3, padding = 1, bias = false) -> batch_norm -> relu"]
    for channels, stride, projects in resnet_plan(RESNET_UNITS[name]):
        convolution = f"conv2d({channels}, 3, padding = 1, bias = false"
        shortcut = f"conv2d({channels}, 1, stride = {stride}, bias = false) -> batch_norm"
        lines.append(
            f"residual {{\n{convolution}, stride = {stride}) -> batch_norm -> relu\n{convolution}) -> batch_norm\n}}"
            + (f" shortcut {{ {shortcut} }}" if projects else "")
            + " -> relu"
        )
    return "\n".join([*lines, "global_avg_pool -> flatten -> linear(classes)"])
