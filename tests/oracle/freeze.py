#!/usr/bin/env python3
"""Freeze PyTorch's answers as golden files for the nnoptc test suite.

usage: freeze.py [OUTPUT_DIR]        default: ../golden next to this folder
Run it with the Python of the environment that setup.sh makes.

Inputs are multiples of 1/1024, so f32 and f64 read them as the same number.
Answers are f64 and written with as many digits as f64 needs.
Running it twice gives the same bytes. On another processor the last digit of a
sum may differ; the settings below make that rare.
"""
import os

os.environ["ATEN_CPU_CAPABILITY"] = "default"  # no vector width in the order of sums
os.environ["MKL_CBWR"] = "COMPATIBLE"

import json
import math
import pathlib
import random
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.backends.mkldnn.enabled = False


# Calls and tensors


def call_text(name, *args, **named):
    """The call as `.nnopt` text: call_text("linear", 5, bias=False) is `linear(5, bias = false)`."""
    def value(v):
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, (list, tuple)):
            return "[" + ", ".join(map(value, v)) + "]"
        return str(v).replace("e-0", "e-")
    parts = [value(a) for a in args] + [f"{k} = {value(v)}" for k, v in named.items()]
    return f"{name}({', '.join(parts)})" if parts else name


def random_tensor(seed, shape, low=-2.0, high=2.0):
    rng = random.Random(seed)
    count = math.prod(shape)
    data = [round(rng.uniform(low, high) * 1024) / 1024 for _ in range(count)]
    return torch.tensor(data, dtype=torch.float64).reshape(shape)


def frozen(tensor):
    return {"shape": list(tensor.shape), "data": tensor.detach().double().flatten().tolist()}


# Layers: each function takes (x, weights, train) and the arguments of the call


def linear(x, w, train, units, bias=True):
    return F.linear(x, w["weight"], w.get("bias"))


def conv2d(x, w, train, channels, kernel, stride=1, padding=0, dilation=1, groups=1, bias=True):
    return F.conv2d(x, w["weight"], w.get("bias"), stride, padding, dilation, groups)


def max_pool(x, w, train, kernel, stride=None, padding=0):
    return F.max_pool2d(x, kernel, stride, padding)


def avg_pool(x, w, train, kernel, stride=None, padding=0):
    return F.avg_pool2d(x, kernel, stride, padding)


def global_avg_pool(x, w, train):
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def batch_norm(x, w, train, eps=1e-5, momentum=0.1, affine=True):
    return F.batch_norm(x, w["running_mean"], w["running_var"], w.get("weight"), w.get("bias"),
                        train, momentum, eps)


def layer_norm(x, w, train, eps=1e-5, affine=True):
    return F.layer_norm(x, x.shape[1:], w.get("weight"), w.get("bias"), eps)


def flatten(x, w, train):
    return x.flatten(1)


def leaky_relu(x, w, train, slope=0.01):
    return F.leaky_relu(x, slope)


def elu(x, w, train, alpha=1.0):
    return F.elu(x, alpha)


def gelu(x, w, train, approximate="none"):
    return F.gelu(x, approximate=approximate)


def relu(x, w, train):
    return F.relu(x)


def silu(x, w, train):
    return F.silu(x)


def sigmoid(x, w, train):
    return torch.sigmoid(x)


def tanh(x, w, train):
    return torch.tanh(x)


def softmax(x, w, train):
    return F.softmax(x, dim=1)


