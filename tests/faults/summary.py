"""What many cells come to: a sentence, and a table in Markdown for docs/testing.md."""

import collections
import json


def total(results, what):
    return sum(one["appends"][what] for one in results)


def sentence(results):
    sizes = " and ".join(str(size) for size in sorted({one["nodes"] for one in results}))
    struck = sum(sum(one["struck"].values()) for one in results)
    return (
        f"{len(results)} cells on {sizes} nodes, {sum(one['passed'] for one in results)} passed; "
        f"{sum(one['seconds'] for one in results) / 60:.0f} minutes of faults, {struck} strikes; "
        f"{total(results, 'ok'):,} appends acknowledged, {total(results, 'refused'):,} refused, "
        f"{total(results, 'unknown'):,} of unknown outcome; {sum(one['reads'] for one in results):,} reads checked; "
        f"{sum(one['leader_changes'] for one in results):,} changes of leader; "
        f"longest time without an acknowledged append {max(one['longest_gap'] for one in results):.1f} s."
    )


def again(one):
    """The command that runs that cell again, with the same plan."""
    network = " --network namespaces" if one["packets"] else ""
    return (
        f"make faults ARGS='--cells {one['cell']} --nodes {one['nodes']} --seconds {one['seconds']:g} "
        f"--seed {one['seed']}{network}'"
    )


def by_fault(results):
    """name -> [cells, strikes, {detail: count}, longest gap in cells of it alone]"""
    found = collections.defaultdict(lambda: [0, 0, collections.Counter(), 0.0])
    for one in results:
        for name, count in one["struck"].items():
            entry = found[name]
            entry[0] += 1
            entry[1] += count
            if len(one["struck"]) == 1:
                entry[3] = max(entry[3], one["longest_gap"])
            for key, value in one["details"][name].items():
                if key.startswith("least"):
                    entry[2][key] = min(value, entry[2].get(key, value))
                elif key.startswith("longest"):
                    entry[2][key] = max(value, entry[2].get(key, value))
                elif key != "struck":
                    entry[2][key] += value
    return found


def markdown(results):
    lines = [sentence(results), "", "| fault | cells | struck | longest gap alone | of these |", "|---|---|---|---|---|"]
    for name, (cells, struck, details, gap) in sorted(by_fault(results).items()):
        said = ", ".join(f"{key} {value}" for key, value in sorted(details.items()))
        lines.append(f"| `{name}` | {cells} | {struck} | {f'{gap:.1f} s' if gap else ''} | {said} |")
    return "\n".join(lines) + "\n"


def load(paths):
    """Results that --json has written; of a cell that is in several, the last one counts."""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for one in json.load(file)["cells"]:
                found[one["cell"], one["nodes"]] = one
    return list(found.values())
