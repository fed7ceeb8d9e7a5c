#!/usr/bin/env python3
"""What appends cost the nodes, by stage: `make bench-profile ROWS="append-256 batch-100"`.

Usage: profile.py [--seconds N] [--flames FOLDER] [--paste PAGE] [--file FILE] [--set NAME=VALUE]... ROW...

For each row of `annal bench`: a fresh cluster of three nodes, the row's load, and `perf record` of the nodes
meanwhile. Printed for the leader and, as the mean of both, a follower: microseconds of processor time for an
event by stage (stages.py); for each thread, page faults and changes of task for an event; bytes
given to write(). Times are the kernel's count of each thread; perf says only how they divide. --flames draws
FOLDER/flame-leader.svg and flame-follower.svg of the first row; --paste puts the tables into PAGE, between
its two `<!-- stages -->` lines. Without perf the counts of the threads are printed alone.
"""

import argparse
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(os.path.dirname(HERE)), "system")]

import flame  # noqa: E402
from page import paste  # noqa: E402
import stacks  # noqa: E402
import stages  # noqa: E402
from cluster import Cluster, program  # noqa: E402

MARK = "<!-- stages -->"
STACK_BYTES, SAMPLES_PER_SECOND = 16384, 499
BEGIN_SECONDS = 1

Counts = collections.namedtuple("Counts", "cpu_us faults switches")
Row = collections.namedtuple("Row", "name events per_second seconds threads stages written")


# ---- what the kernel counts ----

def thread_counts(pid):
    """Counts of each thread, by its name; libuv's pool is named like the loop."""
    counts = {}
    for thread in os.listdir(f"/proc/{pid}/task"):
        folder = f"/proc/{pid}/task/{thread}"
        try:
            with open(f"{folder}/stat", encoding="utf-8") as file:
                head, rest = file.read().rsplit(")", 1)
            with open(f"{folder}/schedstat", encoding="utf-8") as file:
                ran_ns = int(file.read().split()[0])
            with open(f"{folder}/status", encoding="utf-8") as file:
                switches = sum(int(line.split()[1]) for line in file if "ctxt_switches" in line)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        name = stages.thread_of(stacks.Sample(pid, int(thread), head.split("(", 1)[1], ()))
        before = counts.get(name, Counts(0, 0, 0))
        counts[name] = Counts(before.cpu_us + ran_ns / 1000, before.faults + int(rest.split()[7]),
                              before.switches + switches)
    return counts


def written_bytes(pid):
    with open(f"/proc/{pid}/io", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("wchar"))


def grown(before, after):
    nothing = Counts(0, 0, 0)
    return {name: Counts(*(b - a for a, b in zip(before.get(name, nothing), counts))) for name, counts in after.items()}


# ---- a run ----

