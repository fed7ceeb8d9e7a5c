#!/usr/bin/env python3
"""The results of run.py as a page of markdown.

Usage: table.py [FILE]               print it       (default: tests/bench/results/peers.json)
       table.py --paste PAGE [FILE]  put it into PAGE, between its two `<!-- peers -->` lines

A ratio stands behind each figure of another store and says how many times better annal is: above 1,
annal is ahead, whether more or less is better in that row.
"""

import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from page import paste  # noqa: E402

DEFAULT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "results",
                       "peers.json")
MORE, LESS = "more", "less"


def count(value):
    return f"{value:,.0f}"


def milliseconds(value):
    return f"{value / 1e3:.2f}" if value < 1e5 else f"{value / 1e3:.0f}"


def seconds(value):
    return f"{value:.1f}"


def plain_ms(value):
    return f"{value:,.0f}"


# title, row, field, how it is written, which is better
LINES = [
    ("append, 1 in flight: p50 ms", "append-1", "p50_us", milliseconds, LESS),
    ("append, 1 in flight: p99 ms", "append-1", "p99_us", milliseconds, LESS),
    ("append, 16 in flight: events/s", "append-16", "events_per_s", count, MORE),
    ("append, 64 in flight: events/s", "append-64", "events_per_s", count, MORE),
    ("append, 64 in flight: p99 ms", "append-64", "p99_us", milliseconds, LESS),
    ("append, 256 in flight: events/s", "append-256", "events_per_s", count, MORE),
    ("append, 256 in flight: p99 ms", "append-256", "p99_us", milliseconds, LESS),
    ("1 KiB, 64 in flight: events/s", "append-1k", "events_per_s", count, MORE),
    ("4 KiB, 64 in flight: events/s", "append-4k", "events_per_s", count, MORE),
    ("batches of 100: events/s", "batch-100", "events_per_s", count, MORE),
    ("batches of 100 packed into one message: events/s", "batch-100-packed", "events_per_s", count,
     MORE),
    ("catch-up read of everything: events/s", "read-all", "events_per_s", count, MORE),
    ("100-event streams, 1 in flight: reads/s", "read-stream-1", "operations_per_s", count, MORE),
    ("100-event streams, 16 in flight: reads/s", "read-stream-16", "operations_per_s", count, MORE),
    ("append to delivered on another node, 1,000/s: p50 ms", "deliver", "p50_us", milliseconds,
     LESS),
    ("append to delivered on another node, 1,000/s: p99 ms", "deliver", "p99_us", milliseconds,
     LESS),
    ("leader killed to next acknowledged append: p50 ms", "failover", "p50_ms", plain_ms, LESS),
    ("leader killed to next acknowledged append: p99 ms", "failover", "p99_ms", plain_ms, LESS),
    ("acknowledged events lost in these", "failover", "acknowledged_lost", count, None),
    ("CPU s of all nodes for 1 M events, 64 in flight", "append-64", "servers_cpu_s_per_million",
     seconds, LESS),
    ("CPU s of all nodes for 1 M events, batches", "batch-100", "servers_cpu_s_per_million",
     seconds, LESS),
    ("CPU s of the client for 1 M events, 64 in flight", "append-64", "client_cpu_s_per_million",
     seconds, LESS),
    ("bytes written for each event and node, 64 in flight", "append-64",
     "written_bytes_per_event", count, LESS),
    ("bytes written for each event and node, batches", "batch-100", "written_bytes_per_event",
     count, LESS),
]
NODES = 3
MARK = "<!-- peers -->"


def value_of(store, row, field):
    value = store["rows"].get(row, {}).get(field)
    if value is not None and field == "written_bytes_per_event":
        value /= NODES
    return value


def reference(results, row, field):
    """annal's own figure; packed batches compare with its plain ones."""
    for store in results["stores"]:
        if store["name"] == "annal":
            return value_of(store, "batch-100" if row == "batch-100-packed" else row, field)
    return None


