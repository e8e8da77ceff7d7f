"""Medians, paired ratios and tables from what compare.py measured."""

import json
import pathlib
import statistics

UNITS = {"W5": "GFLOP/s", "W6": "images/s", "W7": "images/s"}


def unit(work):
    return UNITS.get(work.split("-")[0].split(" ")[0], "samples/s")


def parse_lines(text):
    """The results among the lines that a peer printed; other lines are the libraries' own."""
    results = []
    for line in text.splitlines():
        if line.startswith("{"):
            results.append(json.loads(line))
    return results


def summarize(pairs):
    """Rows from pairs `{"work", "peer", "mode", "ours", "theirs"}`: one for each work, peer and mode, in order."""
    groups = {}
    for pair in pairs:
        groups.setdefault((pair["work"], pair["peer"], pair["mode"]), []).append(pair)
    rows = []
    for (work, peer, mode), group in groups.items():
        ratios = sorted(pair["ours"] / pair["theirs"] for pair in group)
        rows.append(
            {
                "work": work,
                "peer": peer,
                "mode": mode,
                "ours": statistics.median(pair["ours"] for pair in group),
                "theirs": statistics.median(pair["theirs"] for pair in group),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
            }
        )
    return rows


def exponent(points):
    """The `b` of `cost = a * size^b` that fits best, by least squares of logarithms."""
    from math import log

    logs = [(log(size), log(cost)) for size, cost in points]
    mean_x = statistics.mean(x for x, _ in logs)
    mean_y = statistics.mean(y for _, y in logs)
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def number(value):
    """Three digits or all before the point, with separators."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def comparison_table(rows):
    """Markdown: a row for each work, peer and mode, with the spread of the ratios."""
    lines = ["| work | peer | mode | nnoptc | peer's | unit | nnoptc / peer | lowest, highest |"]
    lines.append("| --- | --- | --- | ---: | ---: | --- | ---: | --- |")
    for row in rows:
        lines.append(
            f"| {row['work']} | {row['peer']} | {row['mode'].replace('+', ' + ')} | {number(row['ours'])} "
            f"| {number(row['theirs'])} | {unit(row['work'])} | **{row['ratio']:.2f}** "
            f"| {row['ratios'][0]:.2f}, {row['ratios'][-1]:.2f} |"
        )
    return "\n".join(lines)


def fastest_table(rows):
    """Markdown: for each work, the peer and mode with the lowest ratio."""
    lines = ["| work | fastest peer | nnoptc / it |", "| --- | --- | ---: |"]
    for work in dict.fromkeys(row["work"] for row in rows):
        row = min((row for row in rows if row["work"] == work), key=lambda row: row["ratio"])
        lines.append(f"| {work} | {row['peer']}, {row['mode'].replace('+', ' + ')} | **{row['ratio']:.2f}** |")
    return "\n".join(lines)


def write_section(path, name, text):
    """Replaces what stands between `<!-- NAME -->` and `<!-- end of NAME -->` in a Markdown file."""
    path = pathlib.Path(path)
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = path.read_text()
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        raise SystemExit(f"{path} needs `{begin}` and `{end}`, once each and in this order")
    head, tail = whole.split(begin)[0], whole.split(end)[1]
    path.write_text(f"{head}{begin}\n\n{text.strip()}\n\n{end}{tail}")