def weight_shapes(layer, shape, args, named):
    if layer is linear:
        shapes = {"weight": [args[0], shape[1]], "bias": [args[0]]}
    elif layer is conv2d:
        kernel = named["kernel"]
        shapes = {"weight": [args[0], shape[1] // named.get("groups", 1), kernel, kernel],
                  "bias": [args[0]]}
    elif layer is batch_norm:
        shapes = {name: [shape[1]] for name in ("weight", "bias", "running_mean", "running_var")}
    elif layer is layer_norm:
        shapes = {"weight": list(shape[1:]), "bias": list(shape[1:])}
    else:
        return {}
    if not named.get("affine", True):
        del shapes["weight"], shapes["bias"]
    if not named.get("bias", True):
        del shapes["bias"]
    return shapes


class Layers:
    def __init__(self):
        self.cases = []

    def add(self, name, layer, shape, *args, train=True, data=None, **named):
        if data is None:
            x = random_tensor(f"{name}/input", shape)
        else:
            x = torch.tensor(data, dtype=torch.float64).reshape(shape)
        w = {}
        for key, wshape in weight_shapes(layer, shape, args, named).items():
            low = 0.25 if key == "running_var" else -1.0
            w[key] = random_tensor(f"{name}/{key}", wshape, low, 1.5)
        case = {"name": name, "call": call_text(layer.__name__, *args, **named), "train": train,
                "input": frozen(x), "weights": {k: frozen(t) for k, t in w.items()}}

        x.requires_grad_()
        learned = {k: t.requires_grad_() for k, t in w.items() if not k.startswith("running_")}
        y = layer(x, w, train, *args, **named)
        grad = random_tensor(f"{name}/grad", y.shape)
        grads = torch.autograd.grad(y, [x, *learned.values()], grad)

        case |= {"output": frozen(y), "grad_output": frozen(grad), "grad_input": frozen(grads[0]),
                 "grad_weights": {k: frozen(g) for k, g in zip(learned, grads[1:])},
                 "state_after": {k: frozen(t) for k, t in w.items() if k.startswith("running_")}}
        self.cases.append(case)


def layer_cases():
    case = Layers()
    add = case.add

    add("linear", linear, [5, 7], 5)
    add("linear_no_bias", linear, [7, 3], 5, bias=False)
    add("linear_one_unit", linear, [3, 11], 1)
    add("linear_batch_of_one", linear, [1, 6], 4)
    add("linear_wide", linear, [3, 33], 9)

    add("conv_1x1", conv2d, [3, 3, 4, 5], 6, kernel=1)
    add("conv_1x1_stride_2", conv2d, [3, 3, 5, 4], 4, kernel=1, stride=2)
    add("conv_3x3", conv2d, [3, 2, 6, 5], 4, kernel=3)
    add("conv_3x3_padded", conv2d, [3, 2, 5, 7], 4, kernel=3, padding=1)
    add("conv_3x3_no_bias", conv2d, [5, 2, 5, 5], 3, kernel=3, padding=1, bias=False)
    add("conv_3x3_stride_2", conv2d, [3, 2, 7, 6], 4, kernel=3, stride=2, padding=1)
    add("conv_3x3_stride_leaves_a_rest", conv2d, [3, 2, 6, 8], 3, kernel=3, stride=2)
    add("conv_3x3_dilated", conv2d, [3, 2, 7, 8], 3, kernel=3, dilation=2)
    add("conv_3x3_dilated_padded", conv2d, [3, 2, 5, 4], 3, kernel=3, padding=2, dilation=2)
    add("conv_3x3_groups", conv2d, [3, 4, 5, 5], 6, kernel=3, padding=1, groups=2)
    add("conv_3x3_depthwise", conv2d, [3, 5, 5, 6], 5, kernel=3, padding=1, groups=5)
    add("conv_3x3_depthwise_two_each", conv2d, [3, 3, 5, 5], 6, kernel=3, groups=3, bias=False)
    add("conv_everything", conv2d, [3, 4, 9, 8], 6, kernel=3, stride=2, padding=1, dilation=2,
        groups=2, bias=False)
    add("conv_5x5", conv2d, [3, 2, 7, 6], 3, kernel=5)
    add("conv_5x5_padded", conv2d, [3, 1, 6, 7], 4, kernel=5, padding=2)
    add("conv_stride_over_kernel", conv2d, [3, 2, 9, 8], 3, kernel=2, stride=3)
    add("conv_1x1_stride_over_kernel", conv2d, [3, 2, 7, 7], 3, kernel=1, stride=3, padding=1)
    add("conv_even_kernel", conv2d, [3, 2, 5, 6], 3, kernel=2, padding=1)
    add("conv_kernel_is_image", conv2d, [5, 3, 3, 3], 4, kernel=3)
    add("conv_padding_over_kernel", conv2d, [3, 1, 4, 3], 2, kernel=1, padding=2)

    add("max_pool", max_pool, [3, 2, 6, 4], 2)
    add("max_pool_drops_a_rest", max_pool, [3, 2, 7, 5], 2)
    add("max_pool_overlapping", max_pool, [3, 2, 7, 6], 3, stride=2, padding=1)
    add("max_pool_stride_1", max_pool, [3, 2, 5, 5], 3, stride=1)
    add("max_pool_stride_over_kernel", max_pool, [3, 2, 8, 7], 2, stride=3)
    ties = [(i * 5 + i // 7) % 3 - 1 for i in range(3 * 2 * 6 * 7)]
    add("max_pool_ties", max_pool, [3, 2, 6, 7], 3, stride=2, padding=1, data=ties)
    add("max_pool_all_negative", max_pool, [3, 1, 5, 5], 3, stride=2, padding=1,
        data=[-1 - (i * 7 % 75) / 64 for i in range(75)])
    add("avg_pool", avg_pool, [3, 2, 6, 4], 2)
    add("avg_pool_drops_a_rest", avg_pool, [3, 2, 7, 5], 2)
    add("avg_pool_overlapping", avg_pool, [3, 2, 7, 6], 3, stride=2, padding=1)
    add("avg_pool_stride_1", avg_pool, [3, 2, 5, 5], 3, stride=1)
    add("global_avg_pool", global_avg_pool, [3, 5, 4, 7])

    for train in (True, False):
        mode = "train" if train else "eval"
        add(f"batch_norm_2d_{mode}", batch_norm, [7, 5], train=train)
        add(f"batch_norm_4d_{mode}", batch_norm, [3, 4, 5, 3], train=train)
        add(f"batch_norm_2d_options_{mode}", batch_norm, [7, 5], train=train, eps=1e-3,
            momentum=0.3)
        add(f"batch_norm_4d_not_affine_{mode}", batch_norm, [5, 3, 3, 4], train=train,
            affine=False)
        add(f"batch_norm_2d_all_options_{mode}", batch_norm, [3, 6], train=train, eps=1e-3,
            momentum=0.3, affine=False)
    add("batch_norm_batch_of_two", batch_norm, [2, 5])
    add("batch_norm_constant_channel", batch_norm, [3, 2, 2, 2],
        data=[0.5 if i // 4 % 2 == 0 else i / 8 for i in range(24)])
    add("batch_norm_far_from_zero", batch_norm, [7, 3],
        data=[1000 + (i * 5 % 21) / 8 for i in range(21)])

    add("layer_norm_2d", layer_norm, [5, 7])
    add("layer_norm_2d_options", layer_norm, [3, 9], eps=1e-3, affine=False)
    add("layer_norm_2d_eps", layer_norm, [7, 6], eps=1e-3)
    add("layer_norm_4d", layer_norm, [3, 2, 5, 4])
    add("layer_norm_4d_not_affine", layer_norm, [3, 3, 4, 3], affine=False)

    add("flatten_4d", flatten, [3, 2, 4, 5])
    add("flatten_2d", flatten, [5, 7])

    # The kinks at zero, both signs of zero, and where exp and tanh saturate.
    points = [0.0, -0.0, 1 / 1024, -1 / 1024, 0.5, -0.5, 1, -1, 2, -2, 3.25, -3.25, 6, -6, 10, -10,
              20, -20, 50, -50, 88, -88, 100, -100]
    wide = [(i * 37 % 97 - 48) / 8 for i in range(81)]
    activations = [(relu, "", (), {}), (leaky_relu, "", (), {}), (leaky_relu, "_slope", (0.2,), {}),
                   (elu, "", (), {}), (elu, "_alpha", (), {"alpha": 0.5}), (gelu, "", (), {}),
                   (gelu, "_tanh", (), {"approximate": "tanh"}), (silu, "", (), {}),
                   (sigmoid, "", (), {}), (tanh, "", (), {})]
    for layer, suffix, args, named in activations:
        name = layer.__name__ + suffix
        add(f"{name}_points", layer, [3, 35], *args, data=points + wide, **named)
        add(f"{name}_4d", layer, [3, 2, 3, 5], *args, **named)
    add("softmax", softmax, [5, 7])
    add("softmax_two_classes", softmax, [7, 2])
    add("softmax_large", softmax, [3, 5], data=[(i * 7 % 15 - 7) * 20 for i in range(15)])
    add("softmax_equal", softmax, [3, 4], data=[1000.0] * 4 + [-1000.0] * 4 + [0.0] * 4)
    return case.cases


# Losses: the mean over the batch, or over every element


def loss_case(name, call, loss, x, target):
    x = x.clone().requires_grad_()
    value = loss(x, target)
    (grad,) = torch.autograd.grad(value, x)
    if target.is_floating_point():
        stored = frozen(target)
    else:
        stored = {"shape": list(target.shape), "data": target.tolist()}
    return {"name": name, "call": call, "input": frozen(x), "target": stored,
            "output": value.item(), "grad_input": frozen(grad)}


def loss_cases():
    cases = []

    def cross_entropy(name, shape, x=None, target=None, **named):
        x = random_tensor(f"{name}/input", shape, -4, 4) if x is None else x
        if target is None:
            target = [(i * 3 + 1) % shape[1] for i in range(shape[0])]
        weight = torch.tensor(named["weights"], dtype=torch.float64) if "weights" in named else None
        smoothing = named.get("label_smoothing", 0.0)
        cases.append(loss_case(
            name, call_text("cross_entropy", **named),
            lambda x, t: F.cross_entropy(x, t, weight=weight, label_smoothing=smoothing),
            x, torch.tensor(target)))

    def binary_cross_entropy(name, shape, x=None, target=None, **named):
        x = random_tensor(f"{name}/input", shape, -4, 4) if x is None else x
        if target is None:
            target = [float(i * 5 % 3 == 0) for i in range(math.prod(shape))]
        weight = torch.tensor(named["pos_weight"], dtype=torch.float64) if named else None
        cases.append(loss_case(
            name, call_text("binary_cross_entropy", **named),
            lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=weight),
            x, torch.tensor(target, dtype=torch.float64).reshape(shape)))

    def mse(name, shape):
        cases.append(loss_case(name, "mse", F.mse_loss, random_tensor(f"{name}/input", shape),
                               random_tensor(f"{name}/target", shape)))

    class_weights = [0.5, 2.0, 1.0, 0.25, 3.0]
    large = torch.tensor([[100.0, -100, 0, 50, 99.5], [-100, -100, -100, -100, 100],
                          [0, 0, 0, 0, 0], [1000, 0, -1000, 5, 999]], dtype=torch.float64)
    for suffix, named in [("", {}), ("_smoothed", {"label_smoothing": 0.1}),
                          ("_weighted", {"weights": class_weights}),
                          ("_weighted_smoothed",
                           {"weights": class_weights, "label_smoothing": 0.1})]:
        cross_entropy("cross_entropy" + suffix, [7, 5], **named)
        cross_entropy("cross_entropy_one_sample" + suffix, [1, 5], target=[3], **named)
        cross_entropy("cross_entropy_large" + suffix, [4, 5], large, [1, 4, 2, 0], **named)
    cross_entropy("cross_entropy_two_classes", [5, 2])
    cross_entropy("cross_entropy_one_class_only", [3, 5], target=[2, 2, 2], weights=class_weights)
    cross_entropy("cross_entropy_zero_weight", [5, 3], target=[0, 1, 2, 1, 0],
                  weights=[1.0, 0.0, 2.0])

    extremes = torch.tensor([[0.0, 30, -30], [100, -100, 1], [-100, 100, -1]], dtype=torch.float64)
    extreme_targets = [0.0, 1, 1, 1, 1, 0.25, 0, 0, 0.75]
    for suffix, named in [("", {}), ("_pos_weight", {"pos_weight": 2.0})]:
        binary_cross_entropy("binary_cross_entropy" + suffix, [7, 1], **named)
        binary_cross_entropy("binary_cross_entropy_many" + suffix, [5, 3], **named)
        binary_cross_entropy("binary_cross_entropy_extremes" + suffix, [3, 3], extremes,
                             extreme_targets, **named)
    mse("mse", [5, 3])
    mse("mse_one_output", [7, 1])
    mse("mse_one_sample", [1, 4])
    return cases


# Optimizers: 200 steps on two tensors with the gradient a * (w - b)


STEPS_KEPT = (1, 2, 10, 50, 100, 200)


def optimizer_run(make, start, dtype):
    weights = [t["weight"].to(dtype).clone().requires_grad_() for t in start.values()]
    a = [t["a"].to(dtype) for t in start.values()]
    b = [t["b"].to(dtype) for t in start.values()]
    optimizer = make(weights)
    kept = {}
    for step in range(1, STEPS_KEPT[-1] + 1):
        for w, a_i, b_i in zip(weights, a, b):
            w.grad = a_i * (w.detach() - b_i)
        optimizer.step()
        if step in STEPS_KEPT:
            kept[str(step)] = {name: w.detach().double().tolist() for name, w in zip(start, weights)}
    return kept


def optimizer_cases():
    start = {name: {"weight": random_tensor(f"optimizer/{name}/weight", [n]),
                    "a": random_tensor(f"optimizer/{name}/a", [n], 0.25, 2.0),
                    "b": random_tensor(f"optimizer/{name}/b", [n])}
             for name, n in (("first", 7), ("second", 12))}
    cases = []
    renamed = {"initial_accumulator": "initial_accumulator_value"}

    def add(kind, torch_class, **named):
        options = {renamed.get(k, k): v for k, v in named.items()}

        def make(weights):
            return torch_class(weights, foreach=False, **options)
        exact = optimizer_run(make, start, torch.float64)
        single = optimizer_run(make, start, torch.float32)
        error = {step: max(abs(x - y) for name in start
                           for x, y in zip(exact[step][name], single[step][name]))
                 for step in exact}
        cases.append({"call": call_text(kind, **named), "f64": exact, "f32": single,
                      "f32_error": error})

    def sgd(**named):
        add("sgd", torch.optim.SGD, **named)

    def adagrad(**named):
        add("adagrad", torch.optim.Adagrad, **named)

    def rmsprop(**named):
        add("rmsprop", torch.optim.RMSprop, **named)

    def adam(**named):
        add("adam", torch.optim.Adam, **named)

    def adamw(**named):
        add("adamw", torch.optim.AdamW, **named)

    sgd(lr=0.1)
    sgd(lr=0.1, weight_decay=0.01)
    sgd(lr=0.1, momentum=0.9)
    sgd(lr=0.1, momentum=0.9, nesterov=True)
    sgd(lr=0.1, momentum=0.9, dampening=0.5)
    sgd(lr=0.1, momentum=0.9, weight_decay=0.01)
    sgd(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    sgd(lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01)

    adagrad(lr=0.1)
    adagrad(lr=0.1, lr_decay=0.01)
    adagrad(lr=0.1, weight_decay=0.01)
    adagrad(lr=0.1, initial_accumulator=0.1)
    adagrad(lr=0.1, eps=1e-3)
    adagrad(lr=0.1, lr_decay=0.01, initial_accumulator=0.1)
    adagrad(lr=0.1, lr_decay=0.01, weight_decay=0.01, initial_accumulator=0.1)

    rmsprop(lr=0.01)
    rmsprop(lr=0.01, alpha=0.9)
    rmsprop(lr=0.01, momentum=0.9)
    rmsprop(lr=0.01, centered=True)
    rmsprop(lr=0.01, weight_decay=0.01)
    rmsprop(lr=0.01, eps=1e-3)
    rmsprop(lr=0.01, alpha=0.9, momentum=0.9, centered=True)
    rmsprop(lr=0.01, alpha=0.9, momentum=0.9, centered=True, weight_decay=0.01)

    adam(lr=0.001)
    adam(lr=0.05)
    adam(lr=0.001, betas=[0.9, 0.99])
    adam(lr=0.05, betas=[0.8, 0.9])
    adam(lr=0.05, eps=1e-3)
    adam(lr=0.05, weight_decay=0.01)
    adam(lr=0.05, amsgrad=True)
    adam(lr=0.05, betas=[0.9, 0.9], amsgrad=True)
    adam(lr=0.05, betas=[0.9, 0.99], eps=1e-6, weight_decay=0.1, amsgrad=True)

    adamw(lr=0.001)
    adamw(lr=0.05)
    adamw(lr=0.05, weight_decay=0.1)
    adamw(lr=0.05, weight_decay=0.0)
    adamw(lr=0.05, amsgrad=True)
    adamw(lr=0.05, betas=[0.9, 0.9], weight_decay=0.1, amsgrad=True)

    return {"about": "The gradient of each step is a * (weight - b), element by element. "
                     "`f64` and `f32` hold the weights after that many steps in that precision, "
                     "`f32_error` the largest distance between them. Where it is large, the run "
                     "circles around its goal and f32 says nothing about the update rule.",
            "start": {name: {k: t.tolist() for k, t in tensors.items()}
                      for name, tensors in start.items()},
            "cases": cases}


# Schedules: the learning rate of 200 steps, counted from 0


def torch_rates(make, base):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base)
    scheduler = make(optimizer)
    rates = []
    for _ in range(200):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def assert_close(ours, theirs):
    for t, (x, y) in enumerate(zip(ours, theirs, strict=True)):
        assert math.isclose(x, y, rel_tol=1e-12), (t, x, y)


def schedule_cases():
    schedulers = torch.optim.lr_scheduler
    base, warmup = 0.1, 20
    cases = []

    def add(name, named, rate, make, warmup_is_factor=True):
        def text(**extra):
            return call_text(name, **named, **extra)
        plain = [rate(t) for t in range(200)]
        assert_close(plain, torch_rates(make, base))
        warm = [r * min(t + 1, warmup) / warmup for t, r in enumerate(plain)]
        if warmup_is_factor:              # torch chains only schedules that are products
            assert_close(warm, torch_rates(lambda o: schedulers.ChainedScheduler([
                make(o), schedulers.LinearLR(o, 1 / warmup, 1.0, warmup - 1)]), base))
        cases.append({"call": text(), "rates": plain})
        cases.append({"call": text(warmup=f"{warmup} steps"), "rates": warm})

    add("constant", {}, lambda t: base, lambda o: schedulers.ConstantLR(o, 1.0, 1))
    add("step", {"every": "7 steps", "gamma": 0.5}, lambda t: base * 0.5 ** (t // 7),
        lambda o: schedulers.StepLR(o, 7, 0.5))
    add("step", {"every": "30 steps", "gamma": 0.1}, lambda t: base * 0.1 ** (t // 30),
        lambda o: schedulers.StepLR(o, 30, 0.1))
    for floor in (0.0, 1e-5):
        named = {"over": "200 steps"} | ({"min": floor} if floor else {})
        add("cosine", named,
            lambda t: floor + (base - floor) * (1 + math.cos(math.pi * t / 200)) / 2,
            lambda o: schedulers.CosineAnnealingLR(o, 200, floor), warmup_is_factor=False)
    return {"about": "rates[t] is the learning rate of step t, counted from 0. With `warmup = W` "
                     "steps, the rate of step t < W is multiplied by (t + 1) / W; the schedule "
                     "itself is not shifted.",
            "learning_rate": base, "cases": cases}


# Gradient clipping by the norm over all tensors


def clip_cases():
    cases = []

    def add(name, grads, max_norm=1.0):
        grads = {k: g.clone() for k, g in grads.items()}
        case = {"name": name, "max_norm": max_norm,
                "grads": {k: frozen(g) for k, g in grads.items()}}
        weights = [torch.zeros_like(g).requires_grad_() for g in grads.values()]
        for w, g in zip(weights, grads.values()):
            w.grad = g
        norm = torch.nn.utils.clip_grad_norm_(weights, max_norm)
        case |= {"norm": norm.item(),
                 "clipped": {k: frozen(w.grad) for k, w in zip(grads, weights)}}
        cases.append(case)

    def pair(name, low, high):
        return {"first": random_tensor(f"{name}/first", [7], low, high),
                "second": random_tensor(f"{name}/second", [3, 4], low, high)}

    def of(*data):
        return torch.tensor(data, dtype=torch.float64)

    add("over", pair("over", -2, 2))
    add("under", pair("under", -0.125, 0.125))
    add("other_limit", pair("other_limit", -2, 2), 0.5)
    add("limit_above_norm", pair("limit_above_norm", -2, 2), 100.0)
    add("one_tensor", {"first": of(3, 4)})
    add("norm_is_limit", {"first": of(1, 0), "second": of(0, 0, 0)})
    add("just_under_limit", {"first": of(1 - 2**-10, 0)})
    add("all_zero", {"first": of(0, 0, 0), "second": of(0, 0)})
    add("only_together_over", {"first": of(0.75, 0), "second": of(0, 0.75)})
    return cases


# Loss scaling


def scaler_cases():
    """The scale after each update of 5,000, and which of them torch.amp.GradScaler skips."""
    # Alone, in bursts, just before the scale would grow (500 + 1,999) and just after it has (2,499 + 2,001).
    bad = {0, 2, 9, 10, 11, 80, 81, 500, 2499, 4500, 4501, 4502, 4503, 4504, 4508, 4900, 4999}
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaler = torch.amp.GradScaler("cpu")
    scales, updates = [], []
    before = None
    for step in range(5000):
        loss = weight * (math.inf if step in bad else -1.0)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if scaler.get_scale() != before:
            before = scaler.get_scale()
            scales.append([step, before])
        updates.append(weight.item())
    assert min(scale for _, scale in scales) >= 1  # below, nnoptc differs: its scale stops falling
    return {"steps": 5000, "bad": sorted(bad), "scales": scales, "updates": updates[-1]}


# Philox4x32-10: Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011


def philox(counter, key, rounds=10):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = ((p1 >> 32) ^ c1 ^ k0, p1 & 0xFFFFFFFF,
                          (p0 >> 32) ^ c3 ^ k1, p0 & 0xFFFFFFFF)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def philox_cases():
    # The published answers for zeros, ones and the digits of pi.
    published = [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0],
         [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]
    for counter, key, words in published:
        assert philox(counter, key) == words, (counter, key)
    rng = random.Random("philox")
    inputs = [([0, 0, 0, i], [0, 0]) for i in range(1, 4)]
    inputs += [([i, 0, 0, 0], [42, 0]) for i in range(4)]
    inputs += [([rng.getrandbits(32) for _ in range(4)], [rng.getrandbits(32) for _ in range(2)])
               for _ in range(64)]
    return {"about": "Philox4x32-10: 32-bit words, lowest first. `published` are the known "
                     "answers of its authors, `computed` those of freeze.py, which gives the same.",
            "published": [{"counter": c, "key": k, "words": w} for c, k, w in published],
            "computed": [{"counter": c, "key": k, "words": philox(c, k)} for c, k in inputs],
            "uniform": [uniform_case(rng) for _ in range(8)]}


def uniform_case(rng):
    """What a graph draws: counter (index, step, stream, 0), the upper 24 bits of the first word."""
    seed, step, stream = [rng.getrandbits(32), rng.getrandbits(32)], rng.getrandbits(32), rng.getrandbits(31)
    index = list(range(8)) + [rng.getrandbits(32) for _ in range(29)]
    numbers = [(philox([i, step, stream, 0], seed)[0] >> 8) / 2**24 for i in index]
    return {"seed": seed, "step": step, "stream": stream, "index": index, "numbers": numbers}


# Files


def write(path, value):
    """One case a line, so that a change shows as the cases it touches."""
    def line(v):
        return json.dumps(v, allow_nan=False)

    def rows(items):
        return "[\n" + ",\n".join(map(line, items)) + "\n]"
    if isinstance(value, list):
        text = rows(value)
    else:
        fields = (f"{line(k)}: {rows(v) if isinstance(v, list) else line(v)}"
                  for k, v in value.items())
        text = "{\n" + ",\n".join(fields) + "\n}"
    path.write_text(text + "\n")
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")


def main():
    here = pathlib.Path(__file__).resolve().parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "golden"
    out.mkdir(parents=True, exist_ok=True)
    write(out / "layers.json", layer_cases())
    write(out / "losses.json", loss_cases())
    write(out / "optimizers.json", optimizer_cases())
    write(out / "schedules.json", schedule_cases())
    write(out / "clip.json", clip_cases())
    write(out / "philox.json", philox_cases())
    write(out / "scaler.json", scaler_cases())


if __name__ == "__main__":
    main()
