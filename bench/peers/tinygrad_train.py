#!/usr/bin/env python3
"""Training speed of tinygrad on W1 to W4 of bench/works.py, on the processor through clang; mode `jit`.

Its kernels for the CPU run on as many threads as it chooses. `CC=clang-19` names the compiler; `DEV=CPU` is set here.
"""

import os
import shutil

os.environ.setdefault("DEV", "CPU")
# The newest clang of the machine.
CLANGS = [f"clang-{version}" for version in range(25, 13, -1)]
os.environ.setdefault("CC", next((clang for clang in CLANGS if shutil.which(clang)), "clang"))

from importlib.metadata import version

import numpy
from tinygrad import Tensor, TinyJit, nn
from tinygrad.helpers import Context

from common import arguments, report, training_speed
from works import ADAM, OPTIMIZERS, RESNET_UNITS, WORKS, resnet_plan


class Perceptron:
    def __init__(self, sizes, rate):
        self.layers = [nn.Linear(*pair) for pair in zip(sizes, sizes[1:])]
        self.rate = rate

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = layer(x).relu().dropout(self.rate)
        return self.layers[-1](x)


class ConvNet:
    def __init__(self):
        self.convolutions = [nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)]
        self.linears = [nn.Linear(9216, 128), nn.Linear(128, 10)]

    def __call__(self, x):
        for convolution in self.convolutions:
            x = convolution(x).relu()
        x = self.linears[0](x.max_pool2d(2).dropout(0.25).flatten(1)).relu()
        return self.linears[1](x.dropout(0.5))


class Unit:
    def __init__(self, n_in, channels, stride, projects):
        self.first = nn.Conv2d(n_in, channels, 3, stride=stride, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norms = [nn.BatchNorm(channels), nn.BatchNorm(channels)]
        self.shortcut = []
        if projects:
            self.shortcut = [nn.Conv2d(n_in, channels, 1, stride=stride, bias=False), nn.BatchNorm(channels)]

    def __call__(self, x):
        main = self.norms[1](self.second(self.norms[0](self.first(x)).relu()))
        return (main + x.sequential(self.shortcut)).relu()


class ResNet:
    def __init__(self, units):
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm(16)
        self.units, n_in = [], 16
        for channels, stride, projects in resnet_plan(units):
            self.units.append(Unit(n_in, channels, stride, projects))
            n_in = channels
        self.last = nn.Linear(64, 10)

    def __call__(self, x):
        x = self.norm(self.first(x)).relu().sequential(self.units)
        return self.last(x.mean((2, 3)))


def network(name):
    if name == "W1":
        return Perceptron([784, 512, 512, 10], 0.2)
    if name == "W4":
        return Perceptron([30, 64, 64, 2], 0.0)
    return ConvNet() if name == "W2" else ResNet(RESNET_UNITS[name])


def main():
    args = arguments(__doc__)
    work = WORKS[args.work]
    batch, steps = work["batch"], max(1, int(work["steps"] * args.share))
    random = numpy.random.default_rng(1)
    inputs = random.standard_normal((steps, batch, *work["shape"])).astype(numpy.float32)
    targets = random.integers(0, work["classes"], (steps, batch)).astype(numpy.int32)
    batches = [(Tensor(x).realize(), Tensor(y).realize()) for x, y in zip(inputs, targets)]
    model = network(args.work)
    weights = nn.state.get_parameters(model)
    if OPTIMIZERS[args.work] == ADAM:
        optimizer = nn.optim.Adam(weights, lr=1e-3)
    else:
        optimizer = nn.optim.SGD(weights, lr=1e-2, momentum=0.9 if args.work in RESNET_UNITS else 0.0)

    @TinyJit
    def step(x, y):
        optimizer.zero_grad()
        loss = model(x).sparse_categorical_crossentropy(y).backward()
        return loss.realize(*optimizer.schedule_step())

    def epoch():
        with Context(TRAINING=1):
            for x, y in batches:
                loss = step(x, y)
            return loss.item()

    speed, more = training_speed(work, steps, epoch)
    report("tinygrad", version("tinygrad"), args, speed, **more)


main()
