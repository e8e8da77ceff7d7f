"""What all peers of the harness share: their arguments, and the line that they print."""

import argparse
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


def arguments(document):
    """The arguments of a peer, read from the command line."""
    args = argparse.ArgumentParser(description=document, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--work", required=True)
    args.add_argument("--mode", required=True)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--share", type=float, default=1.0, help="of the steps of an epoch, for slow peers")
    args.add_argument("--size", type=int, help="of the matrices, for W5")
    args.add_argument("--folder", help="of photographs, for W7")
    args.add_argument("--epochs", type=int, default=1, help="for W7")
    args.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="for PyTorch")
    return args.parse_args()


def report(peer, version, args, value, **more):
    """Prints a result; `value` is a speed, more is better."""
    line = {"peer": peer, "version": version, "work": args.work, "mode": args.mode, "value": value}
    print(json.dumps({**line, **more}), flush=True)


def training_speed(work, steps, epoch):
    """The median samples/s of epochs after one of warm-up; `epoch` trains once and returns the mean loss."""
    begin = time.perf_counter()
    losses = [epoch()]
    warmup = time.perf_counter() - begin
    rates = []
    for _ in range(max(3, work["epochs"] // 2)):
        begin = time.perf_counter()
        losses.append(epoch())
        rates.append(steps * work["batch"] / (time.perf_counter() - begin))
    return statistics.median(rates), {"first_epoch_s": warmup, "first_loss": losses[0], "last_loss": losses[-1]}
