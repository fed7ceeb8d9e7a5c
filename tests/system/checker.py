"""Decides in linear time (but for sorting) whether what clients saw can come from one log.

In: the appends as their clients saw them, the logs as every node reads them back at the end, the digests,
and what each subscriber received. Out: violations, each with a kind from KINDS and the evidence.

Time is one monotonic clock for all clients. An append made of several attempts with the same ids is one
Append: sent when the first attempt was, answered when the last one was; it is `ok` when any attempt was
acknowledged, `refused` only when every attempt was, else `unknown`.
"""

import bisect
import collections
import dataclasses
import math

from annal_rpc import CREATED, ID, POSITION, STREAM, VERSION

KINDS = {
    "node-differs": "two nodes have different records at one place",
    "digest-differs": "two nodes have different digests",
    "position-gap": "positions of all records, system records too, are not 1, 2, 3, …",
    "version-gap": "versions of a stream are not 1, 2, 3, …",
    "repeated-id": "an event id is in the log twice",
    "created-backwards": "an event is older than the one before it",
    "lost": "an acknowledged event is not in the log",
    "misplaced": "an acknowledged event is not where the answer said",
    "altered": "an event is not what its client sent",
    "refused-present": "an event of a refused append is in the log",
    "torn": "a part of an append is in the log",
    "not-contiguous": "the events of one append do not lie together in their order",
    "expectation": "an append is in the log against its expected version",
    "wrongly-refused": "an append was refused for a version that its stream did not have then",
    "real-time": "an append acknowledged before another was sent lies behind it",
    "subscription-unknown": "a subscriber saw an event that is not in the log",
    "subscription-repeat": "a subscriber saw an event again, or an older one",
    "subscription-gap": "a subscriber missed an event",
}


@dataclasses.dataclass
class Violation:
    kind: str
    detail: str

    def __post_init__(self):
        assert self.kind in KINDS, self.kind

    def __str__(self):
        return f"{self.kind}: {self.detail}"


@dataclasses.dataclass
class Append:
    """`events` are (stream, id, fingerprint) in the order of the log. `expected` maps a stream to the
    expectation of this append on it. `refused_actual` maps a stream to the version that a
    WRONG_EXPECTED_VERSION gave for it (of the last attempt, and only when it was the only one)."""

    events: list
    sent: float
    answered: float = math.inf
    outcome: str = "unknown"
    expected: dict = dataclasses.field(default_factory=dict)
    first_position: int = 0
    position: int = 0
    versions: dict = dataclasses.field(default_factory=dict)
    refused_actual: dict = dataclasses.field(default_factory=dict)
    client: str = ""

    def __str__(self):
        first = self.events[0]
        return (
            f"append of {len(self.events)} by {self.client} to {first[0]} (id {first[1].hex()}, "
            f"{self.outcome}, sent {self.sent:.6f}, answered {self.answered:.6f})"
        )


@dataclasses.dataclass
class Received:
    """What one subscriber received, over all nodes that it was connected to. `after` is the position
    (or the version, with `stream`) that it began behind; `until` the last one it had to see."""

    name: str
    events: list  # (position, id)
    after: int = 0
    stream: str = None


class Log:
    """The log that all nodes should have, with indexes."""

    def __init__(self, records):
        self.records = records
        self.place = {}  # id -> index
        self.of_stream = collections.defaultdict(list)  # stream -> indexes
        for index, record in enumerate(records):
            self.place.setdefault(record[ID], index)
            self.of_stream[record[STREAM]].append(index)

    def places(self, append):
        return [self.place.get(id) for _, id, _ in append.events]


def check(appends, logs, digests=None, received=(), fingerprint=None):
    """`logs`: node -> records (with system records). `digests`: node -> (position, hash).
    `fingerprint`: of a record, to compare with those in the appends."""
    violations = []
    longest = max(logs.values(), key=len)
    log = Log(longest)
    violations += check_nodes(logs, longest)
    violations += check_digests(digests or {})
    violations += check_log(longest)
    violations += check_appends(appends, log, fingerprint)
    violations += check_expectations(appends, log)
    violations += check_real_time(appends, log)
    violations += check_refusals(appends, log)
    for one in received:
        violations += check_received(one, log)
    return violations


def check_nodes(logs, longest):
    for node, records in logs.items():
        if records == longest:
            continue
        for index, record in enumerate(longest):
            if index >= len(records) or records[index] != record:
                mine = records[index] if index < len(records) else "nothing"
                yield Violation("node-differs", f"node {node} has {mine} where others have {record}")
                break


def check_digests(digests):
    if len(set(digests.values())) > 1:
        yield Violation("digest-differs", ", ".join(f"node {n}: {d}" for n, d in digests.items()))


def check_log(records):
    versions, ids = collections.Counter(), set()
    created, shift = -math.inf, 1
    for index, record in enumerate(records):
        if record[POSITION] != index + shift:
            yield Violation("position-gap", f"{record} where {index + shift} was due")
            shift = record[POSITION] - index  # name what follows only once
        versions[record[STREAM]] += 1
        if record[VERSION] != versions[record[STREAM]]:
            yield Violation("version-gap", f"{record} is event {versions[record[STREAM]]} of it")
            versions[record[STREAM]] = record[VERSION]
        if record[ID] in ids:
            yield Violation("repeated-id", f"{record}")
        ids.add(record[ID])
        if record[CREATED] < created:
            yield Violation("created-backwards", f"{record} follows one created {created}")
        created = record[CREATED]


