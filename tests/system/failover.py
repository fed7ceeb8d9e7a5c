#!/usr/bin/env python3
"""Failover of real processes: clients append, subscribers listen, nodes are killed, frozen and restarted;
then calm, and the checker decides whether all of it can come from one log.

Exits with 1 on a violation, and when too little happened for the run to mean anything. Every random
choice comes from --seed (what the machine does meanwhile does not).
"""

import argparse
import random
import signal
import sys
import threading
import time

import checker
from annal_rpc import ConnectionLost, NoAnswer, RpcError
from cluster import Cluster, ClusterError
from contenders import all_clients, read_last_checkpoints
from workload import QUERY, Subscriber, World, collect, histories, save_history

FAULTS_PER_SECOND_MIN = 0.1
ACKED_PER_SECOND_MIN = 10


class Nemesis(threading.Thread):
    """Strikes nodes, and repairs each after a while. Mostly a minority is down at once."""

    def __init__(self, world):
        super().__init__(daemon=True, name="nemesis")
        self.world = world
        self.random = world.random("nemesis")
        self.down = {}  # node number -> (how, when to repair)
        self.struck = {"kill": 0, "pause": 0, "restart": 0, "all": 0}
        self.stopping = threading.Event()

    def run(self):
        due = time.monotonic() + 1
        try:
            while not self.stopping.wait(0.05):
                now = time.monotonic()
                self.watch()
                self.repair(now)
                if now >= due:
                    self.try_to_strike(now)
                    due = time.monotonic() + self.random.uniform(0.3, 3.0)
            self.repair(float("inf"))
        except Exception as error:
            self.world.problem("nemesis-failed", repr(error))
            raise

    def watch(self):
        """A node that nobody struck must run."""
        for number, node in self.world.cluster.nodes.items():
            if number in self.down or node.pid() is not None:
                continue
            tail = node.log_text().strip().split("\n")[-8:]
            self.world.problem("node-died", f"node {number} ended by itself: " + " | ".join(tail))
            self.down[number] = ("kill", time.monotonic())

    def try_to_strike(self, now):
        try:
            self.strike(now)
        except ClusterError as error:  # a node ended by itself, or does not start again
            self.world.problem("node-does-not-obey", str(error))

    def strike(self, now):
        minority = (len(self.world.cluster.nodes) - 1) // 2
        if self.random.random() < 0.06:
            self.strike_all(now)
        elif len(self.down) < minority:
            up = [number for number in self.world.cluster.nodes if number not in self.down]
            leader = self.world.leader
            number = leader if leader in up and self.random.random() < 0.5 else self.random.choice(up)
            how = self.random.choices(["kill", "pause", "restart"], [5, 4, 2])[0]
            self.strike_one(number, how, now + self.random.uniform(0.2, 5))

    def strike_one(self, number, how, until):
        node = self.world.cluster[number]
        self.world.touched[number] = float("inf")
        self.struck[how] += 1
        if how == "restart":
            node.restart()
            self.world.touched[number] = time.monotonic()
            return
        self.down[number] = (how, until)
        if how == "kill":
            node.kill()
        else:
            node.pause()

    def strike_all(self, now):
        self.struck["all"] += 1
        for number in self.world.cluster.nodes:
            if number not in self.down:
                self.down[number] = ("kill", now + self.random.uniform(0.2, 2))
                self.world.touched[number] = float("inf")
                self.world.cluster[number].kill()

    def repair(self, now):
        for number, (how, until) in list(self.down.items()):
            if now < until:
                continue
            node = self.world.cluster[number]
            if how == "pause":
                node.resume()
            else:
                try:
                    node.restart()
                except ClusterError as error:
                    self.world.problem("node-does-not-start", str(error))
                    self.down[number] = (how, time.monotonic() + 2)
                    if now == float("inf"):
                        return
                    continue
            del self.down[number]
            self.world.touched[number] = time.monotonic()


class Watcher(threading.Thread):
    """Knows the leader; prints how it goes."""

    def __init__(self, world, nemesis):
        super().__init__(daemon=True, name="watcher")
        self.world = world
        self.nemesis = nemesis

    def run(self):
        begin = time.monotonic()
        due = begin + 5
        while not self.world.stop_clients.wait(0.25):
            self.look()
            if time.monotonic() >= due:
                due += 5
                print(f"{time.monotonic() - begin:5.0f} s  {self.line()}", flush=True)

    def look(self):
        for number, node in self.world.cluster.nodes.items():
            if number in self.nemesis.down:
                continue
            try:
                with node.connect(connect_timeout=0.5) as connection:
                    leader = connection.call("ping", timeout=0.5)["role"] == "leader" and number
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                continue
            if leader and leader != self.world.leader:
                self.world.leader_changes += self.world.leader is not None
                self.world.leader = leader

    def line(self):
        counts, struck = self.world.counts, self.nemesis.struck
        faults = " ".join(f"{how} {count}" for how, count in struck.items())
        return (
            f"faults: {faults}; appends: ok {counts['ok']} refused {counts['refused']} "
            f"unknown {counts['unknown']}; leader changes {self.world.leader_changes}; "
            f"longest gap {self.world.longest_gap:.2f} s"
        )


