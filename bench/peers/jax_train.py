#!/usr/bin/env python3
"""Training speed of JAX on W1 to W4 of bench/works.py.

Modes: `jit` compiles a step; `scan` compiles an epoch, a `lax.scan` over its steps (W1 and W4: of convolutions in a
loop, XLA for CPUs makes code that does not end). Images are channels last. Batch norm keeps no running statistics,
which is less work than the others have.
"""

import os

import jax
import numpy
from jax import lax, numpy as jnp

from common import arguments, report, training_speed
from works import ADAM, OPTIMIZERS, RESNET_UNITS, WORKS, resnet_plan


def convolve(x, weight, stride=1, padding=0):
    sides = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, weight, (stride, stride), sides, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def normalize(x, weight, bias):
    mean = x.mean((0, 1, 2))
    variance = ((x - mean) ** 2).mean((0, 1, 2))
    return (x - mean) * lax.rsqrt(variance + 1e-5) * weight + bias


def dropout(x, rate, key):
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


class Init:
    """Makes weights as PyTorch does: uniform in +-1 / sqrt(inputs)."""

    def __init__(self):
        self.random = numpy.random.default_rng(1)

    def uniform(self, shape, n_in):
        bound = n_in**-0.5
        return jnp.asarray(self.random.uniform(-bound, bound, shape).astype(numpy.float32))

    def linear(self, n_in, n_out):
        return self.uniform((n_in, n_out), n_in), self.uniform((n_out,), n_in)

    def convolution(self, n_in, n_out, kernel):
        return self.uniform((kernel, kernel, n_in, n_out), n_in * kernel * kernel)

    def norm(self, channels):
        return jnp.ones(channels), jnp.zeros(channels)


def perceptron(sizes, rate):
    init = Init()
    weights = [init.linear(*pair) for pair in zip(sizes, sizes[1:])]

    def apply(weights, x, key):
        for idx, (weight, bias) in enumerate(weights[:-1]):
            x = jax.nn.relu(x @ weight + bias)
            if rate:
                x = dropout(x, rate, jax.random.fold_in(key, idx))
        return x @ weights[-1][0] + weights[-1][1]

    return weights, apply


def convnet():
    init = Init()
    first = init.convolution(1, 32, 3), init.uniform((32,), 9)
    second = init.convolution(32, 64, 3), init.uniform((64,), 288)
    weights = ([first, second], [init.linear(9216, 128), init.linear(128, 10)])

    def apply(weights, x, key):
        convolutions, linears = weights
        for weight, bias in convolutions:
            x = jax.nn.relu(convolve(x, weight) + bias)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = dropout(x, 0.25, jax.random.fold_in(key, 0)).reshape(x.shape[0], -1)
        x = jax.nn.relu(x @ linears[0][0] + linears[0][1])
        x = dropout(x, 0.5, jax.random.fold_in(key, 1))
        return x @ linears[1][0] + linears[1][1]

    return weights, apply


def resnet(units):
    init = Init()
    plan = list(resnet_plan(units))
    first = (init.convolution(3, 16, 3), *init.norm(16))
    parts, n_in = [], 16
    for channels, _, projects in plan:
        part = [(init.convolution(n_in, channels, 3), *init.norm(channels))]
        part.append((init.convolution(channels, channels, 3), *init.norm(channels)))
        if projects:
            part.append((init.convolution(n_in, channels, 1), *init.norm(channels)))
        parts.append(part)
        n_in = channels

    def apply(weights, x, _):
        first, parts, (weight, bias) = weights
        x = jax.nn.relu(normalize(convolve(x, first[0], 1, 1), *first[1:]))
        for (_, stride, projects), part in zip(plan, parts):
            main = jax.nn.relu(normalize(convolve(x, part[0][0], stride, 1), *part[0][1:]))
            main = normalize(convolve(main, part[1][0], 1, 1), *part[1][1:])
            side = normalize(convolve(x, part[2][0], stride), *part[2][1:]) if projects else x
            x = jax.nn.relu(main + side)
        return x.mean((1, 2)) @ weight + bias

    return (first, parts, init.linear(64, 10)), apply


def network(name):
    if name == "W1":
        return perceptron([784, 512, 512, 10], 0.2)
    if name == "W4":
        return perceptron([30, 64, 64, 2], 0)
    return convnet() if name == "W2" else resnet(RESNET_UNITS[name])


def make_step(name, apply):
    """A step: state and batch to state and loss; the state is weights, two moments, and how many steps there were."""

    def loss_fn(weights, x, y, key):
        logs = jax.nn.log_softmax(apply(weights, x, key))
        return -jnp.take_along_axis(logs, y[:, None], 1).mean()

    tree = jax.tree_util.tree_map

    def step(state, batch):
        weights, first, second, count = state
        key = jax.random.fold_in(jax.random.key(1), count)
        loss, grads = jax.value_and_grad(loss_fn)(weights, *batch, key)
        count = count + 1
        if OPTIMIZERS[name] == ADAM:
            first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
            second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
            rate, root = 1e-3 / (1 - 0.9**count), jnp.sqrt(1 - 0.999**count)
            weights = tree(lambda w, m, v: w - rate * m / (jnp.sqrt(v) / root + 1e-8), weights, first, second)
        elif name in RESNET_UNITS:
            first = tree(lambda m, g: 0.9 * m + g, first, grads)
            weights = tree(lambda w, m: w - 1e-2 * m, weights, first)
        else:
            weights = tree(lambda w, g: w - 1e-2 * g, weights, grads)
        return (weights, first, second, count), loss

    return step


def main():
    args = arguments(__doc__)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    work = WORKS[args.work]
    batch, steps = work["batch"], max(1, int(work["steps"] * args.share))
    random = numpy.random.default_rng(1)
    channels, *sides = work["shape"]
    shape = (steps, batch, *sides, channels) if sides else (steps, batch, channels)
    x = jnp.asarray(random.standard_normal(shape).astype(numpy.float32))
    y = jnp.asarray(random.integers(0, work["classes"], (steps, batch)).astype(numpy.int32))
    weights, apply = network(args.work)
    zeros = jax.tree_util.tree_map(jnp.zeros_like, weights)
    state = [(weights, zeros, jax.tree_util.tree_map(jnp.zeros_like, weights), jnp.zeros((), jnp.int32))]
    step = make_step(args.work, apply)
    if args.mode == "scan":
        compiled = jax.jit(lambda state, x, y: lax.scan(step, state, (x, y)), donate_argnums=0)

        def epoch():
            state[0], losses = compiled(state[0], x, y)
            return float(losses.mean())
    else:
        compiled = jax.jit(step, donate_argnums=0)
        batches = list(zip(x, y))

        def epoch():
            losses = []
            for pair in batches:
                state[0], loss = compiled(state[0], pair)
                losses.append(loss)
            return float(sum(losses)) / steps

    speed, more = training_speed(work, steps, epoch)
    report("JAX", jax.__version__, args, speed, **more)


main()
