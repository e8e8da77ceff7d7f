#!/bin/sh
# Installs the peers that compare.py runs nnoptc against: PyTorch, torchvision, JAX and tinygrad into a Python environment,
# and, where they are named, Burn, candle and meganeura, each built in a workspace of its own (Burn in half an hour).
# usage: setup.sh VENV_DIR [burn] [candle] [meganeura]
# needs python3 3.11, gcc, readelf; clang for tinygrad; cargo for the peers in Rust, which are built in
# $PEERS_TARGET_DIR/PEER where that is set, else in bench/peers/PEER/target.
set -eu
[ $# -ge 1 ] || { echo "usage: setup.sh VENV_DIR [burn] [candle] [meganeura]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
venv=$1
shift

[ -x "$venv/bin/python" ] || sh "$here/../tests/oracle/setup.sh" "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check -q install"
$pip --no-deps torchvision==0.29.2 tinygrad==0.14.0
$pip pillow jax==0.10.2 jaxlib==0.10.2

for peer in "$@"; do
    case $peer in burn | candle | meganeura) ;; *) echo "setup.sh: no peer $peer" >&2; exit 2 ;; esac
    target=${PEERS_TARGET_DIR:+$PEERS_TARGET_DIR/$peer}
    (cd "$here/peers/$peer" && CARGO_TARGET_DIR=${target:-target} cargo build --release --locked)
done
