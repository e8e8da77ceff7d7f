#!/bin/sh
# Installs the peers that compare.py runs nnoptc against: PyTorch, torchvision, JAX and tinygrad into a Python environment,
# and, where they are named, the Rust peers, each built in a workspace of its own.
# usage: setup.sh VENV_DIR [candle] [burn] [burn-wgpu]
# needs python3 3.11, gcc, readelf; clang for tinygrad; cargo for the Rust peers. Burn takes half an hour on two cores.
set -eu
[ $# -ge 1 ] || { echo "usage: setup.sh VENV_DIR [candle] [burn] [burn-wgpu]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
shift

[ -x "$venv/bin/python" ] || sh "$here/../tests/oracle/setup.sh" "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check -q install"
$pip --no-deps torchvision==0.29.2 tinygrad==0.14.0
$pip pillow jax==0.10.2 jaxlib==0.10.2

for peer in "$@"; do
    features=
    case $peer in
        candle) folder=candle ;;
        burn) folder=burn features="--features ndarray" ;;
        burn-wgpu) folder=burn features="--features ndarray,wgpu" ;;
        *) echo "setup.sh: no peer \`$peer\`" >&2; exit 2 ;;
    esac
    # shellcheck disable=SC2086
    (cd "$here/peers/$folder" && CARGO_TARGET_DIR=target cargo build --release --locked $features)
done
