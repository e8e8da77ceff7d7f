#!/usr/bin/env python3
"""Runs nnoptc and its peers in turn on the same works and cores, and prints medians and paired ratios.

    bench/setup.sh VENV [burn] [candle] [meganeura] Python peers, and those in Rust that are named
    cargo build --release
    VENV/bin/python bench/compare.py --nnoptc target/release/nnoptc --write docs/performance.md
    VENV/bin/python bench/compare.py --nnoptc target/release/nnoptc --write docs/performance.md --lavapipe ICD.json

    VENV/bin/python bench/compare.py --nnoptc target/release/nnoptc --write docs/performance.md --gpu NAME

The fourth compares through Vulkan on Mesa's lavapipe, whose description file it takes, with Burn and meganeura on W1, W2
and W4; scripts/install-adapters.sh says where the file is. The last compares on a graphics card: nnoptc on the adapter of this
name, PyTorch through CUDA; bench/graphics.py says in which modes.

bench/works.py says what the works are. Each round runs nnoptc and then a peer, for every peer and mode; a ratio is of
one such pair. Before each pair the load of others and the speed of a product of fixed size are measured; pairs on a
busy machine are marked, and counted at the end.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import numpy

import graphics
import report
from nnoptc import Nnoptc
from photographs import make_photographs
from works import PRODUCTS, RESNET_UNITS, WORKS

HERE = pathlib.Path(__file__).resolve().parent
TORCH_DENSE = ["eager", "eager+fused", "compiled+fused"]
TORCH_IMAGES = ["eager", "eager+fused", "eager+fused+channels_last", "compiled+fused", "compiled+fused+channels_last"]
BUSY_SHARE = 0.10
SLOW_SHARE = 0.85


def peers(work, args):
    """Name, program and modes of each peer of a work: on the processor, on a Vulkan driver that computes there, or on a
    graphics card."""
    if args.gpu:
        return graphics.peers(work, sys.executable, HERE)
    if args.lavapipe:
        return [("meganeura", [rust_peer("meganeura")], ["vulkan"]), ("burn", [rust_peer("burn")], ["wgpu"])]
    python = [sys.executable]
    if work.startswith("W5"):
        return [("torch", [*python, HERE / "peers/torch_product.py"], ["matmul"])]
    if work == "W6":
        return [("torch", [*python, HERE / "peers/torch_images.py"], ["one draw a sample", "one draw a batch"])]
    if work.startswith("W7"):
        return [("torch", [*python, HERE / "peers/torch_photographs.py"], ["PIL", "decode_jpeg"])]
    images = work == "W2" or work in RESNET_UNITS
    found = [
        ("torch", [*python, HERE / "peers/torch_train.py"], TORCH_IMAGES if images else TORCH_DENSE),
        ("jax", [*python, HERE / "peers/jax_train.py"], ["jit"] if images else ["jit", "scan"]),
        ("tinygrad", [*python, HERE / "peers/tinygrad_train.py"], ["jit"]),
    ]
    if work not in RESNET_UNITS:
        found.append(("candle", [rust_peer("candle")], ["cpu"]))
        found.append(("burn", [rust_peer("burn")], ["flex", "ndarray"]))
    return found


def rust_peer(name):
    """The program of a peer that setup.sh built in a workspace of its own."""
    targets = os.environ.get("PEERS_TARGET_DIR")
    return (pathlib.Path(targets, name) if targets else HERE / f"peers/{name}/target") / f"release/{name}-peer"


def foreign_load(seconds=0.5):
    """The share of all processors that was busy while this program slept."""

    def read():
        fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]

    total, idle = read()
    time.sleep(seconds)
    total_after, idle_after = read()
    return 1 - (idle_after - idle) / max(1, total_after - total)


def calibration():
    """GFLOP/s of NumPy's product of 1024³, the best of five."""
    a = numpy.ones((1024, 1024), numpy.float32)
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - begin)
    return 2 * 1024**3 / best * 1e-9


class Watch:
    """Notices that the machine is busy with something else."""

    def __init__(self):
        self.best = calibration()
        self.pairs, self.disturbed = 0, 0

    def look(self):
        """A description of the machine now, and whether it is busy."""
        busy, speed = foreign_load(), calibration()
        self.best = max(self.best, speed)
        disturbed = busy > BUSY_SHARE or speed < SLOW_SHARE * self.best
        self.pairs += 1
        self.disturbed += disturbed
        load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
        mark = "BUSY" if disturbed else "quiet"
        return f"{mark}: load average {load}; others took {busy:.0%}; product {speed:.0f} GFLOP/s", disturbed