def check_appends(appends, log, fingerprint):
    for append in appends:
        places = log.places(append)
        present = sum(place is not None for place in places)
        if append.outcome == "refused":
            if present:
                yield Violation("refused-present", str(append))
            continue
        if present == 0:
            if append.outcome == "ok":
                yield Violation("lost", str(append))
            continue
        if present < len(places):
            yield Violation("torn", f"{present} of {append}")
            continue
        if any(b != a + 1 for a, b in zip(places, places[1:])):
            yield Violation("not-contiguous", f"{append} at {places}")
        yield from check_contents(append, places, log, fingerprint)
        if append.outcome == "ok":
            yield from check_answer(append, places, log)


def check_contents(append, places, log, fingerprint):
    for (stream, _, print_sent), place in zip(append.events, places):
        record = log.records[place]
        if record[STREAM] != stream or (fingerprint and fingerprint(record) != print_sent):
            yield Violation("altered", f"{record} of {append}")


def check_answer(append, places, log):
    first, last = log.records[places[0]], log.records[places[-1]]
    if (first[POSITION], last[POSITION]) != (append.first_position, append.position):
        yield Violation(
            "misplaced",
            f"{append} was answered with positions {append.first_position} to {append.position}, "
            f"it lies at {first[POSITION]} to {last[POSITION]}",
        )
    versions = {}
    for place in places:
        versions[log.records[place][STREAM]] = log.records[place][VERSION]
    if versions != append.versions:
        yield Violation(
            "misplaced", f"{append} was answered with {append.versions}, it lies at {versions}"
        )


def check_expectations(appends, log):
    """What is in the log must have met its expectation at that place of the log."""
    for append in appends:
        seen = set()
        for (stream, _, _), place in zip(append.events, log.places(append)):
            if place is None or stream in seen or stream not in append.expected:
                continue
            seen.add(stream)
            before = log.records[place][VERSION] - 1
            if not is_met(append.expected[stream], before):
                yield Violation(
                    "expectation",
                    f"{append} expected {append.expected[stream]!r} of {stream}, it had {before}",
                )


def is_met(expected, version):
    if expected == "any":
        return True
    if expected == "no_stream":
        return version == 0
    if expected == "stream_exists":
        return version > 0
    return version == expected


def check_real_time(appends, log):
    """Going up the log: nobody may have been acknowledged before one further down was sent."""
    placed = []
    for append in appends:
        places = [place for place in log.places(append) if place is not None]
        if places and append.outcome != "refused":
            placed.append((min(places), append))
    placed.sort(key=lambda pair: pair[0])
    latest = None
    for _, append in placed:
        if latest is not None and append.outcome == "ok" and append.answered < latest.sent:
            yield Violation("real-time", f"{append} lies behind {latest}")
        if latest is None or append.sent > latest.sent:
            latest = append


class VersionsInTime:
    """For one stream: between which versions it was at a time."""

    def __init__(self):
        self.acked = []  # (answered, version)
        self.sent = []  # (sent, version)

    def freeze(self):
        for series in (self.acked, self.sent):
            series.sort()
            highest = 0
            for index, (when, version) in enumerate(series):
                highest = max(highest, version)
                series[index] = (when, highest)

    @staticmethod
    def _up_to(series, when):
        index = bisect.bisect_left(series, (when, 0))
        return series[index - 1][1] if index else 0

    def least(self, when):
        return self._up_to(self.acked, when)

    def most(self, when):
        return self._up_to(self.sent, when)


def check_refusals(appends, log):
    """The version given with a refusal must be one that the stream had while the append was under way,
    and must not be the one expected."""
    streams = collections.defaultdict(VersionsInTime)
    for append in appends:
        for (stream, _, _), place in zip(append.events, log.places(append)):
            if place is None:
                continue
            version = log.records[place][VERSION]
            streams[stream].sent.append((append.sent, version))
            if append.outcome == "ok":
                streams[stream].acked.append((append.answered, version))
    for one in streams.values():
        one.freeze()
    for append in appends:
        for stream, actual in append.refused_actual.items():
            least, most = streams[stream].least(append.sent), streams[stream].most(append.answered)
            expected = append.expected.get(stream, "any")
            if is_met(expected, actual) or not least <= actual <= most:
                yield Violation(
                    "wrongly-refused",
                    f"{append} expected {expected!r} of {stream} and was told {actual}; "
                    f"it was between {least} and {most}",
                )


def check_received(received, log):
    key = VERSION if received.stream else POSITION
    indexes = log.of_stream[received.stream] if received.stream else range(len(log.records))
    due = [
        log.records[index]
        for index in indexes
        if log.records[index][key] > received.after and is_event(log.records[index])
    ]
    at = 0
    for position, id in received.events:
        if at < len(due) and (due[at][POSITION], due[at][ID]) == (position, id):
            at += 1
            continue
        yield judge_received(received, log, due, at, position, id)
        return  # what follows is shifted
    if at < len(due):
        yield Violation("subscription-gap", f"{received.name} never saw {due[at]} and what follows")


def is_event(record):
    return not record[STREAM].startswith("$")


def judge_received(received, log, due, at, position, id):
    place = log.place.get(id)
    event = f"{received.name} received {id.hex()} at {position}"
    if place is None or log.records[place][POSITION] != position:
        return Violation("subscription-unknown", f"{event}, which is not in the log")
    if at >= len(due) or position < due[at][POSITION]:
        return Violation("subscription-repeat", f"{event} when it had seen it, or later ones")
    return Violation("subscription-gap", f"{event} when {due[at]} was due")
