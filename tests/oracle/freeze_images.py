#!/usr/bin/env python3
"""Freeze torchvision's transforms of images as golden files for the nnoptc test suite.

usage: freeze_images.py [OUTPUT_DIR]        default: ../golden next to this folder
Run it with the Python of the environment that setup.sh makes.

The random numbers are Philox's, drawn as `nnoptc` draws them; torchvision is given
the angles, moves and factors that follow from them. It has two conventions for what
lies at an image's edge. For PIL images, a point within the image takes the nearest
pixels that there are, and a point outside is black. For tensors, pixels beyond the
edge count as black already when it interpolates. Ours is the first; this script
asserts that both agree where all four neighbours are in the image.
"""
import math
import pathlib
import sys

import numpy
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as F
from torchvision.transforms.v2.functional import InterpolationMode

from freeze import call_text, frozen, philox, random_tensor, write

SEED, STEP, ROWS = [42, 7], 11, [4, 0, 2, 1, 3, 2]
SIZE = [7, 6]
IMAGES = random_tensor("images", [5, 2, *SIZE], 0, 2)


class Draws:
    """Uniform numbers: one stream for each use, in the order of use."""

    def __init__(self):
        self.stream = 0

    def __call__(self, low, high):
        self.stream += 1
        words = [philox([row, STEP, self.stream, 0], SEED)[0] for row in ROWS]
        return [low + (high - low) * ((word >> 8) / 2**24) for word in words]

    def below(self, n):
        return [min(math.floor(u), n - 1) for u in self(0, n)]


def pil(plane, transform):
    return torch.from_numpy(numpy.array(transform(Image.fromarray(plane.numpy().astype("f"), "F"))))


def geometric(image, transform, mode):
    """A transform by torchvision's rules for PIL images, compared with those for tensors."""
    result = torch.stack([pil(plane, lambda p: transform(p, mode)) for plane in image]).double()
    tensor = transform(image, mode)
    whole = transform(torch.ones_like(image), InterpolationMode.BILINEAR) > 1 - 1e-9
    assert whole.any()
    assert torch.allclose(result[whole], tensor[whole], atol=1e-5), (result - tensor) * whole
    return result


def flip(draws, p):
    return [F.horizontal_flip if u < p else (lambda image: image) for u in draws(0, 1)]


def crop(draws, size, padding, before=SIZE):
    starts = [draws.below(before[axis] + 2 * padding - size[axis] + 1) for axis in (0, 1)]
    return [lambda image, y=y, x=x: F.crop(F.pad(image, [padding] * 4), y, x, *size) for y, x in zip(*starts)]


def rotation(draws, low, high, mode):
    # The stream's numbers are clockwise angles.
    return [lambda image, angle=-angle: geometric(image, lambda i, m: F.rotate(i, angle, m), mode)
            for angle in draws(-high, -low)]


def affine(draws, low, high, mode, translate=None, scale=None, shear=None):
    count = len(ROWS)
    angles = draws(low, high)
    xs = ys = [0] * count
    if translate:
        xs = [math.floor(u + 0.5) for u in draws(-translate[0] * SIZE[1], translate[0] * SIZE[1])]
        ys = [math.floor(u + 0.5) for u in draws(-translate[1] * SIZE[0], translate[1] * SIZE[0])]
    scales = draws(*scale) if scale else [1.0] * count
    shears = draws(*shear) if shear else [0.0] * count

    def one(angle, x, y, factor, slant):
        return lambda image: geometric(
            image, lambda i, m: F.affine(i, angle, [x, y], factor, [slant, 0.0], m), mode)
    return [one(*given) for given in zip(angles, xs, ys, scales, shears)]


def resize_cases():
    """Photographs in small, with noise: bytes before and after an antialiased resize of torchvision."""
    cases = []
    for channels, size, to in [(3, [13, 17], [5, 6]), (1, [12, 9], [5, 4]), (3, [6, 5], [11, 8]), (1, [5, 16], [9, 3])]:
        shape = [channels, *size]
        noise = random_tensor(f"resize {shape}", shape, 0, 90)
        rows, columns = (torch.arange(length, dtype=torch.float64) for length in size)
        slope = 160 * torch.outer(rows + 1, columns + 1) / (size[0] * size[1])
        pixels = (slope + noise).to(torch.uint8)
        resized = F.resize(pixels, to, InterpolationMode.BILINEAR, antialias=True)
        before, after = pixels.flatten().tolist(), resized.flatten().tolist()
        cases.append({"shape": shape, "pixels": before, "to": to, "resized": after})
    return cases


def main():
    here = pathlib.Path(__file__).resolve().parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "golden"
    nearest, bilinear = InterpolationMode.NEAREST, InterpolationMode.BILINEAR
    cases = []

    def add(calls, *transforms):
        images = [IMAGES[row] for row in ROWS]
        for each in transforms:
            images = [transform(image) for transform, image in zip(each, images)]
        cases.append({"calls": calls, "pixels": frozen(torch.stack(images))})

    add([call_text("horizontal_flip")], flip(Draws(), 0.5))
    add([call_text("horizontal_flip", 1)], flip(Draws(), 1.0))
    add([call_text("random_crop", [4, 5])], crop(Draws(), [4, 5], 0))
    add([call_text("random_crop", [7, 6], padding=2)], crop(Draws(), [7, 6], 2))
    draws = Draws()                               # streams count from the last transform
    last = crop(draws, [5, 5], 1)
    add([call_text("horizontal_flip", 0.6), call_text("random_crop", 5, padding=1)], flip(draws, 0.6), last)
    for mode, word in ((nearest, "nearest"), (bilinear, "bilinear")):
        named = {"interpolation": word}
        # A range of one angle is that angle.
        for angle in ("15..15", "-33..-33", "100..100"):
            low, high = map(float, angle.split(".."))
            add([call_text("random_rotation", angle, **named)], rotation(Draws(), low, high, mode))
        add([call_text("random_rotation", 40, **named)], rotation(Draws(), -40, 40, mode))
        add([call_text("random_affine", 0, translate=[0.4, 0.3], **named)],
            affine(Draws(), 0, 0, mode, [0.4, 0.3]))
        add([call_text("random_affine", 0, scale="0.7..1.4", **named)],
            affine(Draws(), 0, 0, mode, scale=(0.7, 1.4)))
        add([call_text("random_affine", 0, shear="5..20", **named)],
            affine(Draws(), 0, 0, mode, shear=(5, 20)))
        add([call_text("random_affine", "-10..30", translate=[0.2, 0.2], scale="0.8..1.2", shear=12, **named)],
            affine(Draws(), -10, 30, mode, [0.2, 0.2], (0.8, 1.2), (-12, 12)))
    write(out / "images.json", {
        "about": "`images` transformed by torchvision as it transforms PIL images; the random numbers of "
                 "`seed` and `step` are drawn for each of `rows`.",
        "seed": SEED, "step": STEP, "rows": ROWS, "images": frozen(IMAGES), "cases": cases})
    write(out / "resize.json", resize_cases())


if __name__ == "__main__":
    main()
