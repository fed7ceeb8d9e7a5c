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

import query_model
from annal_rpc import CREATED, DATA, ID, POSITION, STREAM, TAGS, VERSION

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
    "condition": "an append is in the log although an event fails its condition",
    "wrongly-failed": "an append was refused for an event that does not fail its condition, or is not the first",
    "read-stale": "a linearizable read missed what was acknowledged, or shown, before it was sent",
    "read-early": "a read answered before the position that it was to wait for",
    "read-differs": "a read showed what the log does not hold up to the head that came with it",
    "checkpoint-fencing": "a checkpoint was stored with an epoch lower than one stored before",
    "checkpoint-backwards": "work done under fencing goes back: an older epoch, or not the next position",
    "checkpoint-stale": "a checkpoint that was read is older than one stored before",
    "checkpoint-torn": "a checkpoint and the events of its append are not both in the store",
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
    conditions: list = dataclasses.field(default_factory=list)  # (query, after)
    refused_position: int = 0  # of CONDITION_FAILED, likewise
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
    query: object = None

    def wants(self, record):
        if self.stream is not None:
            return record[STREAM] == self.stream and record[VERSION] > self.after
        return record[POSITION] > self.after and query_model.matches(self.query or "all", record)


@dataclasses.dataclass
class Read:
    """One answered read. `consistency` as it was asked for. Of a stream: its version; else `events`, as
    (position, id), the last `limit` events up to the head."""

    node: int
    sent: float
    answered: float
    consistency: object
    head: int
    stream: str = None
    version: int = None
    limit: int = 0
    events: list = None

    def __str__(self):
        what = f"of {self.stream}" if self.stream else f"of the last {self.limit} events"
        return f"{self.consistency} read {what} on node {self.node}, sent {self.sent:.6f}"


@dataclasses.dataclass
class Checkpoint:
    """A checkpoint that somebody stored, or tried to, alone or with an append."""

    consumer: str
    position: int
    epoch: int
    sent: float
    answered: float = math.inf
    outcome: str = "unknown"


@dataclasses.dataclass
class CheckpointRead:
    """A linearizable checkpoint_get; position and epoch are 0 when there is none. `is_last`: after
    everything else has ended."""

    consumer: str
    position: int
    epoch: int
    sent: float
    answered: float
    is_last: bool = False


class Log:
    """The log that all nodes should have, with indexes."""

    def __init__(self, records):
        self.records = records
        self.place = {}  # id -> index
        self.of_stream = collections.defaultdict(list)  # stream -> indexes
        self.of_tag = collections.defaultdict(list)
        for index, record in enumerate(records):
            self.place.setdefault(record[ID], index)
            self.of_stream[record[STREAM]].append(index)
            for tag in record[TAGS]:
                self.of_tag[tag].append(index)
        self.positions = [record[POSITION] for record in records]
        self.events = [index for index, record in enumerate(records) if is_event(record)]
        self.event_positions = [records[index][POSITION] for index in self.events]

    def places(self, append):
        return [self.place.get(id) for _, id, _ in append.events]

    def first_match(self, query, after):
        """The position of the first event behind `after` that matches; None."""
        found = [self.first_match_of_item(item, after) for item in ([{}] if query == "all" else query)]
        return min((position for position in found if position is not None), default=None)

    def first_match_of_item(self, item, after):
        indexes = self.of_tag.get(item["tags"][0], ()) if item.get("tags") else self.events
        start = bisect.bisect_right(indexes, after, key=lambda index: self.records[index][POSITION])
        for index in indexes[start:]:
            if query_model.matches([item], self.records[index]):
                return self.records[index][POSITION]
        return None

    def version_at(self, stream, head):
        """How many events of the stream are at positions up to `head`."""
        indexes = self.of_stream.get(stream, ())
        return bisect.bisect_right(indexes, head, key=lambda index: self.records[index][POSITION])


def check(appends, logs, digests=None, received=(), fingerprint=None,
          reads=(), checkpoints=(), checkpoint_reads=()):
    """`logs`: node -> records (with system records). `digests`: node -> (position, hash).
    `fingerprint`: of a record, to compare with those in the appends."""
    violations = []
    longest = joined(logs)
    log = Log(longest)
    violations += check_nodes(logs, longest)
    violations += check_digests(digests or {})
    violations += check_log(longest, may_lack=len(checkpoints))
    violations += check_appends(appends, log, fingerprint)
    violations += check_expectations(appends, log)
    violations += check_real_time(appends, log)
    violations += check_refusals(appends, log)
    for one in received:
        violations += check_received(one, log)
    violations += check_conditions(appends, log)
    violations += check_reads(appends, reads, log)
    violations += check_fencing(checkpoints)
    violations += check_checkpoint_reads(checkpoints, checkpoint_reads)
    violations += check_work(checkpoints, checkpoint_reads, log)
    return violations


def may_be_dropped(record):
    """Each node drops superseded checkpoints in its own time."""
    return record[STREAM].startswith("$checkpoint-")


def joined(logs):
    """One log of what any node has."""
    longest = max(logs.values(), key=len)
    if all(records == longest for records in logs.values()):
        return longest
    records = {record[POSITION]: record for record in longest}
    for others in logs.values():
        for record in others:
            if may_be_dropped(record):
                records.setdefault(record[POSITION], record)
    return [records[position] for position in sorted(records)]


def check_nodes(logs, longest):
    for node, records in logs.items():
        if records == longest:
            continue
        at = 0
        for record in longest:
            if at < len(records) and records[at] == record:
                at += 1
            elif not may_be_dropped(record):
                mine = records[at] if at < len(records) else "nothing"
                yield Violation("node-differs", f"node {node} has {mine} where others have {record}")
                break
        else:
            if at < len(records):
                yield Violation("node-differs", f"node {node} has {records[at]}, which others lack")


