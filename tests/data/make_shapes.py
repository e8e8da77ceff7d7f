#!/usr/bin/env python3
"""Writes the small files beside it that the tests of the readers use: shapes/{circle,square}/*.png and npy/*.

    tests/data/make_shapes.py

Standard library only, one seed, and only `random()` of the generator, whose sequence Python promises to keep: the same
bytes everywhere (for the compressed member of xy.npz: with the same zlib).
"""

import io
import math
import random
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZE = 12
PER_CLASS = 20
ROWS, FEATURES, CLASSES = 40, 5, 3


def between(rng, low, high):
    return low + (high - low) * rng.random()


def draw(rng, inside):
    """A bright shape on a dark ground, both with a little noise; `inside` is told the distances from the centre."""
    radius = between(rng, 2.5, 4.5)
    x0, y0 = (between(rng, radius, SIZE - 1 - radius) for _ in range(2))
    ground, shape = between(rng, 10, 60), between(rng, 150, 240)
    pixels = bytearray()
    for y in range(SIZE):
        for x in range(SIZE):
            level = shape if inside(abs(x - x0), abs(y - y0), radius) else ground
            pixels.append(round(min(255, max(0, level + between(rng, -10, 10)))))
    return bytes(pixels)


def in_circle(dx, dy, radius):
    return math.hypot(dx, dy) <= radius


def in_square(dx, dy, radius):
    return max(dx, dy) <= radius * 0.9


def png(pixels):
    """8-bit grayscale, no filter. Stored, not compressed: zlib builds differ in how they compress."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    lines = b"".join(b"\0" + pixels[y * SIZE:(y + 1) * SIZE] for y in range(SIZE))
    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 0)) + chunk(b"IEND", b"")


def npy(dtype, shape, body):
    """Version 1.0 of the format: magic, header length, a Python literal padded to a multiple of 64, the elements."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode("ascii") + body


def main():
    rng = random.Random(12)
    for name, inside in (("circle", in_circle), ("square", in_square)):
        folder = HERE / "shapes" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for i in range(PER_CLASS):
            (folder / f"{name}_{i:02}.png").write_bytes(png(draw(rng, inside)))

    # The class of a row is the largest of three fixed linear scores, so a linear layer can learn it.
    weights = [[between(rng, -1, 1) for _ in range(FEATURES)] for _ in range(CLASSES)]
    x = [[between(rng, -2, 2) for _ in range(FEATURES)] for _ in range(ROWS)]
    scores = [[sum(w * v for w, v in zip(weight, row)) for weight in weights] for row in x]
    y = [score.index(max(score)) for score in scores]
    x_bytes = npy("<f4", (ROWS, FEATURES), struct.pack(f"<{ROWS * FEATURES}f", *(v for row in x for v in row)))
    y_bytes = npy("<i8", (ROWS,), struct.pack(f"<{ROWS}q", *y))

    # As numpy.savez writes x and numpy.savez_compressed writes y: readers must take both.
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as npz:
        for name, body, method in (("x", x_bytes, zipfile.ZIP_STORED), ("y", y_bytes, zipfile.ZIP_DEFLATED)):
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = method
            npz.writestr(member, body)

    folder = HERE / "npy"
    folder.mkdir(exist_ok=True)
    (folder / "x.npy").write_bytes(x_bytes)
    (folder / "y.npy").write_bytes(y_bytes)
    (folder / "xy.npz").write_bytes(archive.getvalue())


if __name__ == "__main__":
    main()
