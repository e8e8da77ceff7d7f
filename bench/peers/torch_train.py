#!/usr/bin/env python3
"""Training speed of PyTorch on W1 to W4 of bench/works.py.

Data is random, made once and kept in memory; the loss is read once an epoch; one epoch of warm-up is left out. f32.
A mode is words joined by `+`: `eager` or `compiled` (torch.compile); `fused` has the optimizer's fused form;
`channels_last` has images and filters in that layout.
"""

import torch
from torch import nn
from torch.nn import functional

from common import arguments, report, training_speed
from works import ADAM, OPTIMIZERS, RESNET_UNITS, WORKS, resnet_plan


class Unit(nn.Module):
    """A residual unit of two convolutions."""

    def __init__(self, n_in, channels, stride, projects):
        super().__init__()
        self.first = nn.Conv2d(n_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.last_norm = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if projects:
            projection = nn.Conv2d(n_in, channels, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, x):
        main = self.last_norm(self.second(functional.relu(self.norm(self.first(x)))))
        return functional.relu(main + self.shortcut(x))


def network(name):
    if name == "W1":
        hidden = [nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2)]
        return nn.Sequential(*hidden, nn.Linear(512, 10))
    if name == "W4":
        return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    if name == "W2":
        images = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)]
        rest = [nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
        return nn.Sequential(*images, *rest)
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    n_in = 16
    for channels, stride, projects in resnet_plan(RESNET_UNITS[name]):
        layers.append(Unit(n_in, channels, stride, projects))
        n_in = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def make_optimizer(name, parameters, fused):
    if OPTIMIZERS[name] == ADAM:
        return torch.optim.Adam(parameters, lr=1e-3, fused=fused)
    return torch.optim.SGD(parameters, lr=1e-2, momentum=0.9 if name in RESNET_UNITS else 0.0, fused=fused)


def main():
    args = arguments(__doc__)
    words = set(args.mode.split("+"))
    torch.set_num_threads(args.threads)
    work = WORKS[args.work]
    batch, steps = work["batch"], max(1, int(work["steps"] * args.share))
    torch.manual_seed(1)
    model = network(args.work).train()
    x = torch.randn(steps * batch, *work["shape"])
    y = torch.randint(work["classes"], (steps * batch,))
    if "channels_last" in words:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(args.work, model.parameters(), "fused" in words)
    loss_fn = nn.CrossEntropyLoss()
    batches = list(zip(x.split(batch), y.split(batch)))
    run = torch.compile(model) if "compiled" in words else model

    def epoch():
        total = torch.zeros(())
        for xb, yb in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_fn(run(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        return total.item() / steps

    speed, more = training_speed(work, steps, epoch)
    report("PyTorch", torch.__version__, args, speed, **more)


main()
