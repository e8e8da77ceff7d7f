#!/usr/bin/env python3
"""W5: GFLOP/s of PyTorch's product of two f32 matrices of --size rows and columns, the median of 0.5 s."""

import statistics
import time

import torch

from common import arguments, report


def main():
    args = arguments(__doc__)
    torch.set_num_threads(args.threads)
    a, b = torch.randn(args.size, args.size), torch.randn(args.size, args.size)
    out = torch.empty(args.size, args.size)
    torch.mm(a, b, out=out)
    times, begin = [], time.perf_counter()
    while len(times) < 20 or time.perf_counter() - begin < 0.5:
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        times.append(time.perf_counter() - start)
    report("PyTorch", torch.__version__, args, 2 * args.size**3 / statistics.median(times) * 1e-9)


main()
