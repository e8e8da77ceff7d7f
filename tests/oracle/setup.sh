#!/bin/sh
# Make a Python environment with PyTorch (CPU part only) for freeze.py, and torchvision for freeze_images.py.
# usage: setup.sh VENV_DIR        needs python3 3.11 or newer, gcc, readelf
set -eu
[ $# -eq 1 ] || { echo "usage: setup.sh VENV_DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)

python3 -m venv "$1"
pip="$1/bin/python -m pip --disable-pip-version-check -q install"
# The libraries that torch needs for a GPU are left out (--no-deps); the two
# small ones that its CPU part opens are real, make_stubs.py imitates the rest.
$pip --no-deps torch==2.15.0 torchvision==0.29.2 nvidia-cuda-runtime nvidia-cuda-cupti
$pip numpy pillow typing_extensions sympy networkx jinja2 fsspec filelock
"$1/bin/python" "$here/make_stubs.py" \
    "$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"
"$1/bin/python" -c 'import torch; print("torch", torch.__version__)'