def record(pids, seconds, path):
    """perf, for as long as the row is measured; None without it."""
    if shutil.which("perf") is None:
        return None
    command = ["perf", "record", "--quiet", "--call-graph", f"dwarf,{STACK_BYTES}", "--freq", str(SAMPLES_PER_SECOND),
               "--event", "cpu-clock", "--pid", ",".join(map(str, pids)), "--output", path,
               "--", "sh", "-c", f"sleep {BEGIN_SECONDS}; exec sleep {seconds}"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def load(cluster, name, options):
    command = [program("annal"), "bench", "--url", cluster.url(), "--rows", name, "--seconds", str(options.seconds),
               "--output", "json"]
    command += ["--file", options.file] if options.file else []
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(done.stdout)["rows"][0]


def divide(samples):
    """By node: how many samples each stage has."""
    checksum = stages.checksum_frame(samples)
    found = collections.defaultdict(collections.Counter)
    for sample in samples:
        found[sample.process][stages.stage_of(sample, checksum)] += 1
    return found


def measure(name, options, folder):
    """The row, and the samples by role."""
    cluster = Cluster(nodes=3, settings=options.set, folder=os.path.join(folder, name))
    try:
        cluster.start()
        pids = [cluster[number].pid() for number in (1, 2, 3)]
        leader = cluster[cluster.leader().number].pid()
        before = [(thread_counts(pid), written_bytes(pid)) for pid in pids]
        path = os.path.join(folder, f"{name}.perf")
        recording = record(pids, options.seconds - BEGIN_SECONDS, path)
        result = load(cluster, name, options)
        counts = {pid: grown(b[0], thread_counts(pid)) for pid, b in zip(pids, before)}
        written = sum(written_bytes(pid) - b[1] for pid, b in zip(pids, before)) / 3
        samples = []
        if recording is not None and recording.wait() == 0:
            samples = stacks.read(path)
    finally:
        cluster.close()
    roles = {pid: "leader" if pid == leader else "follower" for pid in pids}
    return Row(name, result["events"], result["events_per_second"], options.seconds, by_role(counts, roles),
               stage_times(divide(samples), counts, roles), written / result["events"]), samples, roles


def by_role(counts, roles):
    """Of the followers, the mean."""
    sums = collections.defaultdict(lambda: Counts(0, 0, 0))
    for pid, threads in counts.items():
        share = 1 if roles[pid] == "leader" else 2
        for name, count in threads.items():
            key = roles[pid], name
            sums[key] = Counts(*(a + b / share for a, b in zip(sums[key], count)))
    return sums


def stage_times(found, counts, roles):
    """Microseconds by role and stage: each thread's time, divided as its samples are."""
    times = collections.Counter()
    for pid, by_stage in found.items():
        share = 1 if roles[pid] == "leader" else 2
        of_thread = collections.Counter()
        for (thread, _), count in by_stage.items():
            of_thread[thread] += count
        for (thread, stage), count in by_stage.items():
            used = counts[pid].get(thread, Counts(0, 0, 0)).cpu_us
            times[roles[pid], thread, stage] += used * count / of_thread[thread] / share
    return times


# ---- tables ----

def stage_table(rows):
    lines = ["| µs for an event | " + " | ".join(f"{row.name}: leader | follower" for row in rows) + " |",
             "|---|" + "--:|--:|" * len(rows)]
    roles = ("leader", "follower")
    for thread in ("loop", "apply", "flush", "helper"):
        cells = [f"**{row.threads[role, thread].cpu_us / row.events:.2f}**" for row in rows for role in roles]
        lines.append(f"| **thread {thread}** | " + " | ".join(cells) + " |")
        for stage in (stage for of, stage in stages.all_stages() if of == thread and thread != "helper"):
            values = [row.stages[role, thread, stage] / row.events for row in rows for role in roles]
            if max(values) >= 0.005:
                lines.append(f"| – {stage} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    cells = [f"**{sum(c.cpu_us for (of, _), c in row.threads.items() if of == role) / row.events:.2f}**"
             for row in rows for role in roles]
    return lines + ["| **in all** | " + " | ".join(cells) + " |"]


def count_line(row):
    parts = []
    for role in ("leader", "follower"):
        counts = [count for (of, _), count in row.threads.items() if of == role]
        parts.append(f"{role} {sum(c.faults for c in counts) / row.events:.3f} page faults and "
                     f"{sum(c.switches for c in counts) / row.events:.3f} changes of task")
    cpu = sum(c.cpu_us * (1 if of == "leader" else 2) for (of, _), c in row.threads.items()) / row.events
    return (f"{row.name}: {row.per_second:,.0f} events/s for {row.seconds} s; {cpu:.2f} µs of the three nodes for an "
            f"event; {', '.join(parts)}; {row.written:.0f} bytes given to write() on each node.")


def from_root(frames):
    """Without what begins a program or a thread, of which perf finds now more, now less."""
    for root in ("main", "start_thread"):
        if root in frames:
            return frames[frames.index(root) + 1:]
    return frames


def draw(folder, row, samples, roles):
    for role in ("leader", "follower"):
        mine = [sample for sample in samples if roles[sample.process] == role]
        path = os.path.join(folder, f"flame-{role}.svg")
        flame.draw([(stages.thread_of(sample),) + from_root(sample.frames) for sample in mine],
                   f"{role}, {row}: {len(mine)} samples", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--flames", metavar="FOLDER")
    parser.add_argument("--paste", metavar="PAGE")
    parser.add_argument("--file", help="to import, for row import, which ends with it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("rows", nargs="+", metavar="ROW")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="annal-profile-") as folder:
        for name in options.rows:
            row, samples, roles = measure(name, options, folder)
            rows.append(row)
            if options.flames and len(rows) == 1 and samples:
                draw(options.flames, name, samples, roles)
    text = "\n".join(stage_table(rows) + [""] + [count_line(row) for row in rows])
    print(text)
    if options.paste:
        paste(options.paste, MARK, text)


if __name__ == "__main__":
    main()
