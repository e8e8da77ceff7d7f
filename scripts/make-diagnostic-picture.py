#!/usr/bin/env python3
"""Writes docs/diagnostic.svg: what `nnoptc check` says about a mistake, in the colours of a terminal.

    cargo build --release && python3 scripts/make-diagnostic-picture.py target/release/nnoptc
"""

import html
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLOURS = {"31": "#f47067", "32": "#8ddb8c", "33": "#e3b341", "34": "#6cb6ff", "35": "#dcbdfb", "36": "#76e3ea"}
WIDTH, LINE, MARGIN = 8.43, 19, 16


def spans(line):
    """The text of a line in parts of one style each."""
    style, parts = {}, []
    for code, text in re.findall(r"(?:\x1b\[([0-9;]*)m)?([^\x1b]*)", line):
        numbers = code.split(";") if code else []
        if "0" in numbers or code == "":
            style = {} if code == "0" else style
        for number in numbers:
            if number == "0":
                style = {}
            elif number == "1":
                style = {**style, "font-weight": "bold"}
            elif number in COLOURS:
                style = {**style, "fill": COLOURS[number]}
            elif number == "2":
                style = {**style, "opacity": "0.7"}
        if text:
            parts.append((style, text))
    return parts


def main():
    source = (ROOT / "examples/digits_cnn.nnopt").read_text()
    # The mistake: the image is flattened before the second convolution.
    source = source.replace("    conv2d(32,", "    flatten\n    conv2d(32,").replace("4\n    flatten\n", "4\n")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "cnn.nnopt"
        path.write_text(source.replace('"data/', f'"{ROOT}/examples/data/'))
        command = [sys.argv[1], "check", "cnn.nnopt", "--color", "always"]
        shown = subprocess.run(command, cwd=folder, capture_output=True, text=True).stderr
    lines = ["$ nnoptc check cnn.nnopt", *shown.rstrip().splitlines()]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
    width = max(map(len, plain)) * WIDTH + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" font-size="14" '
        'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace">',
        '<rect width="100%" height="100%" rx="8" fill="#22272e"/>',
    ]
    for row, line in enumerate(lines):
        column = 0
        for style, text in spans(line):
            attributes = " ".join(f'{name}="{value}"' for name, value in {"fill": "#d1d7e0", **style}.items())
            x, y = MARGIN + column * WIDTH, MARGIN + (row + 0.75) * LINE
            length = len(text) * WIDTH
            out.append(
                f'<text x="{x:.1f}" y="{y:.1f}" {attributes} xml:space="preserve" textLength="{length:.1f}">'
                f"{html.escape(text)}</text>"
            )
            column += len(text)
    out.append("</svg>")
    (ROOT / "docs/diagnostic.svg").write_text("\n".join(out) + "\n")


main()
