#!/usr/bin/env python3
"""The same work on annal and on other stores, one after the other, on this machine: `make bench-peers`.

Usage: run.py [--json FILE]
Environment: PEERS        stores, by name (default: all)
             ROWS         rows, by name (default: all)
             SECONDS_PER_ROW   measured, for each row (default 5)
             FAILOVERS    how many times the leader is killed (default 10)
             FILL_STREAMS streams of 100 events that are read (default 10000)
             KEEP         when set, folders and logs stay
             ANNAL_BIN_DIR     the build: annald, annal and bench/peers/bench-*
Prints a line for each row as it is measured, then the table; writes the JSON.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import stores
import table

BATCH_STREAMS = 10000
# name -> (kind, options of the program); each has streams of its own.
APPEND_ROWS = {
    "append-1": {"in-flight": 1},
    "append-16": {"in-flight": 16},
    "append-64": {"in-flight": 64},
    "append-256": {"in-flight": 256},
    "append-1k": {"in-flight": 64, "size": 1024},
    "append-4k": {"in-flight": 64, "size": 4096},
    "batch-100": {"in-flight": 16, "batch": 100},
    "batch-100-packed": {"in-flight": 16, "batch": 100, "mode": "packed"},
}
READ_ROWS = {
    "read-all": {},
    "read-stream-1": {"in-flight": 1},
    "read-stream-16": {"in-flight": 16},
    "deliver": {"rate": 1000},
}
# Only where several events can be put into what the store takes for one.
PACKED_STORES = ("nats", "nats-sync")
ALL_ROWS = [*APPEND_ROWS, *READ_ROWS, "failover"]
READ_BATCH = 100
FILL_IN_FLIGHT = 16
FAILOVER_RATE = 200


class Settings:
    def __init__(self, environment):
        self.peers = self.names(environment.get("PEERS"), list(stores.STORES), "PEERS")
        self.rows = self.names(environment.get("ROWS"), ALL_ROWS, "ROWS")
        self.seconds = self.number(environment, "SECONDS_PER_ROW", 5)
        self.failovers = self.number(environment, "FAILOVERS", 10)
        self.fill_streams = self.number(environment, "FILL_STREAMS", 10000)
        self.keep = bool(environment.get("KEEP"))
        self.programs = os.path.join(environment["ANNAL_BIN_DIR"], "bench", "peers")

    @staticmethod
    def names(text, known, what):
        chosen = (text or "").replace(",", " ").split() or known
        for name in chosen:
            if name not in known:
                sys.exit(f"run.py: {what}: there is no {name}; there are {' '.join(known)}")
        return [name for name in known if name in chosen]

    @staticmethod
    def number(environment, name, default):
        text = environment.get(name) or str(default)
        if not text.isdecimal() or int(text) < 1:
            sys.exit(f"run.py: {name} takes a number from 1, not '{text}'")
        return int(text)


class RowError(Exception):
    """A row could not be measured: the text says why."""


class Run:
    """All rows of one store."""

    def __init__(self, settings, kind, packages):
        self.settings = settings
        self.kind = kind
        self.packages = packages
        self.rows = {}
        self.streams = 0  # used so far in the store that runs

    def program(self):
        path = os.path.join(self.settings.programs, f"bench-{self.kind.program}")
        if not os.access(path, os.X_OK):
            raise stores.StoreError(f"{path} is missing: its library is neither installed nor "
                                    "could it be fetched")
        return path

    def measure(self, store, row, streams, options, servers=None):
        words = [self.program(), "--row", row, "--servers", ",".join(servers or store.servers()),
                 "--processes", ",".join(str(pid) for pid in store.process_ids()),
                 "--folder", store.folder, "--first-stream", str(self.streams), "--streams", str(streams),
                 "--seconds", str(self.settings.seconds)]
        for name, value in options.items():
            words += [f"--{name}", str(value)]
        limit = 900 + 10 * self.settings.seconds
        try:
            done = subprocess.run(words, env=self.packages.environment(), capture_output=True,
                                  text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            raise RowError(f"not done after {limit} seconds") from None
        if done.returncode != 0:
            raise RowError((done.stderr.strip() or f"exit code {done.returncode}")[-400:])
        return json.loads(done.stdout)

    def keep(self, name, measure):
        """Measure a row and say how it went."""
        try:
            self.rows[name] = measure()
            print(f"  {self.kind.name:10} {name:17} {table.in_a_line(self.rows[name])}", flush=True)
        except (RowError, stores.StoreError) as problem:
            self.rows[name] = {"problem": str(problem)}
            print(f"  {self.kind.name:10} {name:17} failed: {problem}", flush=True)

    def wanted(self, rows):
        return [name for name in rows if name in self.settings.rows
                and (name != "batch-100-packed" or self.kind.name in PACKED_STORES)]

    def appends(self, store, names):
        for name in names:
            self.keep(name, lambda name=name: self.measure(store, "append", BATCH_STREAMS,
                                                           APPEND_ROWS[name]))
            self.streams += BATCH_STREAMS

    def fill(self, store, streams, events):
        filled = self.measure(store, "fill", streams,
                              {"in-flight": min(FILL_IN_FLIGHT, max(1, streams // 2)),
                               "batch": READ_BATCH})
        if filled["events"] != events:
            raise RowError(f"{filled['events']} of {events} events stored")
        store.prepare_reads()

    def reads(self, store, names):
        streams = self.settings.fill_streams
        events = streams * READ_BATCH
        if names != ["deliver"]:
            self.fill(store, streams, events)
        for name in names:
            options = dict(READ_ROWS[name])
            if name == "deliver":
                self.streams += streams
                self.keep(name, lambda: self.measure(store, "deliver", BATCH_STREAMS, options))
                continue
            row = "read-all" if name == "read-all" else "read-stream"
            options |= {"expect": events} if row == "read-all" else {"batch": READ_BATCH}
            self.keep(name, lambda: self.measure(store, row, streams, options))

    def failover_once(self, store):
        leader = stores.wait_until(store.leader, f"{store.name}: nobody leads")
        options = {"rate": FAILOVER_RATE, "leader": store.process_id(leader)}
        command = store.after_kill(leader)
        if command:
            options["after-kill"] = command
        row = self.measure(store, "failover", BATCH_STREAMS, options, store.servers(leader))
        self.streams += BATCH_STREAMS
        store.restart(leader)
        return row

    def failovers(self, store, names):
        def measure():
            rows = [self.failover_once(store) for _ in range(self.settings.failovers)]
            return summed_up(rows)

        for name in names:
            self.keep(name, measure)

    def fresh(self, part, names):
        """One part of the rows on a store that was just set up."""
        if not names:
            return
        folder = tempfile.mkdtemp(prefix=f"annal-peers-{self.kind.name}-")
        store = None
        self.streams = 0
        try:
            store = self.kind(self.packages, folder)
            store.start()
            part(store, names)
        except (RowError, stores.StoreError) as problem:
            print(f"  {self.kind.name:10} failed: {problem}", flush=True)
            for name in names:
                self.rows.setdefault(name, {"problem": str(problem)})
        finally:
            if store is not None:
                store.stop()
            if self.settings.keep:
                print(f"  {self.kind.name:10} folder: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)

    def all(self):
        for name in self.wanted(self.kind.same_rows):
            self.rows[name] = {"same_as": self.kind.same_as}
        self.fresh(self.appends, self.wanted(APPEND_ROWS))
        self.fresh(self.reads, [name for name in self.wanted(READ_ROWS)
                                if name not in self.kind.same_rows])
        self.fresh(self.failovers, self.wanted(["failover"]))
        return self.rows


def summed_up(rows):
    """Of several failovers: how long they took, and what was lost in all of them."""
    times = sorted(row["failover_ms"] for row in rows)
    return {"store": rows[0]["store"], "row": "failover", "times": len(times), "all_ms": times,
            "p50_ms": statistics.median(times),
            "p99_ms": times[min(len(times) - 1, int(0.99 * len(times)))],
            "acknowledged": sum(row["acknowledged"] for row in rows),
            "acknowledged_lost": sum(row["acknowledged_lost"] for row in rows)}


def first_match(path, start):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.startswith(start):
                return line.split(":", 1)[1].strip()
    return ""


def machine():
    folder = tempfile.gettempdir()
    kind = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True,
                          check=False).stdout.split()[-1]
    if kind == "tmpfs":
        sys.exit(f"run.py: {folder} is in memory, where syncing costs nothing: set TMPDIR to a "
                 "folder on a disk")
    return {"processors": os.cpu_count(), "processor": first_match("/proc/cpuinfo", "model name"),
            "memory_gib": round(int(first_match("/proc/meminfo", "MemTotal").split()[0]) / 2**20),
            "kernel": platform.release(), "file_system": kind,
            "load_before": os.getloadavg()[0]}


def measure_store(settings, name, packages):
    kind = stores.STORES[name]
    result = {"name": name, "promise": kind.promise, "version": "", "rows": {}}
    try:
        result["version"] = kind.version(kind(packages, ""))
        run = Run(settings, kind, packages)
        run.program()
        result["rows"] = run.all()
    except stores.StoreError as problem:
        result["missing"] = str(problem)
        print(f"  {name:10} left out: {problem}", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--json", help="file for the results")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # so that what was started is stopped
    os.environ.setdefault("ANNAL_BIN_DIR", os.path.join(stores.ROOT, "build", "release"))
    settings = Settings(os.environ)
    packages = stores.Packages(os.path.join(stores.ROOT, "build", "packages"))
    results = {"when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
               "seconds_per_row": settings.seconds, "failovers": settings.failovers,
               "read_events": settings.fill_streams * READ_BATCH, "machine": machine(),
               "stores": []}
    for name in settings.peers:
        results["stores"].append(measure_store(settings, name, packages))
        if arguments.json:
            os.makedirs(os.path.dirname(os.path.abspath(arguments.json)), exist_ok=True)
            with open(arguments.json, "w", encoding="utf-8") as file:
                json.dump(results, file, indent=1)
                file.write("\n")
    print()
    print(table.markdown(results))
    failed = [name for store in results["stores"] for name, row in store["rows"].items()
              if "problem" in row]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
