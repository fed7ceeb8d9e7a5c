#!/usr/bin/env python3
"""Failover of real processes: clients append, subscribers listen, nodes are killed, frozen and restarted;
then calm, and the checker decides whether all of it can come from one log.

Exits with 1 on a violation, and when too little happened for the run to mean anything. Every random
choice comes from --seed (what the machine does meanwhile does not).
"""

import argparse
import dataclasses
import hashlib
import json
import os
import random
import signal
import sys
import threading
import time

import checker
from annal_rpc import DATA, ID, POSITION, STREAM, TYPE, VERSION
from annal_rpc import ConnectionLost, NoAnswer, RpcError, packed
from checker import Append, Received
from cluster import Cluster, ClusterError

CALL_TIMEOUT_MS = 2000
NO_ANSWER_SECONDS = 6  # beyond its timeout_ms a node that runs must have answered
SHARED_STREAMS = 20
SILENCE_SECONDS = 3  # a subscriber that hears nothing looks elsewhere
FAULTS_PER_SECOND_MIN = 0.1
ACKED_PER_SECOND_MIN = 10
CALM_SECONDS = 90

SAFE_TO_RETRY = ("NO_LEADER", "OVERLOADED", "NOT_LEADER", "SHUTTING_DOWN")


def fingerprint_of(type, data):
    return hashlib.blake2b(packed([type, data]), digest_size=8).digest()


def fingerprint(record):
    return fingerprint_of(record[TYPE], record[DATA])


class World:
    """What all threads share."""

    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.seed = seed
        self.lock = threading.Lock()
        self.appends = []
        self.problems = []  # (what, detail): seen while it ran
        self.known_versions = {}  # of streams, as clients last heard
        self.touched = {}  # node number -> when it was last struck or repaired
        self.counts = {"ok": 0, "refused": 0, "unknown": 0, "duplicate": 0}
        self.leader_changes = 0
        self.leader = None
        self.last_ack = time.monotonic()
        self.longest_gap = 0.0
        self.stop_clients = threading.Event()
        self.stop_all = threading.Event()

    def random(self, name):
        return random.Random(f"{self.seed}/{name}")

    def problem(self, what, detail):
        with self.lock:
            self.problems.append((what, detail))
        print(f"  !! {what}: {detail}", flush=True)

    def count_ack(self):
        now = time.monotonic()
        self.longest_gap = max(self.longest_gap, now - self.last_ack)
        self.last_ack = now


@dataclasses.dataclass
class Attempt:
    outcome: str
    answer: dict = None
    error: dict = None


