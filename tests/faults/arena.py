"""One cell: a cluster, clients, faults; then calm, and the verdict."""

import contextlib
import random
import json
import os
import subprocess
import threading
import time

import checker
import family
from annal_rpc import ConnectionLost, NoAnswer, RpcError
from cluster import ClusterError
from contenders import all_clients, read_last_checkpoints
from disk_faults import verify
from nodes import FaultCluster
from tool import ToolClient, ToolSubscriber
from workload import QUERY, Subscriber, World, collect, histories, save_history

ACKED_PER_SECOND_MIN = 5
SECONDS_PER_STRIKE = 20  # a fault must have struck at least once in so long
NEMESIS_END_SECONDS = 150
CLAIM_ALL_SECONDS = 20


class Arena:
    """Where faults meet: who has which node, and what has been done when."""

    def __init__(self, world):
        self.world = world
        self.cluster = world.cluster
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.claimed = set()
        self.all_wanted = False  # by a fault that strikes all nodes: nobody else gets one meanwhile
        self.plans = []  # what was done when
        self.leaders = []  # (when, who leads from then on)
        self.mounts = []
        self.begin = time.monotonic()

    def claim(self, number):
        with self.lock:
            if number in self.claimed or self.all_wanted:
                return False
            self.take(number)
            return True

    def take(self, number):
        self.claimed.add(number)
        self.world.touched[number] = float("inf")

    def claim_all(self):
        """Every node, once the others have let go of theirs; [] when that takes too long."""
        with self.lock:
            if self.all_wanted:
                return []
            self.all_wanted = True
        deadline = time.monotonic() + CLAIM_ALL_SECONDS
        numbers = []
        while not numbers and time.monotonic() < deadline and not self.stopping.wait(0.02):
            with self.lock:
                if not self.claimed:
                    numbers = sorted(self.cluster.nodes)
                    for number in numbers:
                        self.take(number)
        self.all_wanted = False
        return numbers

    def release(self, number):
        with self.lock:
            self.claimed.discard(number)
            self.world.touched[number] = time.monotonic()

    @contextlib.contextmanager
    def plan(self, fault, what, **more):
        entry = {"fault": fault.name, "what": what, "begin": time.monotonic() - self.begin, **more}
        self.plans.append(entry)
        try:
            yield entry
        finally:
            entry["end"] = time.monotonic() - self.begin


class Nemesis(threading.Thread):
    def __init__(self, arena, fault):
        super().__init__(daemon=True, name=f"nemesis {fault.name}")
        self.arena = arena
        self.fault = fault

    def run(self):
        self.arena.stopping.wait(1)
        while not self.arena.stopping.is_set():
            try:
                self.fault.strike()
            except Exception as error:  # whatever it is, the cell has failed
                self.arena.world.problem("fault-failed", f"{self.fault.name}: {error!r}")
                self.arena.stopping.wait(2)
            self.arena.stopping.wait(self.fault.random.uniform(*self.fault.rest))


class Watcher(threading.Thread):
    """Knows the leader, and that a node that nobody struck runs."""

    def __init__(self, arena):
        super().__init__(daemon=True, name="watcher")
        self.arena = arena
        self.world = arena.world

    def run(self):
        while not self.world.stop_clients.wait(0.2):
            for number, node in list(self.world.cluster.nodes.items()):
                if number not in self.arena.claimed:
                    self.look(number, node)

    def look(self, number, node):
        if node.pid() is None:
            self.dead(number, node)
            return
        try:
            with node.connect(connect_timeout=0.5) as connection:
                is_leader = connection.call("ping", timeout=0.5)["role"] == "leader"
        except (OSError, ConnectionLost, NoAnswer, RpcError):
            return
        if is_leader and number != self.world.leader:
            self.world.leader_changes += self.world.leader is not None
            self.world.leader = number
            self.arena.leaders.append((time.monotonic() - self.arena.begin, number))

    def dead(self, number, node):
        if not self.arena.claim(number):
            return
        time.sleep(0.1)
        if node.pid() is None and number in self.world.cluster.nodes:
            code = self.world.cluster.controls[number].exit_code()
            tail = " | ".join(node.log_text().strip().split("\n")[-8:])
            self.world.problem("node-died", f"node {number} ended by itself, exit code {code}: {tail}")
            try:
                node.restart()
            except ClusterError as error:
                self.world.problem("node-does-not-start", str(error))
        self.arena.release(number)


