"""Clients that contend for something, and readers: conditions that exclude each other, workers that fence each
other off by epochs, and reads of every consistency on every node."""

import time

from annal_rpc import ID, POSITION
from annal_rpc import ConnectionLost, NoAnswer, RpcError
from checker import Append, Checkpoint, CheckpointRead, Read
from workload import CALL_TIMEOUT_MS, NO_ANSWER_SECONDS, SAFE_TO_RETRY, SHARED_STREAMS
from workload import Client, fingerprint_of

LOCKS = 3
CONSUMERS = 2


class Locker(Client):
    """Takes a lock only when nobody has taken it since the last time it knows of. What it knows it shares
    with the others: so they try at the same time, with the same `after`."""

    kind = "locker"
    pause_seconds = 0.01

    def choose_request(self):
        lock = self.random.randrange(LOCKS)
        tag, stream = f"lock:{lock}", f"Lock-{self.random.randrange(100)}"
        query = [{"tags": [tag]}]
        after = self.world.known_positions.get(tag, 0)
        event = {"type": "taken", "data": self.name.encode(), "id": self.random.randbytes(16), "tags": [tag]}
        params = {
            "stream": stream,
            "events": [event],
            "condition": {"fail_if": query, "after": after},
            "timeout_ms": CALL_TIMEOUT_MS,
        }
        printed = fingerprint_of(event["type"], event["data"])
        return params, Append([(stream, event["id"], printed)], sent=0, client=self.name,
                              conditions=[(query, after)])

    def one_turn(self):
        params, append = self.choose_request()
        last = self.one_append(params, append)[-1]
        tag = params["events"][0]["tags"][0]
        seen = append.position or (last.error or {}).get("position", 0)
        with self.world.lock:
            known = self.world.known_positions
            known[tag] = max(known.get(tag, 0), seen)


class Worker(Client):
    """One of several that do the work of one consumer. Each takes over with a new epoch, does a few steps,
    each one event and the checkpoint in the same append, and leaves it to the others."""

    kind = "worker"
    pause_seconds = 0.3

    def __init__(self, world, number):
        super().__init__(world, number)
        self.number = number
        self.consumer = f"consumer-{number % CONSUMERS}"

    def one_turn(self):
        position, epoch = self.take_over()
        if epoch is None:
            return
        for _ in range(self.random.randint(1, 30)):
            if self.world.stop_clients.is_set() or not self.step(position + 1, epoch):
                return
            position += 1

    def read_checkpoint(self, is_last=False):
        """(position, epoch), (0, 0) when there is none, None when nobody says."""
        sent = time.monotonic()
        params = {
            "consumer": self.consumer,
            "consistency": "linearizable",
            "timeout_ms": CALL_TIMEOUT_MS,
        }
        answer = read_something(self, "checkpoint_get", params, missing={"position": 0, "epoch": 0})
        if answer is None:
            return None
        found = (answer["position"], answer["epoch"] or 0)
        with self.world.lock:
            self.world.checkpoint_reads.append(
                CheckpointRead(self.consumer, *found, sent, time.monotonic(), is_last)
            )
        return found

    def take_over(self):
        found = self.read_checkpoint()
        if found is None:
            return 0, None
        position, epoch = found
        epoch = (epoch // 100 + 1) * 100 + self.number  # nobody else has the same
        params = {"consumer": self.consumer, "position": position, "epoch": epoch}
        params.update(if_position=position, timeout_ms=CALL_TIMEOUT_MS)  # none stored: 0
        mine = Checkpoint(self.consumer, position, epoch, time.monotonic())
        done = self.attempt(params, "checkpoint_put")
        self.keep(mine, done.outcome)
        return position, epoch if done.outcome == "ok" else None

    def keep(self, checkpoint, outcome):
        checkpoint.outcome = outcome
        if outcome != "unknown":
            checkpoint.answered = time.monotonic()
        with self.world.lock:
            self.world.checkpoints.append(checkpoint)

    def step(self, position, epoch):
        """True when it is done and this worker may go on."""
        stream, data = f"Work-{self.consumer}", f"{epoch} {position}".encode()
        event = {"type": "step", "data": data, "id": self.random.randbytes(16)}
        params = {
            "writes": [{"stream": stream, "events": [event]}],
            "checkpoint": {"consumer": self.consumer, "position": position, "epoch": epoch},
            "timeout_ms": CALL_TIMEOUT_MS,
        }
        mine = Checkpoint(self.consumer, position, epoch, time.monotonic())
        append = Append([(stream, event["id"], fingerprint_of("step", data))], sent=0, client=self.name)
        self.one_append(params, append)
        self.keep(mine, append.outcome)
        return append.outcome == "ok"


class Reader(Client):
    """Reads on any node: the newest, what is there, or what it was told of."""

    kind = "reader"
    pause_seconds = 0.02

    def one_turn(self):
        if self.random.random() < 0.2:
            self.disconnect()  # on to another node
        consistency = self.random.choices(
            ["linearizable", "local", {"at_least": self.world.last_position}], [6, 2, 2]
        )[0]
        if self.random.random() < 0.7:
            self.read_version(consistency)
        else:
            self.read_last(consistency)

    def read_version(self, consistency):
        stream = f"Shared-{self.random.randrange(SHARED_STREAMS)}"
        sent = time.monotonic()
        params = {"stream": stream, "direction": "backward", "limit": 1}
        answer = self.ask("read_stream", params, consistency)
        if answer is not None:
            self.keep(consistency, sent, answer, stream=stream, version=answer["version"])

    def read_last(self, consistency):
        limit = self.random.randint(1, 20)
        sent = time.monotonic()
        answer = self.ask("read_all", {"direction": "backward", "limit": limit}, consistency)
        if answer is not None:
            events = [(event[POSITION], event[ID]) for event in reversed(answer["events"])]
            self.keep(consistency, sent, answer, limit=limit, events=events)

    def ask(self, method, params, consistency):
        params = {**params, "consistency": consistency, "timeout_ms": CALL_TIMEOUT_MS}
        return read_something(self, method, params)

    def keep(self, consistency, sent, answer, **more):
        read = Read(self.node, sent, time.monotonic(), consistency, answer["head"], **more)
        with self.world.lock:
            self.world.reads.append(read)


def read_something(client, method, params, missing=None):
    """The answer; None when there is none; `missing` when there is no such thing."""
    try:
        client.connect()
        return client.connection.call(method, params, timeout=NO_ANSWER_SECONDS)
    except RpcError as error:
        if error.code == "NOT_FOUND" and missing is not None:
            return missing
        if error.code not in SAFE_TO_RETRY + ("TIMEOUT", "NOT_READY", "STREAM_NOT_FOUND"):
            client.world.unexpected(client, error)
    except NoAnswer:
        client.judge_silence()
        client.disconnect()
    except (OSError, ConnectionLost):
        client.disconnect()
    return None


def read_last_checkpoints(world):
    """When all else has ended: so that the checker can compare them with the work."""
    for number in range(CONSUMERS):
        worker = Worker(world, number)
        worker.name = f"last look {number}"
        for _ in range(20):
            if worker.read_checkpoint(is_last=True) is not None:
                break
            time.sleep(0.2)
        else:
            world.problem("checkpoint-mute", f"{worker.consumer}: no linearizable answer after the storm")
        worker.disconnect()


def all_clients(world, count):
    """`count` that append, and some of each other kind."""
    kinds = [Client] * count + [Locker] * 3 + [Worker] * (2 * CONSUMERS) + [Reader] * 3
    return [kind(world, number) for number, kind in enumerate(kinds)]
