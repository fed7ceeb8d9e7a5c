#!/usr/bin/python3
"""Runs fuzz targets for a time, or over their seeds only, and prints one table of what they did.

A target has found something when it ends with a failure (a crash, a broken property, more memory than it may
have), and when an input costs it more than a second of CPU time. What is found is left in BUILD/found/.

Exit codes: 0 nothing was found; 1 something was; 2 wrong usage.
"""

import argparse
import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

RSS_MB = 2048  # with what the sanitizers keep
MALLOC_MB = 160  # at once: zstd takes 128 MiB at its highest level, everything else less
HANG_SECONDS = 60  # by the clock, on a machine that does other things, too
CPU_SECONDS_MAX = 1.0  # of one input
INPUT_BYTES_MAX = 16384

# What a run prints, from which the table is made.
DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.M)
COVERED = re.compile(r"cov: (\d+)")


class Target:
    def __init__(self, program, build):
        self.program = program
        self.name = os.path.basename(program)
        self.seeds = os.path.join(HERE, "corpus", self.name)
        self.grown = os.path.join(build, "corpus", self.name)
        self.found = os.path.join(build, "found")
        self.log = os.path.join(self.found, self.name + ".log")
        dictionary = os.path.join(HERE, "dictionaries", self.name + ".dict")
        self.dictionary = dictionary if os.path.exists(dictionary) else None

    def seed_paths(self):
        return sorted(glob.glob(os.path.join(self.seeds, "*")))

    def options(self):
        return [
            f"-artifact_prefix={self.found}/{self.name}-",
            f"-rss_limit_mb={RSS_MB}",
            f"-malloc_limit_mb={MALLOC_MB}",
            f"-timeout={HANG_SECONDS}",
        ]

    def run(self, more):
        """Status, CPU seconds, and what it printed."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(self.log, "wb") as log:
            status = subprocess.run(
                [self.program, *self.options(), *more], stdout=log, stderr=subprocess.STDOUT
            ).returncode
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            text = log.read()
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return status, cpu, text


def tail_of(text, lines=60):
    return "\n".join(text.splitlines()[-lines:])


def artifacts(target, kind):
    return set(glob.glob(os.path.join(target.found, f"{target.name}-{kind}-*")))


def too_slow(target, path):
    """libFuzzer goes by the clock; this goes by CPU time, less that of an input without anything in it."""
    spent = []
    for arguments in ([os.devnull], [path]):
        _, cpu, _ = target.run(arguments)
        spent.append(cpu)
    return spent[1] - spent[0] > CPU_SECONDS_MAX


def fuzz(target, seconds):
    """The row of the table, and whether anything was found."""
    os.makedirs(target.grown, exist_ok=True)
    slow_before = artifacts(target, "slow-unit")
    more = [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        "-report_slow_units=1",
        "-print_final_stats=1",
    ]
    if target.dictionary:
        more.append(f"-dict={target.dictionary}")
    status, cpu, text = target.run([*more, target.grown, target.seeds])
    done = DONE.search(text)
    covered = COVERED.findall(text)
    executions, took = (int(done[1]), int(done[2])) if done else (0, 0)
    found = 0 if status == 0 else 1
    if found:
        print(tail_of(text), flush=True)
    log = target.log
    target.log += ".slow"
    for path in sorted(artifacts(target, "slow-unit") - slow_before):
        if too_slow(target, path):
            print(f"{path}: more than {CPU_SECONDS_MAX} s of CPU time", flush=True)
            found += 1
        else:
            os.unlink(path)
    target.log = log
    row = [
        target.name, took, round(cpu), executions, round(executions / cpu) if cpu > 0 else 0,
        int(covered[-1]) if covered else 0, len(target.seed_paths()), found,
    ]
    return row, found > 0


def replay(target):
    status, _, text = target.run(target.seed_paths())
    if status != 0:
        print(tail_of(text), flush=True)
    return status != 0


HEADS = ["target", "seconds", "CPU s", "executions", "per CPU s", "edges", "seeds", "found"]


def print_table(rows):
    total = ["all"] + [sum(row[i] for row in rows) for i in range(1, len(HEADS))]
    total[4] = round(total[3] / total[2]) if total[2] else 0
    print("| " + " | ".join(HEADS) + " |")
    print("|---" + "|---:" * (len(HEADS) - 1) + "|")
    for row in rows + [total]:
        print("| " + " | ".join([row[0]] + [f"{cell:,}" for cell in row[1:]]) + " |")


def minimise(target, file_bytes):
    """Of what a run has grown, the inputs that reach an edge that no seed does become seeds."""
    kept = os.path.join(os.path.dirname(os.path.dirname(target.grown)), "merged", target.name)
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept)
    for path in target.seed_paths():
        shutil.copy(path, kept)
    before = set(os.listdir(kept))
    status, _, text = target.run(["-merge=1", "-use_counters=0", f"-max_len={file_bytes}", kept, target.grown])
    if status != 0:
        print(tail_of(text), flush=True)
        return True
    new = sorted(set(os.listdir(kept)) - before)
    for name in new:
        shutil.copy(os.path.join(kept, name), os.path.join(target.seeds, "grown-" + name[:16]))
    print(f"{target.name}: {len(before)} seeds, {len(new)} new", flush=True)
    return False


def arguments_of(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--build", required=True, help="folder for what is found and what grows")
    add("--seconds", type=int, default=60, help="for each target (default 60)")
    add("--seeds-only", action="store_true", help="run the seeds, and nothing else")
    add("--minimise", type=int, metavar="BYTES", help="take over what has grown, of inputs up to this size")
    add("targets", nargs="+", help="programs")
    return parser.parse_args(argv)


def main(argv):
    arguments = arguments_of(argv)
    build = os.path.abspath(arguments.build)
    os.makedirs(os.path.join(build, "found"), exist_ok=True)
    targets = [Target(program, build) for program in arguments.targets]
    for target in targets:
        if not target.seed_paths():
            print(f"{target.seeds} is empty: give {target.name} some seeds", file=sys.stderr)
            return 2
    rows, found = [], False
    for target in targets:
        start = time.monotonic()
        print(f"  FUZZ  {target.name}", end="\n" if not arguments.seeds_only else " ", flush=True)
        if arguments.minimise:
            bad = minimise(target, arguments.minimise)
        elif arguments.seeds_only:
            bad = replay(target)
            print(f"{time.monotonic() - start:.1f} s", flush=True)
        else:
            row, bad = fuzz(target, arguments.seconds)
            rows.append(row)
        found = found or bad
    if rows:
        print_table(rows)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
