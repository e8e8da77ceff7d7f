#!/usr/bin/env python3
"""Training speed of PyTorch on the networks that nnoptc is measured on (bench/works.py).

Prints one JSON line per network and mode. Data is random, made once and kept in memory; the loss is read once an epoch;
one epoch of warm-up is left out. f32. Modes: `eager`; `fused` has the optimizer's fused form; `channels_last` has that
and images and filters in that layout (networks of convolutions only).
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from works import OPTIMIZERS, RESNET_UNITS, ADAM, WORKS, resnet_plan


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


def measure(name, mode):
    work = WORKS[name]
    batch, steps = work["batch"], work["steps"]
    torch.manual_seed(1)
    model = network(name).train()
    x = torch.randn(steps * batch, *work["shape"])
    y = torch.randint(work["classes"], (steps * batch,))
    if mode == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(name, model.parameters(), mode != "eager")
    loss_fn = nn.CrossEntropyLoss()
    batches = list(zip(x.split(batch), y.split(batch)))

    def epoch():
        begin = time.perf_counter()
        total = torch.zeros(())
        for xb, yb in batches:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        mean = total.item() / steps
        return time.perf_counter() - begin, mean

    epoch()
    rates = [steps * batch / epoch()[0] for _ in range(max(3, work["epochs"] // 2))]
    rate = statistics.median(rates)
    return {"peer": "torch", "version": torch.__version__, "work": name, "mode": mode, "samples_per_s": rate}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--work", default=",".join(WORKS))
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.work.split(","):
        modes = ["eager", "fused"] + (["channels_last"] if len(WORKS[name]["shape"]) == 3 else [])
        for mode in modes:
            print(json.dumps(measure(name, mode)), flush=True)


if __name__ == "__main__":
    main()
