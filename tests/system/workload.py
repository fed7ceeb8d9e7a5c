"""Clients and subscribers for runs under faults: what they send comes from a seed, what they saw is kept for
the checker. contenders.py has more kinds of them.
"""

import dataclasses
import hashlib
import json
import os
import random
import threading
import time

from annal_rpc import DATA, ID, POSITION, TYPE, VERSION
from annal_rpc import ConnectionLost, NoAnswer, RpcError, packed
from checker import Append, Received
from cluster import ClusterError

CALL_TIMEOUT_MS = 2000
NO_ANSWER_SECONDS = 6  # beyond its timeout_ms a node that runs must have answered
SHARED_STREAMS = 20
SILENCE_SECONDS = 3  # a subscriber that hears nothing looks elsewhere
CALM_SECONDS = 90

SAFE_TO_RETRY = ("NO_LEADER", "OVERLOADED", "NOT_LEADER", "SHUTTING_DOWN")
DECIDED = ("WRONG_EXPECTED_VERSION", "CONDITION_FAILED", "CHECKPOINT_CONFLICT")  # nothing was written
QUERY = [
    {"types": ["Type1", "Type2"], "tags": ["color:1"]},
    {"stream_prefix": "Fresh-"},
    {"categories": ["Lock", "Work"]},
]


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
        self.reads = []
        self.checkpoints = []  # checker.Checkpoint
        self.checkpoint_reads = []
        self.problems = []  # (what, detail): seen while it ran
        self.known_versions = {}  # of streams, as clients last heard
        self.known_positions = {}  # of locks: the last position that anybody knows
        self.last_position = 0  # that was acknowledged to anybody
        self.allowed = set()  # (node number or None, error code) that a fault explains
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

    def unexpected(self, client, error):
        """An answer that no fault explains, unless one was told to `allow`."""
        if (client.node, error.code) not in self.allowed and (None, error.code) not in self.allowed:
            self.problem("unexpected-error", f"{client.name} of node {client.node}: {error.fields}")

    def count_ack(self, position):
        now = time.monotonic()
        self.last_position = max(self.last_position, position)
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

    kind = "client"
    pause_seconds = 0.004

    def __init__(self, world, number):
        super().__init__(daemon=True, name=f"{self.kind} {number}")
        self.world = world
        self.random = world.random(self.name)
        self.connection = None
        self.node = None  # its number
        self.fresh_streams = 0

    def run(self):
        try:
            while not self.world.stop_clients.is_set():
                self.one_turn()
                time.sleep(self.random.random() * self.pause_seconds)
        except Exception as error:  # a client that ends unseen would hide what it saw
            self.world.problem("client-failed", f"{self.name}: {error!r}")
            raise
        finally:
            self.disconnect()

    def one_turn(self):
        self.one_append(*self.choose_request())

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
            tags = [f"color:{self.random.randrange(4)}"] if self.random.random() < 0.5 else []
            events.append(
                {"type": f"Type{self.random.randrange(5)}", "data": data,
                 "id": self.random.randbytes(16), "tags": tags}
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

    def attempt(self, params, method="append"):
        try:
            self.connect()
        except OSError:
            return Attempt("refused")
        try:
            answer = self.connection.call(method, params, timeout=NO_ANSWER_SECONDS)
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
        if error.code in DECIDED or error.code in SAFE_TO_RETRY:
            return "refused"
        if error.code == "TIMEOUT":
            return "refused" if error.fields.get("outcome") == "none" else "unknown"
        self.world.unexpected(self, error)
        return "unknown"

    def one_append(self, params, append):
        """Returns the attempts; the last one decided, or nobody knows."""
        append.sent = time.monotonic()
        attempts = []
        tries = 1 + (self.random.random() < 0.8) * 10
        while len(attempts) < tries:
            attempts.append(self.attempt(params))
            last = attempts[-1]
            if last.outcome == "ok" or (last.error or {}).get("code") in DECIDED:
                break
            if self.world.stop_all.wait(self.random.random() * 0.3):
                break
        append.answered = time.monotonic()
        self.conclude(append, attempts)
        return attempts

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
        elif len(attempts) == 1 and last.error:
            violations = last.error.get("violations", ())
            append.refused_actual = {v["stream"]: v["actual"] for v in violations}
            if last.error["code"] == "CONDITION_FAILED":
                append.refused_position = last.error["position"]
        with self.world.lock:
            self.world.appends.append(append)
            self.world.counts[append.outcome] += 1
            if append.outcome == "ok":
                self.world.count_ack(append.position)
                self.world.counts["duplicate"] += bool(last.answer["duplicate"])
            self.world.known_versions.update(append.versions)
            self.world.known_versions.update(append.refused_actual)


class Subscriber(threading.Thread):
    """Listens on its home node; when that is gone or mute, resumes on another, behind what it saw."""

    def __init__(self, world, home, stream=None, window=None, query=None):
        what = stream or ("a query" if query else "all")
        name = f"subscriber of {what} on node {home}" + (" with window" if window else "")
        super().__init__(daemon=True, name=name)
        self.world = world
        self.random = world.random(name)
        self.home = home
        self.window = window
        self.received = Received(name, [], stream=stream, query=query)
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
                passing = SAFE_TO_RETRY + ("TIMEOUT", "NOT_READY")
                if isinstance(error, RpcError) and error.code not in passing:
                    self.world.problem("subscription-ended", f"{self.name}: {error.fields}")
            self.world.stop_all.wait(0.1)
            number = self.random.choice(list(self.world.cluster.nodes))
            self.resumed += 1

    def listen(self, connection):
        params = {"query": self.received.query or "all"}
        if self.received.stream:
            params = {"stream": self.received.stream}
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


# ---- after the storm ----


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


def histories(world, subscribers):
    """What the checker takes beside logs and digests."""
    return {
        "received": [subscriber.received for subscriber in subscribers],
        "reads": world.reads,
        "checkpoints": world.checkpoints,
        "checkpoint_reads": world.checkpoint_reads,
        "fingerprint": fingerprint,
    }


def wait_for_subscribers(subscribers, log):
    deadline = time.monotonic() + 30
    for subscriber in subscribers:
        due = sum(1 for record in log if subscriber.received.wants(record))
        while len(subscriber.received.events) < due and time.monotonic() < deadline:
            time.sleep(0.05)


def save_history(world, subscribers, logs):
    def plain(value):
        return value.hex() if isinstance(value, bytes) else dataclasses.asdict(value)

    path = os.path.join(world.cluster.parent, "history.ndjson")
    with open(path, "w", encoding="utf-8") as file:
        for append in sorted(world.appends, key=lambda a: a.sent):
            print(json.dumps({"append": append}, default=plain), file=file)
        for subscriber in subscribers:
            print(json.dumps({"received": subscriber.received}, default=plain), file=file)
        for name in ("reads", "checkpoints", "checkpoint_reads"):
            for one in getattr(world, name):
                print(json.dumps({name: one}, default=plain), file=file)
        for number, log in logs.items():
            for record in log:
                print(json.dumps({"node": number, "record": record}, default=plain), file=file)
    print(f"history: {path}")