class Cell:
    """`kinds`: classes of faults; more than one strike at the same time."""

    def __init__(self, kinds, nodes, seconds, seed, folder, interpose, packets=False):
        self.kinds = kinds
        self.name = "+".join(kind.name for kind in kinds)
        self.size = nodes
        self.seconds = seconds
        self.seed = seed
        self.folder = folder
        self.interpose = interpose
        self.packets = packets
        self.world = self.arena = None
        self.faults = []
        self.violations = [("aborted", "the cell did not come to its end")]

    def run(self):
        os.makedirs(self.folder)
        cluster = FaultCluster(
            self.size, self.folder, self.interpose,
            with_links=any(kind.needs_links for kind in self.kinds),
            with_journal=any(kind.needs_journal for kind in self.kinds),
            packets=self.packets,
        )
        try:
            cluster.start()
            self.world = World(cluster, f"{self.seed}/{self.name}/{self.size}")
            self.arena = Arena(self.world)
            self.faults = [kind(self.arena, self.world.random(kind.name)) for kind in self.kinds]
            self.storm_and_judge()
        finally:
            if not family.ending.is_set():  # else all goes at once
                self.end(cluster)

    def storm_and_judge(self):
        subscribers = self.storm()
        logs, digests = collect(self.world, subscribers)
        read_last_checkpoints(self.world)
        violations = self.judge(subscribers, logs, digests)
        self.world.cluster.stop()
        for node in self.world.cluster.nodes.values():
            code, text = verify(node)
            if code != 0:
                violations.append(("verify", f"node {node.number}: {text.strip()[:1000]}"))
        self.violations = violations
        if violations:
            save_history(self.world, subscribers, logs)

    def storm(self):
        world, numbers = self.world, list(self.world.cluster.nodes)
        subscribers = [Subscriber(world, number) for number in numbers]
        subscribers += [Subscriber(world, n, stream=f"Shared-{n}") for n in numbers]
        subscribers += [Subscriber(world, n, query=QUERY) for n in numbers]
        subscribers += [Subscriber(world, numbers[0], window=50), ToolSubscriber(world)]
        clients = all_clients(world, 4) + [ToolClient(world, 0)]
        nemeses = [Nemesis(self.arena, fault) for fault in self.faults]
        for thread in subscribers + clients + nemeses + [Watcher(self.arena)]:
            thread.start()
        self.arena.stopping.wait(self.seconds)
        self.arena.stopping.set()
        for nemesis in nemeses:
            nemesis.join(NEMESIS_END_SECONDS)
            if nemesis.is_alive():
                world.problem("fault-hangs", nemesis.name)
        time.sleep(0.5)
        world.stop_clients.set()
        for client in clients:
            client.join(60)
            if client.is_alive():
                world.problem("client-hangs", client.name)
        return subscribers

    def judge(self, subscribers, logs, digests):
        violations = []
        if logs:
            found = checker.check(self.world.appends, logs, digests, **histories(self.world, subscribers))
            violations += [(one.kind, one.detail) for one in found]
        least = max(1, int(self.seconds // SECONDS_PER_STRIKE))
        for fault in self.faults:
            if fault.struck < least:
                violations.append(
                    ("too-calm", f"{fault.name} struck {fault.struck} times, {least} are due: {fault.details}")
                )
        if self.world.counts["ok"] < self.seconds * ACKED_PER_SECOND_MIN:
            violations.append(("too-little", f"only {self.world.counts['ok']} appends were acknowledged"))
        return self.world.problems + violations

    def end(self, cluster):
        for mount in self.arena.mounts if self.arena else ():
            subprocess.run(["umount", "--lazy", mount], check=False)
        if self.arena is not None:
            self.world.stop_all.set()
            self.world.stop_clients.set()
            with open(os.path.join(self.folder, "plan.ndjson"), "w", encoding="utf-8") as file:
                for entry in self.arena.plans:
                    print(json.dumps(entry), file=file)
        cluster.close(failed=bool(self.violations))
        left = [family.name_of(pid) for pid in family.running()]
        if left:
            self.violations.append(("left-running", f"at the end of the cell: {left}"))
            family.kill_all()
        family.reap()

    # ---- what it came to ----

    def counts(self):
        return self.world.counts if self.world else {"ok": 0, "refused": 0, "unknown": 0}

    def line(self):
        struck = " ".join(f"{fault.name} {fault.struck}" for fault in self.faults)
        counts = self.counts()
        changes, gap = (self.world.leader_changes, self.world.longest_gap) if self.world else (0, 0)
        return (
            f"{self.name:<28} {self.size} nodes  struck: {struck}; appends ok {counts['ok']} "
            f"refused {counts['refused']} unknown {counts['unknown']}; leader changes {changes}; "
            f"longest gap {gap:.2f} s"
        )

    def result(self):
        begin = self.arena.begin if self.arena else 0
        appends = self.world.appends if self.world else []
        return {
            "cell": self.name,
            "nodes": self.size,
            "seconds": self.seconds,
            "seed": self.seed,
            "passed": not self.violations,
            "struck": {fault.name: fault.struck for fault in self.faults},
            "details": {fault.name: fault.details for fault in self.faults},
            "appends": dict(self.counts()),
            "reads": len(self.world.reads) if self.world else 0,
            "leader_changes": self.world.leader_changes if self.world else 0,
            "longest_gap": self.world.longest_gap if self.world else 0,
            "violations": self.violations[:50],
            "plan": self.arena.plans if self.arena else [],
            "leaders": self.arena.leaders if self.arena else [],
            "packets": self.packets,
            "acked": sorted(a.answered - begin for a in appends if a.outcome == "ok"),
            "folder": self.folder if self.violations else None,
        }


def seed_from(number):
    return number if number is not None else random.SystemRandom().getrandbits(32)
