"""The results as a table, and as one HTML file without anything from elsewhere."""

import html

import summary

BUCKET = 0.5  # seconds
WIDTH, HEIGHT, LANE, LEFT = 1000, 120, 16, 120  # LEFT: room for the names of lanes
LETTER = 6.5  # of a label, about
GAP_SECONDS = 1.0
COLORS = ("#c0392b", "#8e44ad", "#d35400", "#16a085")

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; color: #222; }
table { border-collapse: collapse; } td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #ddd; }
td:nth-child(-n+1), th:nth-child(-n+1), td:nth-child(3), th:nth-child(3) { text-align: left; }
th { position: sticky; top: 0; background: #fff; } a { color: inherit; }
.again { color: #888; font-size: 11px; } .key { display: inline-block; width: 22px; height: 10px; margin: 0 4px 0 14px; }
.failed { color: #c0392b; font-weight: bold; } .passed { color: #27803b; }
svg { display: block; background: #fafafa; margin: 6px 0; } h2 { margin: 1.6em 0 0; font-size: 16px; }
pre { background: #f4f4f4; padding: 8px; white-space: pre-wrap; } small { color: #666; }
"""


LEGEND = (
    "<p>In each picture:"
    '<span class="key" style="background:#4a7fb5"></span>appends acknowledged, in half seconds'
    '<span class="key" style="background:#f8d7da"></span>nothing acknowledged for a second or more'
    '<span class="key" style="border-left:2px dotted #222; width:2px"></span>who leads from then on, by its number'
    f'<span class="key" style="background:{COLORS[0]}"></span>a fault, from strike to repair, and what it struck: '
    "point at it to read what was done. Below each is the command that runs that cell again, with the same plan.</p>"
)


def rows(results):
    for one in results:
        struck = " ".join(f"{name} {count}" for name, count in one["struck"].items())
        appends = one["appends"]
        yield (
            one["cell"], str(one["nodes"]), struck, f"{appends['ok']:,}", f"{appends['refused']:,}",
            f"{appends['unknown']:,}", str(one["leader_changes"]), f"{one['longest_gap']:.2f} s",
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
    """For whoever points at it: all that is known."""
    more = [f"{key} {f'{value:.3g}' if isinstance(value, float) else value}" for key, value in entry.items()
            if key not in ("begin", "end", "fault", "what", "node", "links")]
    return ", ".join(filter(None, [f"{entry['fault']}: {entry['what']}", target_of(entry), *more]))


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


def links_in_words(text):
    """`1>2 1>3` as one would say it."""
    pairs = {tuple(map(int, pair.split(">"))) for pair in text.split()}
    nodes = {node for pair in pairs for node in pair}
    for node in sorted(nodes):
        out, back = {(node, other) for other in nodes - {node}}, {(other, node) for other in nodes - {node}}
        if pairs in (out, back, out | back) and len(nodes) > 2:
            way = "to" if pairs == back else "from" if pairs == out else "to and from"
            return f"{way} node {node}"
    if len(pairs) == len(nodes) * (len(nodes) - 1) and len(nodes) > 2:
        return "all links"
    return ", ".join(f"{a} ↔ {b}" if (b, a) in pairs else f"{a} → {b}"
                     for a, b in sorted(pairs) if a < b or (b, a) not in pairs)


def target_of(entry):
    if "links" in entry:
        return links_in_words(entry["links"])
    return f"node {entry['node']}" if entry.get("node") else "all nodes" if "node" in entry else ""


def label_of(entry, x, y, wide):
    """What is struck, if there is room."""
    text, room = target_of(entry), int((wide - 4) / LETTER)
    if len(text) > room:
        text = text.removeprefix("node ") if len(text) - 5 <= room else ""
    if not text:
        return ""
    return f'<text x="{x + 3:.1f}" y="{y + LANE - 6}" font-size="10" fill="#fff">{html.escape(text)}</text>'


def ticks(end, scale):
    step = next(step for step in (1, 5, 10, 30, 60, 300, 3600) if end / step <= 15)
    for number in range(int((end - 3 * LETTER / scale) // step) + 1):
        yield (
            f'<text x="{number * step * scale:.1f}" y="{HEIGHT + 12}" font-size="10" fill="#888">'
            f"{number * step} s</text>"
        )


def name_of(one):
    return f"{one['cell']}-{one['nodes']}"


def section(one, about):
    verdict = "passed" if one["passed"] else "failed"
    appends = one["appends"]
    network = "packets" if one["packets"] else "connections"
    lines = [
        f'<h2 id="{html.escape(name_of(one))}">{html.escape(one["cell"])}, {one["nodes"]} nodes: '
        f'<span class="{verdict}">{verdict}</span></h2>',
    ]
    lines += [struck_line(one, name, details, about.get(name, "")) for name, details in one["details"].items()]
    if one["violations"]:
        text = "\n".join(f"{kind}: {detail}" for kind, detail in one["violations"])
        lines.append(f"<pre>{html.escape(text)}\n\nkept: {html.escape(str(one['folder']))}</pre>")
    lines += [
        picture(one),
        f'<small>{appends["ok"]:,} appends acknowledged, {appends["refused"]:,} refused, {appends["unknown"]:,} of '
        f'unknown outcome; {one["reads"]:,} reads checked; {one["leader_changes"]} changes of leader; longest time '
        f'without an acknowledgement {one["longest_gap"]:.2f} s; a network of {network}</small><br>',
        f'<code class="again">{html.escape(summary.again(one))}</code>',
    ]
    return "\n".join(lines)


def struck_line(one, name, details, about):
    said = ", ".join(f"{key}: {value}" for key, value in sorted(details.items()) if key != "struck")
    times = one["struck"][name]
    return (
        f"<small><b>{html.escape(name)}</b> struck {times} {'time' if times == 1 else 'times'}: {html.escape(about)}"
        f"{f' ({html.escape(said)})' if said else ''}</small><br>"
    )


def body_of_table(results):
    for one, row in zip(results, rows(results)):
        first = f'<a href="#{html.escape(name_of(one))}">{html.escape(row[0])}</a>'
        rest = "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:-1])
        yield f'<tr><td>{first}</td>{rest}<td class="{row[-1].lower()}">{row[-1]}</td></tr>'


def page(results, command, about):
    """`about`: what each fault is."""
    failed = [one for one in results if not one["passed"]]
    verdict = (
        f'<p class="failed">{len(failed)} of {len(results)} cells failed: '
        + ", ".join(f'<a href="#{html.escape(name_of(one))}">{html.escape(name_of(one))}</a>' for one in failed)
        if failed else f'<p class="passed">All {len(results)} cells passed.'
    )
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    made = f"Made by <code>{html.escape(command)}</code>" if command else "Several runs in one report."
    return (
        "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>annal under faults</title>"
        f"<style>{STYLE}</style><h1>annal under faults</h1>{verdict}</p><p>{html.escape(summary.sentence(results))}</p>"
        f"<p>{made}</p><table><tr>{head}</tr>{''.join(body_of_table(results))}</table>"
        "<p><i>struck</i>: how often each fault was seen to take effect. <i>ok</i>, <i>refused</i>, <i>unknown</i>: "
        "appends, as the clients were answered. <i>longest gap</i>: the longest time without an acknowledged "
        "append. A cell passes when the checker finds no promise broken and every fault has struck.</p>"
        f"{LEGEND}"
        + "\n".join(section(one, about) for one in results)
        + "</html>\n"
    )
