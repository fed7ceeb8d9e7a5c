"""A flame graph as SVG: frames above those that called them, as wide as their share of the samples."""

import html

WIDTH, ROW, FONT, LETTER = 1200, 15, 10.5, 6.2
HEAD, FOOT = 30, 6
NARROW = 1.5  # pixels; what is below is left out
KERNEL = ("#e0975a", "#d98c50", "#e6a56d")
OTHERS = {"annald": ("#e8c35a", "#dfb64c", "#efcf74"), "library": ("#8fb4d9", "#82a9d1", "#9fc1e2")}


class Node:
    def __init__(self):
        self.count = 0
        self.children = {}

    def add(self, frames):
        self.count += 1
        node = self
        for frame in frames:
            node = node.children.setdefault(frame, Node())
            node.count += 1

    def depth(self, least):
        return 1 + max((child.depth(least) for child in self.children.values() if child.count >= least), default=0)


def color(name, kernel):
    if kernel:
        kind = KERNEL
    elif "+" in name or name.startswith(("_", "mdb_", "uv_", "raft_")):
        kind = OTHERS["library"]
    else:
        kind = OTHERS["annald"]
    return kind[sum(name.encode()) % len(kind)]


def box(out, name, count, total, x, y, width, kernel):
    title = html.escape(f"{name}: {100 * count / total:.1f} %")
    letters = int((width - 4) / LETTER)
    shown = name if len(name) <= letters else name[:letters - 1] + "…" if letters > 3 else ""
    out.append(f'<g><title>{title}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" '
               f'fill="{color(name, kernel)}"/>')
    if shown:
        out.append(f'<text x="{x + 2:.1f}" y="{y + 11}">{html.escape(shown)}</text>')
    out.append("</g>")


def boxes(out, node, total, x, level, height, kernel):
    for name, child in sorted(node.children.items()):
        width = WIDTH * child.count / total
        inside = kernel or name.startswith(("entry_", "asm_", "ret_from_fork"))
        if width >= NARROW:
            box(out, name, child.count, total, x, height - FOOT - ROW * (level + 1), width, inside)
            boxes(out, child, total, x, level + 1, height, inside)
        x += width


def draw(stacks, title, path):
    """`stacks`: frames from the outermost to the innermost, one for each sample."""
    root = Node()
    for frames in stacks:
        root.add(frames)
    height = HEAD + FOOT + ROW * root.depth(NARROW * root.count / WIDTH)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="monospace" '
           f'font-size="{FONT}"><rect width="100%" height="100%" fill="#ffffff"/>',
           f'<text x="4" y="18" font-size="13">{html.escape(title)}</text>']
    boxes(out, root, root.count, 0.0, 0, height, False)
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")
