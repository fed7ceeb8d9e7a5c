"""The results as a table, and as one HTML file without anything from elsewhere."""

import html

BUCKET = 0.5  # seconds
WIDTH, HEIGHT, LANE = 1000, 120, 14
GAP_SECONDS = 1.0
COLORS = ("#c0392b", "#8e44ad", "#d35400", "#16a085")

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; color: #222; }
table { border-collapse: collapse; } td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
.failed { color: #c0392b; font-weight: bold; } .passed { color: #27803b; }
svg { display: block; background: #fafafa; margin: 6px 0; } h2 { margin: 1.6em 0 0; font-size: 16px; }
pre { background: #f4f4f4; padding: 8px; white-space: pre-wrap; } small { color: #666; }
"""


def rows(results):
    for one in results:
        struck = " ".join(f"{name} {count}" for name, count in one["struck"].items())
        appends = one["appends"]
        yield (
            one["cell"], str(one["nodes"]), struck, str(appends["ok"]), str(appends["refused"]),
            str(appends["unknown"]), str(one["leader_changes"]), f"{one['longest_gap']:.2f} s",
            "passed" if one["passed"] else "FAILED",
        )


HEAD = ("cell", "nodes", "struck", "ok", "refused", "unknown", "leader changes", "longest gap", "verdict")


def table(results):
    lines = [HEAD, *rows(results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) if column in (0, 2, 8) else cell.rjust(width)
                  for column, (cell, width) in enumerate(zip(line, widths))).rstrip()
        for line in lines
    )


def buckets(acked, end):
    counts = [0] * (int(end / BUCKET) + 1)
    for when in acked:
        if 0 <= when <= end:
            counts[int(when / BUCKET)] += 1
    return counts


def gaps(acked, end):
    times = [0, *[when for when in acked if when <= end], end]
    return [(a, b) for a, b in zip(times, times[1:]) if b - a >= GAP_SECONDS]


def picture(one):
    """Acknowledged appends a second, gaps, and below a lane for each fault."""
    end = max([one["seconds"], *[entry.get("end", 0) for entry in one["plan"]]]) + 1
    scale = WIDTH / end
    counts = buckets(one["acked"], end)
    top = max([*counts, 1])
    names = list(one["struck"])
    height = HEIGHT + 18 + LANE * len(names)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">']
    for begin, finish in gaps(one["acked"], end):
        parts.append(
            f'<rect x="{begin * scale:.1f}" y="0" width="{(finish - begin) * scale:.1f}" height="{HEIGHT}" '
            f'fill="#f8d7da"><title>nothing acknowledged for {finish - begin:.2f} s</title></rect>'
        )
    for index, count in enumerate(counts):
        tall = count / top * (HEIGHT - 14)
        parts.append(
            f'<rect x="{index * BUCKET * scale:.1f}" y="{HEIGHT - tall:.1f}" '
            f'width="{max(BUCKET * scale - 1, 0.5):.1f}" height="{tall:.1f}" fill="#4a7fb5">'
            f"<title>{count / BUCKET:.0f} a second at {index * BUCKET:.1f} s</title></rect>"
        )
    parts.append(f'<text x="4" y="11" font-size="11" fill="#555">{top / BUCKET:.0f} appends/s</text>')
    parts += lanes(one, names, scale)
    parts += ticks(end, scale)
    return "".join(parts) + "</svg>"


def lanes(one, names, scale):
    for entry in one["plan"]:
        lane = names.index(entry["fault"])
        finish = entry.get("end", entry["begin"])
        said = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in ("begin", "end"))
        yield (
            f'<rect x="{entry["begin"] * scale:.1f}" y="{HEIGHT + 16 + lane * LANE}" '
            f'width="{max((finish - entry["begin"]) * scale, 2):.1f}" height="{LANE - 3}" '
            f'fill="{COLORS[lane % len(COLORS)]}" fill-opacity="0.7">'
            f'<title>{html.escape(said)}; {entry["begin"]:.2f} to {finish:.2f} s</title></rect>'
        )


def ticks(end, scale):
    step = next(step for step in (1, 5, 10, 30, 60, 300, 3600) if end / step <= 15)
    for number in range(int(end // step) + 1):
        yield (
            f'<text x="{number * step * scale:.1f}" y="{HEIGHT + 12}" font-size="10" fill="#888">'
            f"{number * step} s</text>"
        )


def section(one):
    verdict = "passed" if one["passed"] else "failed"
    lines = [
        f'<h2 id="{html.escape(one["cell"])}-{one["nodes"]}">{html.escape(one["cell"])}, {one["nodes"]} nodes: '
        f'<span class="{verdict}">{verdict}</span></h2>',
        picture(one),
    ]
    for name, details in one["details"].items():
        said = ", ".join(f"{key}: {value}" for key, value in sorted(details.items()))
        lines.append(f"<small>{html.escape(name)} struck {one['struck'][name]} times ({html.escape(said)})</small><br>")
    if one["violations"]:
        text = "\n".join(f"{kind}: {detail}" for kind, detail in one["violations"])
        lines.append(f"<pre>{html.escape(text)}\n\nkept: {html.escape(str(one['folder']))}</pre>")
    return "\n".join(lines)


def page(results, command):
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[:-1])
        + f'<td class="{row[-1].lower()}">{row[-1]}</td></tr>'
        for row in rows(results)
    )
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    return (
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>annal under faults</title>"
        f"<style>{STYLE}</style><h1>annal under faults</h1><p>Again: <code>{html.escape(command)}</code></p>"
        f"<table><tr>{head}</tr>{body}</table>"
        "<p>Blue: acknowledged appends. Red ground: nothing acknowledged for a second or more. "
        "Bars below: faults, from strike to repair; point at them to read what was done.</p>"
        + "\n".join(section(one) for one in results) + "</html>\n"
    )