def cell(store, row, field, write, better, own):
    entry = store["rows"].get(row, {})
    if "problem" in entry:
        return "failed"
    if "same_as" in entry:
        return f"as {entry['same_as']}"
    value = value_of(store, row, field)
    if value is None:
        return "–"
    text = write(value)
    if store["name"] == "annal" or better is None or not own or not value:
        return text
    ratio = own / value if better == MORE else value / own
    return f"{text} (×{ratio:.2g})" if ratio < 10 else f"{text} (×{ratio:.0f})"


def table_lines(results):
    shown = [store for store in results["stores"] if store["rows"]]
    yield "| work | " + " | ".join(store["name"] for store in shown) + " |"
    yield "|---|" + "--:|" * len(shown)
    for title, row, field, write, better in LINES:
        own = reference(results, row, field)
        cells = [cell(store, row, field, write, better, own) for store in shown]
        if any(text != "–" for text in cells):
            yield f"| {title} | " + " | ".join(cells) + " |"


def noise(results):
    """How busy the machine was with other things, in cores, over all rows."""
    rows = [row for store in results["stores"] for row in store["rows"].values()]
    other = [row["other_cores"] for row in rows if "other_cores" in row]
    steal = [row["steal_cores"] for row in rows if "steal_cores" in row]
    spread = [row["spread_percent"] for row in rows if "spread_percent" in row]
    if not other or not spread:
        return ""
    return (f"Noise: others and the kernel's own threads used {max(other):.2f} cores at most, "
            f"{sum(other) / len(other):.2f} on average; stolen {max(steal):.2f} at most; the five "
            f"parts of a row differed by {sum(spread) / len(spread):.0f} % on average, by "
            f"{max(spread):.0f} % at most.")


def troubles(store, name, row):
    """What did not go as it should, in words."""
    texts = [f"{row[field]:,.0f} {what}" for field, what in (
        ("failures", "appends failed"), ("conflicts", "conflicted"),
        ("late", "did not begin, as too many were on their way")) if row.get(field)]
    if row.get("sent") and row.get("delivered", 0) < row["sent"]:
        texts.append(f"{row['delivered']:,.0f} of {row['sent']:,.0f} were delivered")
    if not texts:
        return []
    complaint = f": {row['complaint']}" if row.get("complaint") else ""
    return ["", f"{store}, {name}: {', '.join(texts)}{complaint}"]


def markdown(results):
    computer = results["machine"]
    lines = [
        f"{results['when']}; {computer['processors']} processors ({computer['processor']}), "
        f"{computer['memory_gib']} GiB, Linux {computer['kernel']}, {computer['file_system']}; "
        f"{results['seconds_per_row']} s for each row, {results['failovers']} failovers, "
        f"{results['read_events']:,} events to read; load before: "
        f"{computer['load_before']:.2f}.", ""]
    lines += list(table_lines(results))
    lines += ["", noise(results), "", "| store | version | what an acknowledged append means |",
              "|---|---|---|"]
    for store in results["stores"]:
        missing = f"; **left out:** {store['missing']}" if "missing" in store else ""
        lines.append(f"| {store['name']} | {store['version']} | {store['promise']}{missing} |")
    for store in results["stores"]:
        for name, row in store["rows"].items():
            if "problem" in row:
                lines += ["", f"{store['name']}, {name}: failed: {row['problem']}"]
            else:
                lines += troubles(store["name"], name, row)
    return "\n".join(lines)


def in_a_line(row):
    """For those who watch."""
    names = ("events_per_s", "operations_per_s", "p50_us", "p99_us", "p50_ms", "p99_ms",
             "servers_cpu_s_per_million", "client_cpu_s_per_million", "written_bytes_per_event",
             "delivered", "acknowledged_lost")
    return "  ".join(f"{name} {row[name]:,.5g}" for name in names if name in row)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--paste", metavar="PAGE")
    parser.add_argument("file", nargs="?", default=DEFAULT)
    arguments = parser.parse_args()
    try:
        with open(arguments.file, encoding="utf-8") as file:
            text = markdown(json.load(file))
    except OSError as problem:
        sys.exit(f"table.py: {problem}: `make bench-peers` writes it")
    if arguments.paste:
        paste(arguments.paste, MARK, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