def run_peer(program, work, mode, args, photos):
    """One run of a peer: its result, or None and why there is none."""
    name = work.split()[0]
    command = [*map(str, program), "--work", name, "--mode", mode, "--threads", str(args.threads)]
    if name in WORKS:
        command += ["--share", str(args.share)]
    if name == "W5":
        command += ["--size", work.split()[1]]
    if name == "W7":
        command += ["--folder", str(photos), "--epochs", work.split()[1]]
    if args.gpu:
        command += ["--device", "cuda"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    results = report.parse_lines(done.stdout)
    if done.returncode != 0 or len(results) != 1:
        return None, f"status {done.returncode}: {done.stderr.strip()[-400:]}"
    return results[0], None


def machine():
    """What the figures were measured on."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    names = [line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")]
    vectors = [name for name in ("avx2", "avx512f", "amx_tile") if f" {name} " in info.replace("\n", " \n")]
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 2**20
    processor = f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} processors"
    return f"{processor} ({', '.join(vectors)}), {memory:.0f} GiB, {platform.system()} {platform.release()}"


def works_of(names):
    """Works with their sizes: W5 is two products, W7 the first epoch and five."""
    for name in names:
        if name == "W5":
            yield from (f"W5 {size}" for size in PRODUCTS)
        elif name == "W7":
            yield from ("W7 1", "W7 5")
        else:
            yield name


def our_speed(ours, work, mode, photos, args):
    """The speed of nnoptc, on a graphics card in the precision that a mode of the peer has."""
    if not args.gpu:
        return ours.speed(work, photos)
    if work.startswith("W5"):
        return ours.product_on_gpu(int(work.split()[1]), graphics.operands(mode))
    return ours.speed(work, precision=graphics.precision(mode))


def run_rounds(args, watch, folder):
    """Runs both sides in turn: the pairs, and the version of each peer. A peer that fails is left out and said."""
    device = args.gpu or ("llvmpipe" if args.lavapipe else "cpu")
    ours = Nnoptc(args.nnoptc, folder, args.threads, device, kernels=args.kernels)
    photos = make_photographs(folder / "photographs") if "W7" in args.work else None
    names = args.work.split(",")
    turns = [
        (work, turn, peer, program, mode)
        for work in (graphics.works_of(names) if args.gpu else works_of(names))
        for turn in range(args.rounds)
        for peer, program, modes in peers(work, args)
        for mode in modes
        if peer in args.peer.split(",") and args.mode in (None, mode)
    ]
    pairs, versions, missing = [], {}, set()
    for work, turn, peer, program, mode in turns:
        if (work, peer, mode) in missing:
            continue
        state, disturbed = watch.look()
        mine = our_speed(ours, work, mode, photos, args)
        result, problem = run_peer(program, work, mode, args, photos)
        if problem:
            missing.add((work, peer, mode))
            print(f"{work}: {peer} {mode} is left out: {problem}", file=sys.stderr, flush=True)
            continue
        theirs = result["value"]
        versions[result["peer"]] = result["version"]
        pairs.append({"work": work, "peer": result["peer"], "mode": mode, "ours": mine, "theirs": theirs})
        if args.results:
            with open(args.results, "a") as out:
                print(json.dumps({**pairs[-1], "round": turn, "disturbed": disturbed}), file=out)
        said = f"nnoptc {mine:,.0f}, {peer} {mode} {theirs:,.0f} {report.unit(work)}, ratio {mine / theirs:.2f}"
        print(f"{work} round {turn + 1}: {said} [{state}]", file=sys.stderr, flush=True)
    return pairs, versions


def arguments(given=None):
    """The command line."""
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--nnoptc", required=True, help="the binary")
    args.add_argument("--kernels", help="the benchmark cpu_kernels (gpu_products with --gpu), built before; W5 builds it otherwise")
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--work", help="W1,W4 for these only")
    args.add_argument("--peer", default="torch,jax,tinygrad,candle,burn,meganeura")
    where = args.add_mutually_exclusive_group()
    where.add_argument("--lavapipe", metavar="ICD", help="compare through Vulkan on this driver")
    where.add_argument("--gpu", metavar="NAME", help="compare on the graphics card of this name")
    args.add_argument("--mode", help="only this mode of each peer")
    args.add_argument("--share", type=float, default=1.0, help="of the steps of an epoch that peers take")
    args.add_argument("--timeout", type=float, default=900, help="seconds that one run of a peer may take")
    args.add_argument("--results", help="append each pair to this file as JSON")
    args.add_argument("--write", help="write the table between the markers of this Markdown file")
    args = args.parse_args(given)
    usual = graphics.WORKS if args.gpu else "W1,W2,W4" if args.lavapipe else "W1,W2,W3a,W3b,W4,W5,W6,W7"
    args.work = args.work or usual
    return args


def main():
    args = arguments()
    if args.lavapipe:
        # All sides have this adapter only; lavapipe starts so many threads.
        os.environ |= {"VK_ICD_FILENAMES": args.lavapipe, "LP_NUM_THREADS": str(args.threads)}
    watch = Watch()
    with tempfile.TemporaryDirectory() as temporary:
        pairs, versions = run_rounds(args, watch, pathlib.Path(temporary))
    rows = report.summarize(pairs)
    peers_shown = ", ".join(f"{peer} {version}" for peer, version in sorted(versions.items()))
    quiet = f"{watch.pairs - watch.disturbed} of {watch.pairs} pairs on a quiet machine"
    where = f"{graphics.machine()}; {time.strftime('%d %B %Y')}. {machine()}" if args.gpu else machine()
    about = f"{where}. {args.threads} threads. {peers_shown}. Medians of {args.rounds} pairs; {quiet}."
    text = "\n\n".join([about, report.fastest_table(rows), report.comparison_table(rows)])
    print(text)
    if args.write:
        report.write_section(args.write, "gpu" if args.gpu else "lavapipe" if args.lavapipe else "comparison", text)


if __name__ == "__main__":
    main()
