"""The results as a table, and as one HTML file without anything from elsewhere."""

import html

import summary

BUCKET = 0.5  # seconds
WIDTH, HEIGHT, LANE, LEFT = 1000, 120, 16, 120  # LEFT: room for the names of lanes
LETTER = 6  # of a label, about
GAP_SECONDS = 1.0
COLORS = ("#c0392b", "#8e44ad", "#d35400", "#16a085")

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; color: #222; }
table { border-collapse: collapse; } td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; }
td:nth-child(-n+1), th:nth-child(-n+1), td:nth-child(3), th:nth-child(3) { text-align: left; }
th { position: sticky; top: 0; background: #fff; } a { color: inherit; }
dt { font-family: monospace; float: left; clear: left; width: 11em; } dd { margin-left: 13em; color: #555; }
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
    """Acknowledged appends a second, gaps, who leads, and below a lane for each fault."""
    end = max([one["seconds"], *[entry.get("end", 0) for entry in one["plan"]]]) + 1
    scale = (WIDTH - LEFT) / end
    counts = buckets(one["acked"], end)
    top = max([*counts, 1])
    names = list(one["struck"])
    height = HEIGHT + 18 + LANE * len(names)
    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">']
    parts += vertical_axis(top)
    parts.append(f'<g transform="translate({LEFT})">')
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
    parts += leaders(one, scale)
    parts += lanes(one, names, scale)
    parts += ticks(end, scale)
    return "".join(parts) + "</g></svg>"


def vertical_axis(top):
    for share in (0.5, 1):
        y = HEIGHT - share * (HEIGHT - 14)
        yield f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield (
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" font-size="11" fill="#555" text-anchor="end">'
            f"{share * top / BUCKET:.0f}/s</text>"
        )


def leaders(one, scale):
    for when, number in one.get("leaders", ()):
        yield (
            f'<line x1="{when * scale:.1f}" x2="{when * scale:.1f}" y1="0" y2="{HEIGHT}" stroke="#222" '
            f'stroke-dasharray="2 3"><title>node {number} leads from {when:.2f} s on</title></line>'
            f'<text x="{when * scale + 2:.1f}" y="9" font-size="10" fill="#222">{number}</text>'
        )


def said_of(entry):
    return ", ".join(f"{key} {value}" for key, value in entry.items() if key not in ("begin", "end", "fault"))


def lanes(one, names, scale):
    for lane, name in enumerate(names):
        y = HEIGHT + 16 + lane * LANE
        yield (
            f'<text x="-6" y="{y + LANE - 5}" font-size="11" text-anchor="end" '
            f'fill="{COLORS[lane % len(COLORS)]}">{html.escape(name)}</text>'
        )
    for entry in one["plan"]:
        lane = names.index(entry["fault"])
        y, finish = HEIGHT + 16 + lane * LANE, entry.get("end", entry["begin"])
        wide = max((finish - entry["begin"]) * scale, 2)
        yield (
            f'<g><title>{html.escape(said_of(entry))}; {entry["begin"]:.2f} to {finish:.2f} s</title>'
            f'<rect x="{entry["begin"] * scale:.1f}" y="{y}" width="{wide:.1f}" height="{LANE - 3}" '
            f'fill="{COLORS[lane % len(COLORS)]}" fill-opacity="0.75"/>'
            f'{label_of(entry, entry["begin"] * scale, y, wide)}</g>'
        )


def label_of(entry, x, y, wide):
    """The node that is struck, or the links, if there is room."""
    text = f"node {entry['node']}" if entry.get("node") else "all" if "node" in entry else entry.get("links", "")
    text = text[: int((wide - 4) / LETTER)]
    if len(text) < 3:
        return ""
    return f'<text x="{x + 3:.1f}" y="{y + LANE - 6}" font-size="10" fill="#fff">{html.escape(text)}</text>'


def ticks(end, scale):
    step = next(step for step in (1, 5, 10, 30, 60, 300, 3600) if end / step <= 15)
    for number in range(int(end // step) + 1):
        yield (
            f'<text x="{number * step * scale:.1f}" y="{HEIGHT + 12}" font-size="10" fill="#888">'
            f"{number * step} s</text>"
        )


def name_of(one):
    return f"{one['cell']}-{one['nodes']}"


def section(one):
    verdict = "passed" if one["passed"] else "failed"
    appends = one["appends"]
    lines = [
        f'<h2 id="{html.escape(name_of(one))}">{html.escape(one["cell"])}, {one["nodes"]} nodes: '
        f'<span class="{verdict}">{verdict}</span></h2>',
        f'<small>{appends["ok"]} appends acknowledged, {appends["refused"]} refused, {appends["unknown"]} of unknown '
        f'outcome; {one["reads"]} reads checked; longest time without an acknowledgement '
        f'{one["longest_gap"]:.2f} s</small>',
        picture(one),
    ]
    for name, details in one["details"].items():
        said = ", ".join(f"{key}: {value}" for key, value in sorted(details.items()) if key != "struck")
        said = f" ({html.escape(said)})" if said else ""
        lines.append(f"<small>{html.escape(name)} struck {one['struck'][name]} times{said}</small><br>")
    if one["violations"]:
        text = "\n".join(f"{kind}: {detail}" for kind, detail in one["violations"])
        lines.append(f"<pre>{html.escape(text)}\n\nkept: {html.escape(str(one['folder']))}</pre>")
    return "\n".join(lines)


def body_of_table(results):
    for one, row in zip(results, rows(results)):
        first = f'<a href="#{html.escape(name_of(one))}">{html.escape(row[0])}</a>'
        rest = "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:-1])
        yield f'<tr><td>{first}</td>{rest}<td class="{row[-1].lower()}">{row[-1]}</td></tr>'


def glossary(results, about):
    names = sorted({name for one in results for name in one["struck"]})
    return "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(about.get(name, ''))}</dd>" for name in names)


def page(results, command, about):
    """`about`: what each fault is."""
    failed = [one for one in results if not one["passed"]]
    verdict = (
        f'<p class="failed">{len(failed)} of {len(results)} cells failed: '
        + ", ".join(f'<a href="#{html.escape(name_of(one))}">{html.escape(name_of(one))}</a>' for one in failed)
        if failed else f'<p class="passed">All {len(results)} cells passed.'
    )
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    return (
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>annal under faults</title>"
        f"<style>{STYLE}</style><h1>annal under faults</h1>{verdict}</p><p>{html.escape(summary.sentence(results))}</p>"
        f"<p>Again: <code>{html.escape(command)}</code></p>"
        f"<table><tr>{head}</tr>{''.join(body_of_table(results))}</table>"
        "<p><i>struck</i>: how often each fault was seen to take effect. <i>ok</i>, <i>refused</i>, <i>unknown</i>: "
        "appends, as the clients were answered. <i>longest gap</i>: the longest time without an acknowledged "
        "append. A cell passes when the checker finds no promise broken and every fault has struck.</p>"
        "<p>Pictures: blue is what was acknowledged, in half seconds; on red ground nothing was for a second or "
        "more; a dotted line is a new leader, by its number. Bars below are faults, from strike to repair, with "
        "the node that was struck; point at them to read what was done.</p>"
        + "\n".join(section(one) for one in results)
        + f"<h2>The faults</h2><dl>{glossary(results, about)}</dl></html>\n"
    )
