"""For n = 1, 2, 3, … the n-th call of a kind fails, until the work is done without one: the plan and the table."""

import collections
import concurrent.futures
import os
import random
import shutil
import subprocess
import threading

from attempt import CLEAN_ENDS, COUNT, Defect, Report, Strike

BEYOND = 20  # how many more are tried when calls came that were not counted before


class Row:
    """What came out for one kind of call of one workload."""

    def __init__(self):
        self.tried = self.struck = self.went_on = self.errors = self.ends = self.passed = self.defects = 0

    def add(self, struck, code):
        self.tried += 1
        self.struck += struck
        self.passed += not struck
        if struck:
            self.went_on += code in (0, None)
            self.ends += code in CLEAN_ENDS
            self.errors += code not in (0, None) and code not in CLEAN_ENDS

    def numbers(self):
        return (self.tried, self.struck, self.went_on, self.errors, self.ends, self.passed, self.defects)


class Loops:
    def __init__(self, library, scratch, dense, points, jobs):
        self.library, self.scratch = library, scratch
        self.dense, self.points, self.jobs = dense, points, jobs
        self.rows = collections.OrderedDict()
        self.sites = collections.Counter()  # (call, frames) -> how often
        self.defects = []
        self._lock = threading.Lock()
        self._folders = 0
        self.prepared = []

    # ---- one ----

    def _folder(self):
        with self._lock:
            self._folders += 1
            folder = os.path.join(self.scratch, f"{self._folders}")
        os.makedirs(folder)
        return folder

    def try_one(self, workload, strike):
        """The report of the library."""
        folder, row = self._folder(), self.rows[(workload.name, strike.kind)]
        try:
            code, report = workload.attempt(strike, folder, self.library)
        except Defect as defect:
            report = self._keep(workload, strike, folder, defect)
            row.tried += 1
            row.defects += 1
            row.struck += report.struck > 0
            self._note(report)
            return report
        with self._lock:
            row.add(report.struck > 0, code)
        self._note(report)
        shutil.rmtree(folder)
        return report

    def _note(self, report):
        if report.struck:
            with self._lock:
                self.sites[(report.call, tuple(report.frames))] += 1

    def _keep(self, workload, strike, folder, defect):
        report = Report(os.path.join(folder, "report"))
        with self._lock:
            self.defects.append((f"{workload.name}:{strike}", str(defect), folder))
        print(f"DEFECT {workload.name}:{strike}: {defect}", flush=True)
        print(f"    struck {report.call} {report.about}: {' < '.join(self.names(report.frames)[:9])}", flush=True)
        print(f"    kept in {folder}", flush=True)
        return report

    def close(self):
        """The nodes that served the programs end."""
        for workload in self.prepared:
            if hasattr(workload, "close"):
                workload.close()

    # ---- names of frames ----

    def names(self, frames):
        """The functions that the frames are of, innermost first; of libraries without symbols, the file."""
        found = []
        by_module = collections.defaultdict(list)
        for module, offset in frames:
            by_module[module].append(offset)
        known = {}
        for module, offsets in by_module.items():
            done = subprocess.run(
                ["addr2line", "-f", "-e", module, *offsets], capture_output=True, text=True, check=False
            )
            names = done.stdout.split("\n")[0::2]
            known.update(((module, offset), name) for offset, name in zip(offsets, names))
        for module, offset in frames:
            base = os.path.basename(module)
            if base == "fail.so":
                continue
            name = known.get((module, offset), "??")
            found.append(name if name != "??" else base)
        return found

    # ---- all of one kind ----

    def plan(self, count):
        """Every n up to `dense`, then `points` more up to the number of calls that were counted."""
        chosen = list(range(1, min(self.dense, count) + 1))
        step = max(1, (count - self.dense) // max(1, self.points))
        chosen += list(range(self.dense + step, count + 1, step))
        return chosen, step

    def count(self, workload):
        """How often each kind of call comes when none fails."""
        self.prepared.append(workload)
        workload.prepare(self.scratch, self.library)
        _, report = workload.attempt(Strike(COUNT, "", 0), self._folder(), self.library)
        return report.counts

    def run_kind(self, workload, kind, errors, count):
        row = self.rows.setdefault((workload.name, kind), Row())
        chosen, step = self.plan(count)
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            for error in errors:
                strikes = [Strike(kind, error, nth) for nth in chosen]
                list(pool.map(lambda strike: self.try_one(workload, strike), strikes))
                if chosen:
                    self._until_passed(workload, kind, error, chosen[-1] + step, step)
        stride = f"   every n to {self.dense}, then each {step}" if count > self.dense else ""
        self._print(workload.name, kind, count, row, stride)

    def _print(self, name, kind, count, row, stride=""):
        numbers = " ".join(f"{number:7d}" for number in row.numbers())
        print(f"{name:<12} {kind:<13} {count:7d} {numbers}{stride}", flush=True)

    def _until_passed(self, workload, kind, error, nth, step):
        for _ in range(BEYOND):
            if not self.try_one(workload, Strike(kind, error, nth)).struck:
                return
            nth += step

    def _heading(self):
        heading = "calls tried struck went-on errors ends passed defects".split()
        print(f"{'workload':<12} {'kind':<13} " + " ".join(f"{one:>7}" for one in heading), flush=True)

    def run(self, workloads, kinds):
        self._heading()
        for workload in workloads:
            counts = self.count(workload)
            for kind, errors in kinds.items():
                if counts[kind]:
                    self.run_kind(workload, kind, errors, counts[kind])
        return self.defects

    def run_sample(self, workloads, kinds, size, seed):
        """So many strikes of all, by chance."""
        chance = random.Random(seed)
        counted = {workload: self.count(workload) for workload in workloads}
        pairs = [(workload, kind) for workload in workloads for kind in kinds if counted[workload][kind]]
        chosen = []
        for number in range(size):
            workload, kind = pairs[number % len(pairs)] if number % len(pairs) else chance.choice(pairs)
            if number % len(pairs) == 0:
                chance.shuffle(pairs)
            nth = chance.randint(1, counted[workload][kind])
            chosen.append((workload, Strike(kind, chance.choice(kinds[kind]), nth)))
            self.rows.setdefault((workload.name, kind), Row())
        with concurrent.futures.ThreadPoolExecutor(self.jobs) as pool:
            list(pool.map(lambda one: self.try_one(*one), chosen))
        self._heading()
        for (name, kind), row in self.rows.items():
            workload = next(one for one in workloads if one.name == name)
            self._print(name, kind, counted[workload][kind], row)
        return self.defects
