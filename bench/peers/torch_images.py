#!/usr/bin/env python3
"""W6: images/s of torchvision's transforms (v2) on u8 tensors in memory, batch by batch in a new order each epoch.

Modes: `one draw a sample` transforms each image of the gathered batch for itself, what training needs, and normalizes
the batch; `one draw a batch` gives all images of a batch the same crop, flip and angle: less work, and less use.
"""

import torch
import torchvision
from torchvision.transforms import v2

from common import arguments, report, training_speed
from works import IMAGES


def main():
    args = arguments(__doc__)
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    images = torch.randint(0, 256, (IMAGES["rows"], 3, 32, 32), dtype=torch.uint8)
    augment = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), v2.RandomRotation(10)])
    mean = std = [0.5, 0.5, 0.5]
    normalize = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    steps = max(1, int(IMAGES["rows"] // IMAGES["batch"] * args.share))

    def epoch():
        order = torch.randperm(IMAGES["rows"])
        total = torch.zeros(())
        for rows in order.split(IMAGES["batch"])[:steps]:
            batch = images[rows]
            if args.mode == "one draw a sample":
                batch = torch.stack([augment(image) for image in batch])
            else:
                batch = augment(batch)
            total += normalize(batch)[0, 0, 0, 0]
        return total.item()

    speed, _ = training_speed(IMAGES, steps, epoch)
    report("PyTorch", f"{torch.__version__}, torchvision {torchvision.__version__}", args, speed)


main()
