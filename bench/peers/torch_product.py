#!/usr/bin/env python3
"""W5: GFLOP/s of PyTorch's product of two matrices of --size rows and columns, the median of 0.5 s.

On the processor f32; with `--device cuda` the mode is `f32`, `tf32` (factors rounded to 10 bits) or `f16`, through cuBLAS.
"""

import statistics
import time

import torch

from common import arguments, report


def main():
    args = arguments(__doc__)
    torch.set_num_threads(args.threads)
    torch.backends.cuda.matmul.allow_tf32 = args.mode == "tf32"
    kind = {"dtype": torch.float16 if args.mode == "f16" else torch.float32, "device": args.device}
    a, b = torch.randn(args.size, args.size, **kind), torch.randn(args.size, args.size, **kind)
    out = torch.empty(args.size, args.size, **kind)
    # A GPU is given several together, as on nnoptc's side, where one is lost in the time that a wait takes.
    together = 1 if args.device == "cpu" else 20

    def products():
        for _ in range(together):
            torch.mm(a, b, out=out)
        if args.device == "cuda":
            torch.cuda.synchronize()

    products()
    times, begin = [], time.perf_counter()
    while len(times) < 20 or time.perf_counter() - begin < 0.5:
        start = time.perf_counter()
        products()
        times.append((time.perf_counter() - start) / together)
    report("PyTorch", torch.__version__, args, 2 * args.size**3 / statistics.median(times) * 1e-9)


main()
