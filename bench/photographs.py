"""Makes a folder of photographs up: JPEG files of the sizes and the detail that photographs of the web have."""

import io
import pathlib

import numpy
from PIL import Image

from works import PHOTOS

# Width and height; most photographs of ImageNet have these.
SIZES = [(500, 375), (500, 375), (500, 375), (375, 500), (500, 333), (640, 480)]


def make_photographs(folder):
    """Writes the photographs in two classes and returns the folder. The same files each time."""
    folder = pathlib.Path(folder)
    random = numpy.random.default_rng(1)
    for idx in range(PHOTOS["rows"]):
        width, height = SIZES[idx % len(SIZES)]
        path = folder / ("cat", "dog")[idx % 2] / f"{idx:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photograph(random, width, height))
    return folder


def photograph(random, width, height):
    """Noise of five scales, stronger where coarser, as the spectra of photographs are."""
    picture = numpy.zeros((height, width, 3))
    for scale, strength in ((2, 60), (6, 40), (20, 25), (60, 14), (180, 8)):
        coarse = random.integers(0, 256, (max(2, scale * height // width), scale, 3), dtype=numpy.uint8)
        fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        picture += (numpy.asarray(fine, numpy.float64) - 128) / 64 * strength
    picture = numpy.clip(picture + 128 + random.normal(0, 4, picture.shape), 0, 255).astype(numpy.uint8)
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=88)
    return data.getvalue()
