#!/usr/bin/env python3
"""Two builds of annal, in turns: what a change gives, on a machine that may do other work as well.

Usage: pairs.py BEFORE AFTER      folders with annald, annal and bench/peers/bench-annal
Environment: ROWS     rows of run.py, by name, but for failover (default: read-all)
             PAIRS    how many times each build has its turn (default 4)
             SECONDS_PER_ROW   measured, each time (default 3)
             FILL_STREAMS      streams of 100 events that are read (default 4000)
Each build has a cluster of its own, filled once. Prints a line for each run, and the medians of each build
with the ratio of the second to the first.
"""

import os
import shutil
import statistics
import sys
import tempfile

import run
import stores

SHOWN = {
    "events_per_s": "events/s",
    "p50_us": "p50 µs",
    "p99_us": "p99 µs",
    "acknowledged_p50_us": "acknowledged p50 µs",
    "servers_cpu_s_per_million": "nodes' CPU µs/event",
    "client_cpu_s_per_million": "client's CPU µs/event",
}


class Build:
    """One build with its cluster."""

    def __init__(self, name, folder, settings):
        self.name = name
        self.programs = os.path.abspath(folder)
        self.folder = tempfile.mkdtemp(prefix=f"annal-pairs-{name}-")
        self.select()
        packages = stores.Packages("")
        self.run = run.Run(settings(self.programs), stores.STORES["annal"], packages)
        self.store = stores.STORES["annal"](packages, self.folder)
        self.store.start()

    def select(self):
        os.environ["ANNAL_BIN_DIR"] = self.programs

    def fill(self, streams):
        self.select()
        self.run.fill(self.store, streams, streams * run.READ_BATCH)

    def measure(self, row, streams):
        self.select()
        if row in run.READ_ROWS and row != "deliver":
            first, self.run.streams = self.run.streams, 0
            kind = "read-all" if row == "read-all" else "read-stream"
            result = self.run.measure(self.store, kind, streams,
                                      run.READ_ROWS[row] | {"batch": run.READ_BATCH})
            self.run.streams = first
            return result
        self.run.streams += max(streams, run.BATCH_STREAMS)
        options = run.APPEND_ROWS.get(row, run.READ_ROWS.get(row))
        return self.run.measure(self.store, "deliver" if row == "deliver" else "append",
                                run.BATCH_STREAMS, options)

    def end(self):
        self.select()
        self.store.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def line(row, name, values):
    text = ", ".join(f"{SHOWN[key]} {value:.4g}" for key, value in values.items())
    print(f"{row:15} {name:7} {text}", flush=True)


def shown(result):
    return {key: result[key] for key in SHOWN if key in result}


def compare(builds, row, pairs, streams):
    results = {build.name: [] for build in builds}
    for number in range(pairs):
        for build in builds if number % 2 == 0 else reversed(builds):
            results[build.name].append(shown(build.measure(row, streams)))
            line(row, build.name, results[build.name][-1])
    medians = {name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
               for name, runs in results.items()}
    before, after = (medians[build.name] for build in builds)
    for name, values in medians.items():
        line(row, f"{name} *", values)
    line(row, "ratio *", {key: after[key] / before[key] for key in after if before.get(key)})


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    environment = {"ROWS": "read-all", "SECONDS_PER_ROW": "3", "FILL_STREAMS": "4000"} | {
        name: value for name, value in os.environ.items() if value}
    pairs = run.Settings.number(environment, "PAIRS", 4)

    def settings(programs):
        return run.Settings(environment | {"ANNAL_BIN_DIR": programs})

    chosen = settings("")
    builds = []
    try:
        for name, folder in zip(("before", "after"), sys.argv[1:]):
            builds.append(Build(name, folder, settings))
            builds[-1].fill(chosen.fill_streams)
        for row in chosen.rows:
            if row == "failover":
                sys.exit("pairs.py: failover takes no part: its clusters would not stay the same")
            compare(builds, row, pairs, chosen.fill_streams)
    except (run.RowError, stores.StoreError) as problem:
        sys.exit(f"pairs.py: {problem}")
    finally:
        for build in builds:
            build.end()


if __name__ == "__main__":
    main()