def check_digests(digests):
    if len(set(digests.values())) > 1:
        yield Violation("digest-differs", ", ".join(f"node {n}: {d}" for n, d in digests.items()))


def check_log(records, may_lack=0):
    """`may_lack`: how many positions may be without a record, since checkpoints were superseded."""
    versions, ids = collections.Counter(), set()
    created, due = -math.inf, 1
    for record in records:
        may_lack -= record[POSITION] - due
        if record[POSITION] < due or may_lack < 0:
            yield Violation("position-gap", f"{record} where {due} was due")
            may_lack = max(may_lack, 0)  # name what follows only once
        due = record[POSITION] + 1
        versions[record[STREAM]] += 1
        if may_be_dropped(record) and record[VERSION] > versions[record[STREAM]]:
            versions[record[STREAM]] = record[VERSION]
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


def check_conditions(appends, log):
    """No event behind `after` and before the append may match: so of several that exclude each other
    exactly one is there. Who was refused was told the first one that matches."""
    for append in appends:
        if not append.conditions:
            continue
        place = next((place for place in log.places(append) if place is not None), None)
        if place is not None:
            yield from check_condition_held(append, log.records[place][POSITION], log)
        if append.refused_position:
            found = [log.first_match(query, after) for query, after in append.conditions]
            if append.refused_position not in found:
                yield Violation(
                    "wrongly-failed", f"{append} was told position {append.refused_position}, not {found}"
                )


def check_condition_held(append, position, log):
    for query, after in append.conditions:
        match = log.first_match(query, after)
        if match is not None and match < position:
            yield Violation(
                "condition", f"{append} is at {position}; {match}, behind {after}, matches {query}"
            )


class Highest:
    """The highest value up to a time."""

    def __init__(self, pairs):
        self.times, self.values = [], []
        highest = 0
        for when, value in sorted(pairs):
            highest = max(highest, value)
            self.times.append(when)
            self.values.append(highest)

    def before(self, when):
        index = bisect.bisect_left(self.times, when)
        return self.values[index - 1] if index else 0


def check_reads(appends, reads, log):
    acked = [(append.answered, append.position) for append in appends if append.outcome == "ok"]
    seen = Highest(acked + [(read.answered, read.head) for read in reads])
    for read in reads:
        if read.consistency == "linearizable" and read.head < seen.before(read.sent):
            yield Violation(
                "read-stale", f"{read}: head {read.head}, {seen.before(read.sent)} had been seen"
            )
        if isinstance(read.consistency, dict) and read.head < read.consistency["at_least"]:
            yield Violation("read-early", f"{read}: head {read.head}")
        yield from check_contents_of_read(read, log)


def check_contents_of_read(read, log):
    """An answer is of one moment: all up to its head, nothing beyond."""
    if read.stream is not None:
        version = log.version_at(read.stream, read.head)
        if read.version != version:
            yield Violation(
                "read-differs", f"{read}: version {read.version}, it was {version} at {read.head}"
            )
        return
    end = bisect.bisect_right(log.event_positions, read.head)
    due = [log.records[index] for index in log.events[max(0, end - read.limit) : end]]
    due = [(record[POSITION], record[ID]) for record in due]
    if [tuple(event) for event in read.events] != due:
        yield Violation("read-differs", f"{read}: {read.events} up to {read.head}, in the log {due}")


def by_consumer(history):
    groups = collections.defaultdict(list)
    for one in history:
        groups[one.consumer].append(one)
    return groups


def check_fencing(checkpoints):
    for consumer, ones in by_consumer(checkpoints).items():
        stored = [one for one in ones if one.outcome == "ok"]
        epochs = Highest([(one.answered, one.epoch) for one in stored])
        for one in stored:
            if one.epoch < epochs.before(one.sent):
                yield Violation(
                    "checkpoint-fencing",
                    f"{consumer}: {one} was stored, epoch {epochs.before(one.sent)} before it",
                )


def check_checkpoint_reads(checkpoints, checkpoint_reads):
    stored = by_consumer(one for one in checkpoints if one.outcome == "ok")
    for consumer, ones in by_consumer(checkpoint_reads).items():
        before = [(one.answered, (one.epoch, one.position)) for one in stored[consumer] + ones]
        epochs = Highest([(when, epoch) for when, (epoch, _) in before])
        positions = Highest([(when, position) for when, (_, position) in before])
        for one in ones:
            if one.epoch < epochs.before(one.sent) or one.position < positions.before(one.sent):
                yield Violation(
                    "checkpoint-stale",
                    f"{one}: epoch {epochs.before(one.sent)} and position "
                    f"{positions.before(one.sent)} had been seen",
                )


def check_work(checkpoints, checkpoint_reads, log):
    """Consumers write `EPOCH POSITION` to the stream Work-CONSUMER, and the checkpoint in the same append."""
    last_reads = {one.consumer: one for one in checkpoint_reads if one.is_last}
    for consumer in by_consumer(checkpoints):
        epoch = position = 0
        for index in log.of_stream[f"Work-{consumer}"]:
            record = log.records[index]
            now_epoch, now_position = map(int, record[DATA].split())
            if now_epoch < epoch or now_position != position + 1:
                yield Violation(
                    "checkpoint-backwards", f"{record} follows epoch {epoch}, position {position}"
                )
            epoch, position = now_epoch, now_position
        last = last_reads.get(consumer)
        if last is not None and (last.position != position or last.epoch < epoch):
            yield Violation(
                "checkpoint-torn", f"{last} at the end, the last event has epoch {epoch}, position {position}"
            )


def check_received(received, log):
    indexes = log.of_stream[received.stream] if received.stream else log.events
    due = [log.records[index] for index in indexes if received.wants(log.records[index])]
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
