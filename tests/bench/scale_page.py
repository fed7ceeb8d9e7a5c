#!/usr/bin/env python3
"""The results of scale.py as a table of markdown and as pictures.

Usage: scale_page.py [--paste PAGE] [--plots FOLDER] [FILE]     (default: tests/bench/results/scale.json)

Without options the table is printed. --paste puts it into PAGE, between its two `<!-- scale -->` lines;
--plots draws with gnuplot into FOLDER/scale-*.svg.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

from page import paste

DEFAULT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results", "scale.json")
MARK = "<!-- scale -->"
SVG = "set terminal svg size 640,360 dynamic font 'sans-serif,11' background '#ffffff'"


def mebibytes(value):
    return f"{value / (1 << 20):,.0f}"


def millions(value):
    return f"{value / 1e6:g} M" if value >= 1e6 else f"{value / 1e3:g} k"


def cost(row):
    """Microseconds of processor time for one append, apply and flush."""
    return (row["apply_cpu_ns"] + row["flush_cpu_ns"]) / 1000


def series(rows):
    """Rows of the same store that grew, by what it is."""
    found = {}
    for row in rows:
        found.setdefault((row["ids"], row["order"], row["streams"]), []).append(row)
    for rows_of_one in found.values():
        rows_of_one.sort(key=lambda row: row["events"])
    return dict(sorted(found.items(), key=lambda item: (item[0][1] != "window", item[0][0] != "v7", item[0][2])))


def markdown_table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def store_rows(rows):
    for (ids, order, streams), sizes in series(rows).items():
        for row in sizes:
            yield (
                ids,
                millions(streams) + (" (uniform)" if order == "uniform" else ""),
                millions(row["events"]),
                f"{row['events_per_second']:,}",
                f"{row['apply_cpu_ns'] / 1000:.2f} + {row['flush_cpu_ns'] / 1000:.2f}",
                f"{cost(row) * 1000 / row['reference_cpu_ns']:.2f}",
                f"{row['apply_p99_us'] / 1000:.1f}",
                f"{row['flush_p50_ms']:,.0f} / {row['flush_max_ms']:,.0f}",
                f"{row['written_per_event']:,.0f}",
                f"{row['stored_per_event']:,.0f}",
                mebibytes(row["private_bytes"]),
                mebibytes(row["mapped_bytes"]),
            )


STORE_HEAD = (
    "ids", "streams", "events", "events/s", "µs of apply + flush", "ratio", "apply p99 ms", "flush p50 / max ms",
    "bytes written", "bytes stored", "private MiB", "mapped MiB",
)  # fmt: skip


def cluster_rows(rows):
    for row in rows:
        yield (
            millions(row["size"]),
            f"{row['head']:,}",
            row["row"],
            f"{row['events_per_second']:,.0f}",
            f"{row['p50_ms']:.2f}",
            f"{row['p99_ms']:.1f}",
            mebibytes(row["private_bytes"]),
            mebibytes(row["mapped_bytes"]),
        )


CLUSTER_HEAD = ("size", "head", "row", "events/s", "p50 ms", "p99 ms", "private MiB", "mapped MiB")


def restart_rows(rows):
    for row in rows:
        yield (
            millions(row["size"]),
            f"{row['head']:,}",
            {"stop": "SIGTERM", "kill": "SIGKILL"}[row["how"]],
            f"{row['median_s']:.2f}",
            f"{row['max_s']:.2f}",
            f"{row['processor_s']:.2f}",
        )


RESTART_HEAD = ("size", "head", "ended by", "median s", "max s", "processor s")


def page(data):
    machine = data["machine"]
    loads = [row["load"] for part in ("store", "cluster", "restart") for row in data[part] if row["load"]]
    yield (
        f"{machine['processors']} processors ({machine['model']}), {machine['memory_bytes'] / (1 << 30):.0f} GiB, "
        f"Linux {machine['kernel']}; load meanwhile {min(loads):.1f} to {max(loads):.1f}."
    )
    for part, head, rows in (
        ("store", STORE_HEAD, store_rows), ("cluster", CLUSTER_HEAD, cluster_rows),
        ("restart", RESTART_HEAD, restart_rows),
    ):  # fmt: skip
        if data[part]:
            yield ""
            yield from markdown_table(head, rows(data[part]))


# ---- pictures ----


def draw(folder, name, title, unit, lines):
    """lines: (title, [(x, y)…]); both axes begin at what is there, x is logarithmic."""
    data, parts = [], []
    for number, (label, points) in enumerate(lines):
        data.append(f"$line{number} << END\n" + "\n".join(f"{x} {y}" for x, y in points) + "\nEND")
        dashes = "dt 2" if "v4" in label else "dt 1"
        parts.append(f"$line{number} with linespoints lw 2 pt 7 ps 0.5 {dashes} title '{label}'")
    script = [SVG, f"set output '{os.path.join(folder, name)}'", f"set title '{title}'", *data]
    script += ["set logscale x", "set xlabel 'events in the store'", f"set ylabel '{unit}'", "set yrange [0:*]"]
    script += ["set format x '%.0s%c'", "set grid", "set key outside right", "plot " + ", ".join(parts)]
    done = subprocess.run(["gnuplot"], input="\n".join(script), capture_output=True, text=True, check=False)
    if done.returncode != 0 or done.stderr:
        sys.exit(f"scale_page.py: gnuplot: {done.stderr.strip()}")


def store_lines(rows, value):
    for (ids, order, streams), sizes in series(rows).items():
        label = f"{ids}, {millions(streams)} streams" + (", uniform" if order == "uniform" else "")
        yield label, [(row["events"], value(row)) for row in sizes]


def cluster_lines(rows, value):
    names = dict.fromkeys(row["row"] for row in rows)
    for name in names:
        yield name, [(row["head"], value(row)) for row in rows if row["row"] == name]


def draw_all(data, folder):
    if not shutil.which("gnuplot"):
        sys.exit("scale_page.py: gnuplot is missing: apt-get install gnuplot-nox")
    stores = data["store"]
    if stores:
        draw(folder, "scale-cost.svg", "Processor time of an append in the store", "µs, apply + flush",
             store_lines(stores, cost))
        draw(folder, "scale-written.svg", "Written to the tables for an event", "bytes",
             store_lines(stores, lambda row: row["written_per_event"]))
        draw(folder, "scale-memory.svg", "Private memory of the store", "MiB",
             store_lines(stores, lambda row: row["private_bytes"] / (1 << 20)))
    if data["cluster"]:
        draw(folder, "scale-cluster.svg", "Appends to three nodes", "events/s",
             cluster_lines(data["cluster"], lambda row: row["events_per_second"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paste", metavar="PAGE")
    parser.add_argument("--plots", metavar="FOLDER")
    parser.add_argument("file", nargs="?", default=DEFAULT)
    options = parser.parse_args()
    with open(options.file, encoding="utf-8") as file:
        data = json.load(file)
    text = "\n".join(page(data))
    if options.plots:
        draw_all(data, options.plots)
    if options.paste:
        paste(options.paste, MARK, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
