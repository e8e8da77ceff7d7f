#!/usr/bin/env python3
"""Training speed of PyTorch on W1 to W4 and W8 of bench/works.py, on the processor or, with `--device cuda`, a GPU.

Data is random, made once and kept in memory; the loss is read once an epoch; one epoch of warm-up is left out. f32.
A mode is words joined by `+`: `eager` or `compiled` (torch.compile), with `graphs` its mode "reduce-overhead", which records
CUDA graphs; `fused` has the optimizer's fused form;
`channels_last` has images and filters in that layout; `amp` is torch.autocast to f16 with a GradScaler, and `tf32` lets a
GPU round the factors of f32 products to 10 bits, which is off otherwise.
"""

import torch
from torch import nn
from torch.nn import functional

from common import arguments, report, training_speed
from works import ADAM, OPTIMIZERS, RESNET_UNITS, RESNET_WIDTHS, WORKS, resnet_plan


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
    widths = RESNET_WIDTHS[name]
    n_in = widths[0]
    layers = [nn.Conv2d(3, n_in, 3, padding=1, bias=False), nn.BatchNorm2d(n_in), nn.ReLU()]
    for channels, stride, projects in resnet_plan(RESNET_UNITS[name], widths):
        layers.append(Unit(n_in, channels, stride, projects))
        n_in = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


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
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "tf32" in words
    # The sizes of all steps are equal.
    torch.backends.cudnn.benchmark = True
    model = network(args.work).train().to(args.device)
    x = torch.randn(steps * batch, *work["shape"]).to(args.device)
    y = torch.randint(work["classes"], (steps * batch,)).to(args.device)
    if "channels_last" in words:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(args.work, model.parameters(), "fused" in words)
    loss_fn = nn.CrossEntropyLoss()
    batches = list(zip(x.split(batch), y.split(batch)))
    how = "reduce-overhead" if "graphs" in words else "default"
    run = torch.compile(model, mode=how) if "compiled" in words else model
    mixed = "amp" in words
    scaler = torch.amp.GradScaler(args.device, enabled=mixed)

    def epoch():
        total = torch.zeros((), device=args.device)
        for xb, yb in batches:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(args.device, torch.float16, enabled=mixed):
                loss = loss_fn(run(xb), yb)
            # Without `amp` the scaler passes both on as they are.
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            total += loss.detach()
        return total.item() / steps

    speed, more = training_speed(work, steps, epoch)
    report("PyTorch", torch.__version__, args, speed, **more)


main()
