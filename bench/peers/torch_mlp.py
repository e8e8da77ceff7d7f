#!/usr/bin/env python3
"""Training speed of PyTorch on the two small networks that nnoptc is measured on.

Prints one JSON line per network and optimizer. Data is random, made once and
kept in memory; the loss is read once an epoch; one epoch of warm-up is left out
and its time printed beside. f32, eager mode.

  W1  784-512-512-10, relu, dropout 0.2, batch 128, Adam 1e-3, cross entropy
  W4  30-64-64-2, relu, batch 32, Adam 1e-3, cross entropy
"""
import argparse
import json
import os
import statistics
import time

import torch
from torch import nn

WORK = {
    "W1": {"sizes": [784, 512, 512, 10], "dropout": 0.2, "batch": 128, "steps": 100},
    "W4": {"sizes": [30, 64, 64, 2], "dropout": 0.0, "batch": 32, "steps": 200},
}


def mlp(sizes, dropout):
    layers = []
    for n_in, n_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    while not isinstance(layers[-1], nn.Linear):    # the last layer gives logits
        layers.pop()
    return nn.Sequential(*layers)


def measure(name, fused, epochs, steps):
    work = WORK[name]
    sizes, batch, steps = work["sizes"], work["batch"], steps or work["steps"]
    torch.manual_seed(1)
    model = mlp(sizes, work["dropout"]).train()
    options = {"fused": True} if fused else {}
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **options)
    loss_fn = nn.CrossEntropyLoss()
    x = torch.randn(steps * batch, sizes[0])
    # A rule that can be learned, so that the printed loss shows that training works.
    y = (x @ torch.randn(sizes[0], sizes[-1])).argmax(1)
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

    warm_up, first_loss = epoch()
    runs = [epoch() for _ in range(epochs)]
    rates = [steps * batch / seconds for seconds, _ in runs]
    return {"peer": "torch", "version": torch.__version__, "work": name, "fused": fused,
            "threads": torch.get_num_threads(), "batch": batch, "steps": steps, "epochs": epochs,
            "samples_per_s": round(statistics.median(rates)), "best": round(max(rates)),
            "worst": round(min(rates)), "warm_up_s": round(warm_up, 3),
            "first_loss": round(first_loss, 4), "last_loss": round(runs[-1][1], 4),
            "load": round(os.getloadavg()[0], 2)}


def main():
    args = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--epochs", type=int, default=7, help="timed epochs (default 7)")
    args.add_argument("--steps", type=int, help="steps an epoch (default W1 100, W4 200)")
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--work", default="W1,W4", help="comma-separated (default W1,W4)")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.work.split(","):
        for fused in (False, True):
            print(json.dumps(measure(name, fused, args.epochs, args.steps)), flush=True)


if __name__ == "__main__":
    main()