class Client(threading.Thread):
    """Appends one after the other; after an unknown outcome mostly tries again, with the same ids,
    through any node."""

    def __init__(self, world, number):
        super().__init__(daemon=True, name=f"client {number}")
        self.world = world
        self.random = world.random(f"client {number}")
        self.connection = None
        self.node = None  # its number
        self.fresh_streams = 0

    def run(self):
        try:
            while not self.world.stop_clients.is_set():
                self.one_append()
                time.sleep(self.random.random() * 0.004)
        except Exception as error:  # a client that ends unseen would hide what it saw
            self.world.problem("client-failed", f"{self.name}: {error!r}")
            raise
        finally:
            self.disconnect()

    # ---- what to append ----

    def choose_stream(self):
        if self.random.random() < 0.1:
            self.fresh_streams += 1
            return f"Fresh-{self.name.split()[1]}.{self.fresh_streams}"
        return f"Shared-{self.random.randrange(SHARED_STREAMS)}"

    def choose_expectation(self, stream):
        known = self.world.known_versions.get(stream, 0)
        return self.random.choices(
            ["any", known, "no_stream", "stream_exists", known + 1], [50, 32, 6, 10, 2]
        )[0]

    def choose_events(self):
        count = 1 if self.random.random() < 0.75 else self.random.randint(2, 8)
        events = []
        for _ in range(count):
            data = self.random.randbytes(self.random.choice([0, 10, 200, 2000]))
            events.append(
                {"type": f"Type{self.random.randrange(5)}", "data": data,
                 "id": self.random.randbytes(16)}
            )
        return events

    def choose_request(self):
        """(params, Append)"""
        several = self.random.random() < 0.15
        streams = [self.choose_stream() for _ in range(self.random.randint(2, 3) if several else 1)]
        writes, events, expected = [], [], {}
        for stream in streams:
            write = {"stream": stream, "events": self.choose_events()}
            if stream not in expected:
                expected[stream] = write["expected_version"] = self.choose_expectation(stream)
            writes.append(write)
            events += [
                (stream, e["id"], fingerprint_of(e["type"], e["data"])) for e in write["events"]
            ]
        params = {"writes": writes} if several else dict(writes[0])
        params["timeout_ms"] = CALL_TIMEOUT_MS
        return params, Append(events, sent=0, expected=expected, client=self.name)

    # ---- sending it ----

    def connect(self):
        """Stays with a node for a while; so some are with the leader, some with followers."""
        if self.connection is not None and self.random.random() < 0.01:
            self.disconnect()
        if self.connection is None or self.connection.is_lost():
            self.node = self.random.choice(list(self.world.cluster.nodes))
            self.connection = self.world.cluster[self.node].connect(connect_timeout=1)

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def attempt(self, params):
        try:
            self.connect()
        except OSError:
            return Attempt("refused")
        try:
            answer = self.connection.call("append", params, timeout=NO_ANSWER_SECONDS)
            return Attempt("ok", answer=answer)
        except RpcError as error:
            return Attempt(self.outcome_of_error(error), error=error.fields)
        except ConnectionLost:
            self.disconnect()
            return Attempt("unknown")
        except NoAnswer:
            self.judge_silence()
            self.disconnect()
            return Attempt("unknown")

    def judge_silence(self):
        """A node that was left alone must answer within timeout_ms."""
        touched = self.world.touched.get(self.node, 0)
        if time.monotonic() - touched > NO_ANSWER_SECONDS + 1:
            self.world.problem("no-answer", f"{self.name} from node {self.node}")

    def outcome_of_error(self, error):
        if error.code == "WRONG_EXPECTED_VERSION" or error.code in SAFE_TO_RETRY:
            return "refused"
        if error.code == "TIMEOUT":
            return "refused" if error.fields.get("outcome") == "none" else "unknown"
        self.world.problem("unexpected-error", f"{self.name}: {error.fields}")
        return "unknown"

    def one_append(self):
        params, append = self.choose_request()
        append.sent = time.monotonic()
        attempts = []
        tries = 1 + (self.random.random() < 0.8) * 10
        while len(attempts) < tries:
            attempts.append(self.attempt(params))
            last = attempts[-1]
            if last.outcome == "ok" or (last.error or {}).get("code") == "WRONG_EXPECTED_VERSION":
                break
            if self.world.stop_all.wait(self.random.random() * 0.3):
                break
        append.answered = time.monotonic()
        self.conclude(append, attempts)

    def conclude(self, append, attempts):
        outcomes = {attempt.outcome for attempt in attempts}
        append.outcome = next(o for o in ("ok", "unknown", "refused") if o in outcomes)
        last = attempts[-1]
        if append.outcome == "ok":
            append.first_position = last.answer["first_position"]
            append.position = last.answer["position"]
            append.versions = last.answer["versions"]
        elif append.outcome == "unknown":
            append.answered = float("inf")
        elif len(attempts) == 1 and last.error and "violations" in last.error:
            append.refused_actual = {v["stream"]: v["actual"] for v in last.error["violations"]}
        with self.world.lock:
            self.world.appends.append(append)
            self.world.counts[append.outcome] += 1
            if append.outcome == "ok":
                self.world.count_ack()
                self.world.counts["duplicate"] += bool(last.answer["duplicate"])
            self.world.known_versions.update(append.versions)
            self.world.known_versions.update(append.refused_actual)


