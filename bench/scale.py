#!/usr/bin/env python3
"""Memory, start, growth, and share of the machine's speed; prints Markdown, and writes it with --write.

    VENV/bin/python bench/scale.py --nnoptc target/release/nnoptc --write docs/performance.md

Peak memory is the resident set of the whole process on W3b, on both sides. The start is that of a run of one step of W3b:
until the first step begins, as nnoptc says with -v, and to the end of the process; PyTorch's has its imports. Growth is
seconds of a step against batch (ResNet-8) and layers (ResNets at batch 128). The share is of the operations of
products by counting (`works.flops`), over the best speed of a product of 2048³ that PyTorch or NumPy reaches here.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

import report
from nnoptc import Nnoptc, timed
from works import MOMENTUM, OPTIMIZERS, WORKS, flops, layers, resnet

HERE = pathlib.Path(__file__).resolve().parent
BATCHES = (32, 64, 128, 256, 512, 1024)
UNITS = (1, 3, 5, 7, 9)
STEPS = 4


def torch_run(mode, steps_share, threads):
    program = HERE / "peers/torch_train.py"
    command = [sys.executable, program, "--work", "W3b", "--mode", mode]
    return timed([*command, "--share", str(steps_share), "--threads", str(threads)])


def memory(ours, rounds):
    """Rows of peak resident MiB: ours, PyTorch's, and the ratio of each of PyTorch's modes."""
    path = ours.training("memory", **WORKS["W3b"], model=layers("W3b"), optimizer=OPTIMIZERS["W3b"])
    lines = ["| W3b, peak resident set | nnoptc | PyTorch | nnoptc / it |", "| --- | ---: | ---: | ---: |"]
    for mode in ("eager", "eager+fused+channels_last"):
        pairs = [(ours.run(path)[2], torch_run(mode, 1, ours.threads)[1]) for _ in range(rounds)]
        mine, other = (statistics.median(column) / 2**20 for column in zip(*pairs))
        ratio = statistics.median(mine / other for mine, other in pairs)
        lines.append(f"| {mode.replace('+', ' + ')} | {mine:,.0f} MiB | {other:,.0f} MiB | **{ratio:.2f}** |")
    return "\n".join(lines)


def said(text, before):
    """The number that follows a text."""
    return float(text.split(before, 1)[1].split()[0])


def start(ours, rounds):
    """Milliseconds until the plan is made, until the first step begins, and of a run of one step of W3b."""
    work = {**WORKS["W3b"], "steps": 1, "epochs": 1}
    path = ours.training("start", **work, model=layers("W3b"), optimizer=OPTIMIZERS["W3b"])
    ours.run(path)
    whole = statistics.median(ours.run(path)[1] for _ in range(rounds)) * 1e3
    texts = [ours.explained(path) for _ in range(rounds)]
    checked = statistics.median(said(text, f"checked `{path}` in ") for text in texts)
    planned = statistics.median(said(text, "planned in ") for text in texts)
    first = statistics.median(said(text, "the first step begins ") for text in texts) * 1e3
    # PyTorch's peer trains one epoch of warm-up and three more: four steps when an epoch is one.
    other = statistics.median(torch_run("eager", 0.01, ours.threads)[0] for _ in range(rounds)) * 1e3
    return (
        "| W3b | |\n| --- | ---: |\n"
        f"| nnoptc: text to checked program | {checked:,.0f} ms |\n"
        f"| nnoptc: checked program to plan | {planned:,.0f} ms |\n"
        f"| nnoptc: start of the process to the first step | {first:,.0f} ms |\n"
        f"| nnoptc: whole process, with 1 step, measures of health and the run folder | {whole:,.0f} ms |\n"
        f"| PyTorch eager: whole process, with imports and 4 steps | {other:,.0f} ms |"
    )


def step_seconds(ours, name, batch, units, threads):
    path = ours.training(name, (3, 32, 32), 10, batch, STEPS, 4, resnet(units), MOMENTUM)
    return batch / statistics.median(ours.run(path, threads)[0][1:])


def growth(ours):
    """Milliseconds of a step by batch and by layers, and the exponents that fit."""
    columns = {}
    for threads in (1, 2):
        columns["batch", threads] = [(batch, step_seconds(ours, "batch", batch, 1, threads)) for batch in BATCHES]
        columns["layers", threads] = [
            (6 * units + 2, step_seconds(ours, "layers", 128, units, threads)) for units in UNITS
        ]
    tables = []
    for what, model in (("batch", "ResNet-8"), ("layers", "ResNet, batch 128")):
        lines = [f"| {what} ({model}) | 1 thread | 2 threads | 1 thread / 2 |", "| ---: | ---: | ---: | ---: |"]
        for (size, one), (_, two) in zip(columns[what, 1], columns[what, 2]):
            lines.append(f"| {size} | {one * 1e3:,.1f} ms | {two * 1e3:,.1f} ms | {one / two:.2f} |")
        fits = [report.exponent(columns[what, threads]) for threads in (1, 2)]
        lines.append(f"| exponent | {fits[0]:.2f} | {fits[1]:.2f} | |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def best_product(ours):
    """GFLOP/s of the best product that a library reaches here, and its name."""
    code = (
        "import time, torch; torch.set_num_threads(%d); a = torch.randn(2048, 2048); best = 1e9\n"
        "for _ in range(20):\n    t = time.perf_counter(); a @ a; best = min(best, time.perf_counter() - t)\n"
        "print(best, end='', flush=True)"
    )
    command = [sys.executable, "-c", code % ours.threads]
    torch_best = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    a, numpy_best = numpy.ones((2048, 2048), numpy.float32), float("inf")
    for _ in range(20):
        begin = time.perf_counter()
        a @ a
        numpy_best = min(numpy_best, time.perf_counter() - begin)
    seconds, name = min((torch_best, "PyTorch"), (numpy_best, "NumPy"))
    return 2 * 2048**3 / seconds * 1e-9, name


def share(ours, rounds):
    """The share of the machine's product speed that W1, W2 and W3b reach."""
    rows = []
    for name in ("W1", "W2", "W3b"):
        shares = []
        for _ in range(rounds):
            peak, library = best_product(ours)
            speed = ours.speed(name) * flops(name) * 1e-9
            shares.append((speed / peak, speed, peak, library))
        rows.append((name, *sorted(shares)[len(shares) // 2]))
    lines = ["| | GFLOP/s by counting | best product here | share |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {n} | {speed:,.0f} | {peak:,.0f} ({lib}) | **{part:.0%}** |" for n, part, speed, peak, lib in rows]
    return "\n".join(lines)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--nnoptc", required=True, help="the binary")
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--only", default="memory,start,share,growth")
    args.add_argument("--write", help="write the tables between the markers of this Markdown file")
    args = args.parse_args()
    tables = {
        "memory": lambda ours: memory(ours, args.rounds),
        "start": lambda ours: start(ours, args.rounds),
        "share": lambda ours: share(ours, args.rounds),
        "growth": growth,
    }
    with tempfile.TemporaryDirectory() as folder:
        ours = Nnoptc(args.nnoptc, folder, args.threads)
        for name in args.only.split(","):
            text = tables[name](ours)
            print(f"{text}\n", flush=True)
            if args.write:
                report.write_section(args.write, name, text)


main()
