#!/usr/bin/env python3
"""Show a run of `make bench` beside the last one on the same machine, and keep it for the next.

    compare.py NEW.json LAST.json

NEW.json is what `annal bench --json` wrote, with what tests/bench/run.sh adds about the machine. A ratio
above 1 is better now, in both columns. Rows that differ by more than their own spread are marked with *.
"""

import json
import os
import sys

SAME_MACHINE = ("processors", "model", "memory", "file_system")
MARKED_FROM = 1.1  # below, it is noise whatever the spread says


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        sys.exit(f"compare.py: {path} is no JSON: {error}; remove it")


def ratio(better, worse):
    return better / worse if better and worse else None


def show(value, digits=0):
    return "" if not value else f"{value:,.{digits}f}"


def show_ratio(value, spread_percent):
    if value is None:
        return ""
    apart = max(value, 1 / value)
    marked = apart > max(MARKED_FROM, 1 + spread_percent / 100)
    return f"{value:.2f}{'*' if marked else ' '}"


def lines(new, last):
    before = {row["row"]: row for row in last["rows"]}
    for row in new["rows"]:
        old = before.get(row["row"])
        if old is None:
            yield (row["row"], "", show(row["events_per_second"]), "", "", show(row["p99_ms"], 2), "")
            continue
        spread = max(row["spread_percent"], old["spread_percent"])
        yield (
            row["row"],
            show(old["events_per_second"]),
            show(row["events_per_second"]),
            show_ratio(ratio(row["events_per_second"], old["events_per_second"]), spread),
            show(old["p99_ms"], 2),
            show(row["p99_ms"], 2),
            show_ratio(ratio(old["p99_ms"], row["p99_ms"]), spread),
        )


def table(new, last):
    head = ("ROW", "BEFORE/S", "NOW/S", "RATIO", "P99 BEFORE", "P99 NOW", "RATIO")
    rows = [head, *lines(new, last)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        yield "  ".join(cells).rstrip()


def is_same_machine(new, last):
    return all(new["machine"].get(name) == last["machine"].get(name) for name in SAME_MACHINE)


def keep(new, last, path):
    """Rows that were not run this time stay as they were."""
    if last is not None and is_same_machine(new, last):
        names = {row["row"] for row in new["rows"]}
        new = {**new, "rows": new["rows"] + [row for row in last["rows"] if row["row"] not in names]}
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(new, file, indent=1)
    os.replace(path + ".new", path)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    new, last = load(sys.argv[1]), load(sys.argv[2])
    if new is None:
        sys.exit(f"compare.py: there is no {sys.argv[1]}")
    print()
    if last is None:
        print("No run on this machine is kept yet: the next one is compared with this one.")
    elif not is_same_machine(new, last):
        print(f"The run that is kept is of another machine ({last['machine']['model']}): not compared.")
    else:
        print(
            f"Before: commit {last['machine']['commit']}, {last['machine']['when']}. A ratio above 1 is better "
            "now; * is more than the spread of the rows."
        )
        print("\n".join(table(new, last)))
    keep(new, last, sys.argv[2])


if __name__ == "__main__":
    main()