class Subscriber(threading.Thread):
    """Listens on its home node; when that is gone or mute, resumes on another, behind what it saw."""

    def __init__(self, world, home, stream=None, window=None):
        name = f"subscriber of {stream or 'all'} on node {home}" + (" with window" if window else "")
        super().__init__(daemon=True, name=name)
        self.world = world
        self.random = world.random(name)
        self.home = home
        self.window = window
        self.received = Received(name, [], stream=stream)
        self.after = 0
        self.resumed = 0
        self.heard = time.monotonic()

    def run(self):
        number = self.home
        while not self.world.stop_all.is_set():
            try:
                with self.world.cluster[number].connect(connect_timeout=1) as connection:
                    self.listen(connection)
            except (OSError, ConnectionLost, NoAnswer, RpcError) as error:
                if isinstance(error, RpcError) and error.code not in SAFE_TO_RETRY + ("TIMEOUT",):
                    self.world.problem("subscription-ended", f"{self.name}: {error.fields}")
            self.world.stop_all.wait(0.1)
            number = self.random.choice(list(self.world.cluster.nodes))
            self.resumed += 1

    def listen(self, connection):
        params = {"stream": self.received.stream} if self.received.stream else {"query": "all"}
        if self.window:
            params["window"] = self.window
        subscription = connection.subscribe(timeout=3, after=self.after, **params)
        silent_since = time.monotonic()
        while not self.world.stop_all.is_set():
            try:
                method, body = subscription.next(timeout=0.5)
            except NoAnswer:
                if time.monotonic() - silent_since > SILENCE_SECONDS:
                    return
                continue
            silent_since = time.monotonic()
            if method == "events":
                self.take(subscription, body)
            elif method == "dropped":
                return

    def take(self, subscription, body):
        _, events, position = body
        for event in events:
            self.received.events.append((event[POSITION], event[ID]))
        self.after = events[-1][VERSION if self.received.stream else POSITION]
        if position != events[-1][POSITION]:
            self.world.problem("notified-position", f"{self.name}: it says {position} of {events[-1]}")
        if self.window:
            subscription.credit(len(events))


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
    subscribers += [Subscriber(world, nodes[0], window=50)]
    clients = [Client(world, number) for number in range(client_count)]
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


def collect(world, subscribers):
    """(logs, digests) once all nodes and all subscribers have everything."""
    nodes = world.cluster.nodes
    try:
        world.cluster.wait_writable(timeout=CALM_SECONDS)
        world.cluster.wait_converged(timeout=CALM_SECONDS)
    except ClusterError as error:
        world.problem("not-converged", str(error))
    logs, digests = {}, {}
    for number, node in nodes.items():
        try:
            logs[number] = world.cluster.read_all(node, system=True)
            answer = node.call("digest")
            digests[number] = (answer["position"], answer["hash"])
        except (OSError, ConnectionLost, NoAnswer, RpcError) as error:
            world.problem("node-mute", f"node {number} after the storm: {error!r}")
    wait_for_subscribers(subscribers, max(logs.values(), key=len, default=[]))
    world.stop_all.set()
    for subscriber in subscribers:
        subscriber.join(30)
    return logs, digests


def wait_for_subscribers(subscribers, log):
    deadline = time.monotonic() + 30
    for subscriber in subscribers:
        stream = subscriber.received.stream
        due = sum(1 for r in log if checker.is_event(r) and stream in (None, r[STREAM]))
        while len(subscriber.received.events) < due and time.monotonic() < deadline:
            time.sleep(0.05)


def judge(world, subscribers, nemesis, seconds, logs, digests):
    violations = list(world.problems)
    if logs:
        received = [subscriber.received for subscriber in subscribers]
        violations += [
            (v.kind, v.detail)
            for v in checker.check(world.appends, logs, digests, received, fingerprint)
        ]
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


def save_history(world, subscribers, logs):
    def plain(value):
        return value.hex() if isinstance(value, bytes) else dataclasses.asdict(value)

    path = os.path.join(world.cluster.parent, "history.ndjson")
    with open(path, "w", encoding="utf-8") as file:
        for append in sorted(world.appends, key=lambda a: a.sent):
            print(json.dumps({"append": append}, default=plain), file=file)
        for subscriber in subscribers:
            print(json.dumps({"received": subscriber.received}, default=plain), file=file)
        for number, log in logs.items():
            for record in log:
                print(json.dumps({"node": number, "record": record}, default=plain), file=file)
    print(f"history: {path}")


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