# ---- the run ----


def run_storm(world, seconds, client_count):
    nodes = list(world.cluster.nodes)
    subscribers = [Subscriber(world, number) for number in nodes]
    subscribers += [Subscriber(world, n, stream=f"Shared-{n}") for n in nodes]
    subscribers += [Subscriber(world, n, query=QUERY) for n in nodes]
    subscribers += [Subscriber(world, nodes[0], window=50)]
    clients = all_clients(world, client_count)
    nemesis = Nemesis(world)
    for thread in subscribers + clients + [nemesis, Watcher(world, nemesis)]:
        thread.start()
    time.sleep(seconds)
    nemesis.stopping.set()
    nemesis.join()
    world.stop_clients.set()
    for client in clients:
        client.join(60)
        if client.is_alive():
            world.problem("client-hangs", client.name)
    return subscribers, nemesis


def judge(world, subscribers, nemesis, seconds, logs, digests):
    violations = list(world.problems)
    if logs:
        found = checker.check(world.appends, logs, digests, **histories(world, subscribers))
        violations += [(one.kind, one.detail) for one in found]
    faults = sum(nemesis.struck.values())
    if faults < max(1, seconds * FAULTS_PER_SECOND_MIN):
        violations.append(("too-calm", f"only {faults} faults struck in {seconds} s"))
    if world.counts["ok"] < seconds * ACKED_PER_SECOND_MIN:
        violations.append(("too-little", f"only {world.counts['ok']} appends were acknowledged"))
    return violations


def print_verdict(world, subscribers, nemesis, logs, violations):
    sizes = ", ".join(f"node {number}: {len(log)}" for number, log in logs.items())
    resumed = sum(subscriber.resumed for subscriber in subscribers)
    seen = sum(len(subscriber.received.events) for subscriber in subscribers)
    rows = [
        ("faults", " ".join(f"{how} {count}" for how, count in nemesis.struck.items())),
        ("appends", " ".join(f"{name} {count}" for name, count in world.counts.items())),
        ("leader changes", world.leader_changes),
        ("longest gap", f"{world.longest_gap:.2f} s"),
        ("records", sizes),
        ("reads", f"{len(world.reads)}, of checkpoints {len(world.checkpoint_reads)}"),
        ("checkpoints", f"{len(world.checkpoints)} written, or tried"),
        ("subscribers", f"{len(subscribers)} saw {seen} events, resumed {resumed} times"),
    ]
    counts = {}
    for kind, _ in violations:
        counts[kind] = counts.get(kind, 0) + 1
    print("\nverdict")
    for name, value in rows:
        print(f"  {name:<16} {value}")
    for kind in list(checker.KINDS) + sorted(set(counts) - set(checker.KINDS)):
        print(f"  {kind:<24} {counts.get(kind, 0)}" + ("  VIOLATED" if counts.get(kind) else ""))
    for kind, detail in violations[:20]:
        print(f"  {kind}: {detail[:1000]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--nodes", type=int, choices=(3, 5), default=3)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE",
                        help="a setting of annald")
    parser.add_argument("--keep", action="store_true", help="keep logs and data of a good run too")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(32)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    print(f"failover: --seed {seed} --nodes {arguments.nodes} --seconds {arguments.seconds:g}", flush=True)
    cluster = Cluster(arguments.nodes, arguments.set)
    violations = [("aborted", "the run did not come to its end")]
    try:
        cluster.start()
        world = World(cluster, seed)
        subscribers, nemesis = run_storm(world, arguments.seconds, arguments.clients)
        logs, digests = collect(world, subscribers)
        read_last_checkpoints(world)
        violations = judge(world, subscribers, nemesis, arguments.seconds, logs, digests)
        print_verdict(world, subscribers, nemesis, logs, violations)
        if violations or arguments.keep:
            save_history(world, subscribers, logs)
    finally:
        cluster.close(failed=bool(violations) or arguments.keep)
    print(f"\nRan 1 failover test with seed {seed}\n\n" + ("FAILED" if violations else "OK"))
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
