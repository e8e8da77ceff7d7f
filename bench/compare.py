#!/usr/bin/env python3
"""Runs nnoptc and PyTorch in turn on the same networks and cores, and prints medians and paired ratios.

    sh tests/oracle/setup.sh VENV
    cargo build --release
    VENV/bin/python bench/compare.py --nnoptc target/release/nnoptc [--rounds 5] [--work W1,W4]

W1 is 784-512-512-10 (batch 128, dropout 0.2), W4 is 30-64-64-2 (batch 32); both Adam 1e-3, cross entropy, f32, data
in memory. Each round runs both sides once; a ratio is of one round. PyTorch is eager, with and without `fused`.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy

HERE = pathlib.Path(__file__).resolve().parent
WORK = {
    "W1": {"sizes": [784, 512, 512, 10], "dropout": 0.2, "batch": 128, "steps": 100, "epochs": 7},
    "W4": {"sizes": [30, 64, 64, 2], "dropout": 0.0, "batch": 32, "steps": 200, "epochs": 40},
}


def pipeline(folder, name):
    """Writes the data and the pipeline of a work."""
    work = WORK[name]
    random = numpy.random.default_rng(1)
    rows = work["batch"] * work["steps"]
    x = random.standard_normal((rows, work["sizes"][0])).astype(numpy.float32)
    y = (x @ random.standard_normal((work["sizes"][0], work["sizes"][-1]))).argmax(1)
    numpy.savez(folder / f"{name}.npz", x=x, y=y.astype(numpy.int64))
    layers = []
    for units in work["sizes"][1:-1]:
        layers.append(f"linear({units}) -> relu" + (f" -> dropout({work['dropout']})" if work["dropout"] else ""))
    layers.append("linear(classes)")
    path = folder / f"{name}.nnopt"
    path.write_text(
        f'nnopt 1\ndata {{ train = npz("{name}.npz") }}\nmodel {{\n' + "\n".join(layers) + "\n}\n"
        "loss = cross_entropy\noptimizer = adam(lr = 1e-3)\n"
        f"train {{ epochs = {work['epochs']}; batch = {work['batch']}; devices = cpu }}\n"
    )
    return path


def ours(binary, path, folder, turn):
    out = folder / f"run-{path.stem}-{turn}"
    subprocess.run([binary, "run", path, "--out", out, "-q", "--threads", "2"], check=True, capture_output=True)
    epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [epoch["samples_per_second"] for epoch in epochs if epoch["event"] == "epoch"]
    # The first epoch warms up, as on the other side.
    return statistics.median(rates[1:])


def theirs(name):
    command = [sys.executable, HERE / "peers/torch_mlp.py", "--work", name]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rates = {json.loads(line)["fused"]: json.loads(line)["samples_per_s"] for line in lines}
    return rates[False], rates[True]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--nnoptc", required=True)
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--work", default="W1,W4")
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in args.work.split(","):
            path = pipeline(folder, name)
            rounds = [(ours(args.nnoptc, path, folder, turn), *theirs(name)) for turn in range(args.rounds)]
            mine, eager, fused = (statistics.median(column) for column in zip(*rounds))
            print(f"{name}: nnoptc {mine:,.0f} samples/s, PyTorch eager {eager:,.0f}, with fused Adam {fused:,.0f}")
            for label, at in (("eager", 1), ("fused", 2)):
                ratios = sorted(row[0] / row[at] for row in rounds)
                shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
                print(f"    nnoptc / {label}: median {statistics.median(ratios):.2f} of {shown}")


main()
