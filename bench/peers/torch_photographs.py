#!/usr/bin/env python3
"""W7: images/s of PyTorch's DataLoader with two workers over a folder of JPEG files, for --epochs from the first.

Photographs are resized to one size with antialiasing, and normalized. Time runs from the making of the iterator, with
the start of the workers and without imports. Modes: `PIL` decodes as `ImageFolder` does; `decode_jpeg` is torchvision's.
"""

import time

import torch
import torchvision
from torchvision import datasets, io
from torchvision.transforms import v2

from common import arguments, report
from works import PHOTOS


def decode(path):
    return io.decode_image(path, io.ImageReadMode.RGB)


def main():
    args = arguments(__doc__)
    torch.set_num_threads(args.threads)
    size = (PHOTOS["size"], PHOTOS["size"])
    steps = [v2.ToImage()] if args.mode == "PIL" else []
    first = [v2.Resize(size, antialias=True)]
    last = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])]
    transform = v2.Compose([*first, *steps, *last])
    load = datasets.folder.default_loader if args.mode == "PIL" else decode
    data = datasets.ImageFolder(args.folder, transform, loader=load)
    loader = torch.utils.data.DataLoader(data, PHOTOS["batch"], shuffle=True, num_workers=2, persistent_workers=True)
    begin, count = time.perf_counter(), 0
    for _ in range(args.epochs):
        count += sum(len(images) for images, _ in loader)
    speed = count / (time.perf_counter() - begin)
    report("PyTorch", f"{torch.__version__}, torchvision {torchvision.__version__}", args, speed)


main()
