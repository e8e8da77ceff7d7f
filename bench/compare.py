#!/usr/bin/env python3
"""Runs nnoptc and PyTorch in turn on the same networks and cores, and prints medians and paired ratios.

    sh tests/oracle/setup.sh VENV
    cargo build --release
    VENV/bin/python bench/compare.py --nnoptc target/release/nnoptc [--rounds 5] [--work W1,W4]

bench/works.py says what the networks are. Each round runs both sides once; a ratio is of one round.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy

from works import OPTIMIZERS, WORKS, layers

HERE = pathlib.Path(__file__).resolve().parent


def pipeline(folder, name):
    """Writes the data and the pipeline of a work."""
    work = WORKS[name]
    random = numpy.random.default_rng(1)
    rows = work["batch"] * work["steps"]
    x = random.standard_normal((rows, *work["shape"])).astype(numpy.float32)
    y = numpy.arange(rows) % work["classes"]
    numpy.savez(folder / f"{name}.npz", x=x, y=y.astype(numpy.int64))
    path = folder / f"{name}.nnopt"
    path.write_text(
        f'nnopt 1\ndata {{ train = npz("{name}.npz") }}\nmodel {{\n{layers(name)}\n}}\n'
        f"loss = cross_entropy\noptimizer = {OPTIMIZERS[name]}\n"
        f"train {{ epochs = {work['epochs']}; batch = {work['batch']}; devices = cpu }}\n"
    )
    return path


def ours(binary, path, folder, turn):
    out = folder / f"run-{path.stem}-{turn}"
    command = [binary, "run", path, "--out", out, "-q", "--threads", "2"]
    subprocess.run(command, check=True, capture_output=True)
    epochs = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [epoch["samples_per_second"] for epoch in epochs if epoch["event"] == "epoch"]
    # The first epoch warms up, as on the other side.
    return statistics.median(rates[1:])


def theirs(name):
    """The speed of each of PyTorch's modes."""
    command = [sys.executable, HERE / "peers/torch_train.py", "--work", name]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    results = [json.loads(line) for line in lines]
    return {result["mode"]: result["samples_per_s"] for result in results}


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--nnoptc", required=True)
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--work", default=",".join(WORKS))
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for name in args.work.split(","):
            path = pipeline(folder, name)
            rounds = [(ours(args.nnoptc, path, folder, turn), theirs(name)) for turn in range(args.rounds)]
            print(f"{name}: nnoptc {statistics.median(mine for mine, _ in rounds):,.0f} samples/s")
            for mode in rounds[0][1]:
                speed = statistics.median(peers[mode] for _, peers in rounds)
                ratios = sorted(mine / peers[mode] for mine, peers in rounds)
                shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
                print(f"    PyTorch {mode} {speed:,.0f}; nnoptc / it: median {statistics.median(ratios):.2f} of {shown}")


main()
