#!/usr/bin/env python3
"""The checker accepts a right history and names each kind of violation planted into it."""

import copy
import inspect
import unittest

import checker
from annal_rpc import CREATED, DATA, ID, POSITION, STREAM, TAGS, VERSION
from checker import Append, Checkpoint, CheckpointRead, Read, Received


def name_of(number):
    return number.to_bytes(16, "big")


def fingerprint(record):
    return record[6]


class History:
    """Two streams, appends of one to three events: acknowledged, refused, unknown (in the log and not)."""

    def __init__(self):
        self.records, self.appends, self.versions = [], [], {}
        self.ids = 0
        for turn in range(40):
            self.append(f"Order-{turn % 2}", 1 + turn % 3, turn)
        self.add_work()
        self.append("Order-0", 2, 40, outcome="unknown")
        self.never("Order-0", 2, 41, "unknown")
        self.never("Order-1", 1, 42, "refused")
        self.append("Order-1", 1, 43, expected=self.versions["Order-1"])
        refused = self.never("Order-1", 1, 44, "refused")
        refused.expected = {"Order-1": 3}
        refused.refused_actual = {"Order-1": self.versions["Order-1"]}
        self.logs = {1: self.records, 2: list(self.records), 3: list(self.records)}
        self.add_reads()
        self.digests = {node: (len(self.records), 77) for node in self.logs}
        self.received = [
            Received("all on 1", [(r[POSITION], r[ID]) for r in self.records]),
            Received("all behind 10", [(r[POSITION], r[ID]) for r in self.records[10:]], after=10),
            Received(
                "stream",
                [(r[POSITION], r[ID]) for r in self.records if r[STREAM] == "Order-1" and r[VERSION] > 2],
                after=2,
                stream="Order-1",
            ),
        ]

    def add_reads(self):
        """Of a moment when 20 appends were answered."""
        sent, head = 19.6, self.appends[19].position
        versions = {r[STREAM]: r[VERSION] for r in self.records[:head]}
        last = [(r[POSITION], r[ID]) for r in self.records[head - 3 : head]]
        self.reads = [
            Read(1, sent, sent + 0.1, "linearizable", head, "Order-1", versions["Order-1"]),
            Read(2, sent, sent + 0.1, {"at_least": head - 5}, head, "Order-0", versions["Order-0"]),
            Read(3, sent + 0.2, sent + 0.3, "linearizable", head, limit=3, events=last),
            Read(3, sent, sent + 0.1, "local", 0, "Order-0", 0),
        ]

    def add_work(self):
        """A consumer whose worker is fenced off by another."""
        self.checkpoints, self.checkpoint_reads = [], []
        for turn, (epoch, position) in enumerate([(1, 1), (1, 2), (7, 3), (7, 4)]):
            self.step(epoch, position, 39.6 + turn / 100)
            self.checkpoints.append(Checkpoint("c", position, epoch, 60 + turn, 60.5 + turn, "ok"))
            self.checkpoint_reads.append(CheckpointRead("c", position, epoch, 60.6 + turn, 60.7 + turn))
        self.checkpoint_reads.append(CheckpointRead("c", 4, 7, 70, 71, is_last=True))

    def step(self, epoch, position, turn):
        append = self.append("Work-c", 1, turn)
        data = b"%d %d" % (epoch, position)
        self.records[-1][DATA] = data
        append.events = [(*append.events[0][:2], data)]

    def last_work(self):
        return [record for record in self.records if record[STREAM] == "Work-c"][-1]

    def new_events(self, stream, count):
        events = []
        for _ in range(count):
            self.ids += 1
            events.append((stream, name_of(self.ids), b"data %d" % self.ids))
        return events

    def append(self, stream, count, turn, outcome="ok", expected="any"):
        events = self.new_events(stream, count)
        first = len(self.records) + 1
        for _, id, data in events:
            version = self.versions[stream] = self.versions.get(stream, 0) + 1
            position = len(self.records) + 1
            self.records.append([position, version, 1000 + turn, id, stream, "t", data, b"", []])
        made = Append(events, turn, turn + 0.5, outcome, {stream: expected})
        if outcome == "ok":
            made.first_position, made.position = first, len(self.records)
            made.versions = {stream: self.versions[stream]}
        self.appends.append(made)
        return made

    def never(self, stream, count, turn, outcome):
        made = Append(self.new_events(stream, count), turn, turn + 0.5, outcome, {stream: "any"})
        self.appends.append(made)
        return made

    def kinds(self):
        return {
            violation.kind
            for violation in checker.check(
                self.appends, self.logs, self.digests, self.received, fingerprint,
                self.reads, self.checkpoints, self.checkpoint_reads,
            )
        }

    def rewrite(self, change):
        """The same change in every node's log."""
        for node in self.logs:
            self.logs[node] = copy.deepcopy(self.logs[node])
            change(self.logs[node])


class CheckerTest(unittest.TestCase):
    def setUp(self):
        self.history = History()

    def assert_named(self, kind):
        self.assertIn(kind, self.history.kinds())

    def test_a_right_history_is_accepted(self):
        self.assertEqual(self.history.kinds(), set())

    def test_lost_append(self):
        self.history.rewrite(lambda log: log.__delitem__(slice(-3, None)))
        self.assert_named("lost")

    def test_node_that_misses_the_end(self):
        self.history.logs[2] = self.history.logs[2][:-1]
        self.assert_named("node-differs")

    def test_node_with_two_records_swapped(self):
        log = self.history.logs[3]
        log[4], log[5] = log[5], log[4]
        self.assert_named("node-differs")

    def test_digest_that_differs(self):
        self.history.digests[2] = (self.history.digests[2][0], 78)
        self.assert_named("digest-differs")

    def test_hole_in_the_positions(self):
        self.history.checkpoints = []  # nothing can have been dropped
        self.history.rewrite(lambda log: log.__delitem__(7))
        self.assert_named("position-gap")

    def test_hole_in_the_versions(self):
        self.history.rewrite(lambda log: log[-1].__setitem__(VERSION, 99))
        self.assert_named("version-gap")

    def test_id_twice(self):
        def repeat(log):
            again = list(log[3])
            again[POSITION], again[VERSION] = len(log) + 1, self.history.versions[again[STREAM]] + 1
            again[CREATED] = log[-1][CREATED]
            log.append(again)

        self.history.rewrite(repeat)
        self.assert_named("repeated-id")

    def test_clock_that_goes_back(self):
        self.history.rewrite(lambda log: log[20].__setitem__(CREATED, 1))
        self.assert_named("created-backwards")

    def test_answer_with_another_position(self):
        self.history.appends[5].first_position += 1
        self.assert_named("misplaced")

    def test_answer_with_another_version(self):
        self.history.appends[5].versions = {"Order-1": 9999}
        self.assert_named("misplaced")

    def test_data_that_changed(self):
        self.history.rewrite(lambda log: log[9].__setitem__(6, b"other"))
        self.assert_named("altered")

    def test_event_in_another_stream(self):
        self.history.rewrite(lambda log: log[9].__setitem__(STREAM, "Order-9"))
        self.assert_named("altered")

    def test_refused_append_that_is_there(self):
        self.history.appends[3].outcome = "refused"
        self.assert_named("refused-present")

    def test_part_of_an_unknown_append(self):
        append = next(a for a in self.history.appends if a.outcome == "unknown")
        stranger = (append.events[0][0], name_of(10**6), b"")
        append.events.append(stranger)
        self.assert_named("torn")

    def test_part_of_an_acknowledged_append(self):
        self.history.appends[2].events.append(("Order-0", name_of(10**6), b""))
        self.assert_named("torn")

    def test_append_with_another_event_in_its_middle(self):
        first, second = self.history.appends[0], self.history.appends[1]
        first.events.append(second.events.pop())
        self.assert_named("not-contiguous")

    def test_append_in_another_order(self):
        self.history.appends[1].events.reverse()
        self.assert_named("not-contiguous")

    def test_append_against_its_expectation(self):
        for expected in (0, 2, "no_stream"):
            with self.subTest(expected=expected):
                self.history = History()
                self.history.appends[7].expected = {"Order-1": expected}
                self.assert_named("expectation")
        self.history = History()
        self.history.appends[0].expected = {"Order-0": "stream_exists"}
        self.assert_named("expectation")

    def test_unknown_append_against_its_expectation(self):
        append = next(a for a in self.history.appends if a.outcome == "unknown")
        append.expected = {"Order-0": 1}
        self.assert_named("expectation")

    def test_append_behind_one_that_was_sent_after_its_answer(self):
        self.history.appends[10].sent = 100
        self.history.appends[10].answered = 101
        self.assert_named("real-time")

    def test_unknown_append_before_one_that_was_answered_before_it_was_sent(self):
        append = next(a for a in self.history.appends if a.outcome == "unknown")
        append.sent, append.answered = 200, float("inf")
        self.assert_named("real-time")

    def test_late_unknown_append_behind_all_is_no_violation(self):
        append = self.history.append("Order-0", 1, 50, outcome="unknown")
        append.sent = 0
        self.history.logs = {1: self.history.records}
        self.history.received = []
        self.assertEqual(self.history.kinds() - {"digest-differs"}, set())

    def test_refusal_with_a_version_that_was_never_there(self):
        self.history.appends[-1].refused_actual = {"Order-1": 9999}
        self.assert_named("wrongly-refused")

    def test_refusal_with_a_version_long_gone(self):
        self.history.appends[-1].refused_actual = {"Order-1": 1}
        self.assert_named("wrongly-refused")

    def test_refusal_of_the_version_that_was_expected(self):
        append = self.history.appends[-1]
        append.expected = dict(append.refused_actual)
        self.assert_named("wrongly-refused")

    def test_subscriber_with_an_event_of_its_own(self):
        self.history.received[0].events[5] = (6, name_of(10**6))
        self.assert_named("subscription-unknown")

    def test_subscriber_with_another_position(self):
        position, id = self.history.received[0].events[5]
        self.history.received[0].events[5] = (position + 1, id)
        self.assert_named("subscription-unknown")

    def test_subscriber_that_saw_an_event_twice(self):
        for place in (5, len(self.history.records) - 1):
            self.history = History()
            events = self.history.received[0].events
            events.insert(place + 1, events[place])
            self.assert_named("subscription-repeat")

    def test_subscriber_that_missed_an_event(self):
        for one in range(3):
            for place in (0, 4, -1):
                with self.subTest(subscriber=one, place=place):
                    self.history = History()
                    del self.history.received[one].events[place]
                    self.assert_named("subscription-gap")

    def test_subscriber_that_saw_two_in_the_wrong_order(self):
        events = self.history.received[2].events
        events[3], events[4] = events[4], events[3]
        self.assert_named("subscription-gap")

    def test_subscriber_before_its_beginning(self):
        received = self.history.received[1]
        record = self.history.records[9]
        received.events.insert(0, (record[POSITION], record[ID]))
        self.assert_named("subscription-repeat")

    # ---- conditions ----

    def with_condition(self, index, query, after):
        self.history = History()
        self.history.appends[index].conditions = [(query, after)]

    def test_append_against_its_condition(self):
        for query in ("all", [{"streams": ["Order-0"]}], [{"types": ["u"]}, {"categories": ["Order"]}]):
            self.with_condition(7, query, 3)
            self.assert_named("condition")

    def test_condition_on_a_tag(self):
        self.with_condition(7, [{"tags": ["red"]}], 0)
        self.assertEqual(self.history.kinds(), set())
        self.history.rewrite(lambda log: log[4].__setitem__(TAGS, ["red"]))
        self.assert_named("condition")

    def test_condition_that_held(self):
        appends = self.history.appends
        self.with_condition(7, "all", appends[7].first_position - 1)
        self.assertEqual(self.history.kinds(), set())

    def test_refusal_by_an_event_that_is_not_the_first_to_match(self):
        append = next(a for a in self.history.appends if a.outcome == "refused")
        append.conditions = [("all", 3)]
        append.refused_position = 4
        self.assertEqual(self.history.kinds(), set())
        for wrong in (3, 5, 9999):
            append.refused_position = wrong
            self.assert_named("wrongly-failed")

    # ---- reads ----

    def test_linearizable_read_that_misses_an_acknowledged_append(self):
        self.history.reads[0] = Read(1, 19.6, 19.7, "linearizable", 1, "Order-1", 0)
        self.assertEqual(self.history.kinds(), {"read-stale"})

    def test_linearizable_read_behind_what_another_read_showed(self):
        head = len(self.history.records)
        version = self.history.versions["Order-0"]
        self.history.reads.append(Read(2, 1, 2, "local", head, "Order-0", version))
        self.assert_named("read-stale")

    def test_read_that_did_not_wait(self):
        self.history.reads[1].consistency = {"at_least": self.history.reads[1].head + 1}
        self.assert_named("read-early")

    def test_read_that_shows_less_or_more_than_its_head(self):
        for change in (-1, 1):
            self.history = History()
            self.history.reads[0].version += change
            self.assert_named("read-differs")
        for place in (0, 1, 2):
            self.history = History()
            del self.history.reads[2].events[place]
            self.assert_named("read-differs")

    # ---- checkpoints ----

    def test_checkpoint_stored_with_a_lower_epoch(self):
        self.history.checkpoints[3].epoch = 6
        self.assert_named("checkpoint-fencing")

    def test_late_work_of_one_who_was_fenced_off(self):
        self.history.last_work()[DATA] = b"1 4"
        self.assert_named("checkpoint-backwards")

    def test_work_done_twice_or_left_out(self):
        for position in (3, 5):
            self.history = History()
            self.history.last_work()[DATA] = b"7 %d" % position
            self.assert_named("checkpoint-backwards")

    def test_checkpoint_read_that_is_old(self):
        for change in ({"position": 3}, {"epoch": 1}):
            self.history = History()
            for name, value in change.items():
                setattr(self.history.checkpoint_reads[3], name, value)
            self.assert_named("checkpoint-stale")

    def test_checkpoint_without_its_event(self):
        self.history.checkpoint_reads[-1].position = 5
        self.assert_named("checkpoint-torn")

    def test_event_without_its_checkpoint(self):
        self.history.checkpoints = self.history.checkpoints[:3]
        self.history.checkpoint_reads = self.history.checkpoint_reads[:3]
        self.history.checkpoint_reads.append(CheckpointRead("c", 3, 7, 70, 71, is_last=True))
        self.assert_named("checkpoint-torn")

    def test_superseded_checkpoints_may_be_dropped_on_some_nodes(self):
        stream = "$checkpoint-c"
        base = len(self.history.records)
        kept = [[base + n, n, 9999, name_of(10**5 + n), stream, "t", b"", b"", []] for n in range(1, 5)]
        for node, first in ((1, 0), (2, 1), (3, 3)):
            self.history.logs[node] = self.history.records + kept[first:]
        self.history.digests = {}
        self.assertEqual(self.history.kinds(), set())
        for node in self.history.logs:
            self.history.logs[node] = self.history.records + kept[3:]
        self.history.checkpoints = self.history.checkpoints[:2]
        self.history.checkpoint_reads = []
        self.assert_named("position-gap")

    # ---- subscribers of queries ----

    def test_subscriber_of_a_query(self):
        query = [{"streams": ["Order-0"]}]
        due = [(r[POSITION], r[ID]) for r in self.history.records if r[STREAM] == "Order-0"]
        self.history.received.append(Received("query", due, query=query))
        self.assertEqual(self.history.kinds(), set())
        del due[4]
        self.assert_named("subscription-gap")

    def test_every_kind_is_planted_above(self):
        tests = inspect.getsource(CheckerTest)
        for kind in checker.KINDS:
            self.assertIn(f'assert_named("{kind}")', tests)


if __name__ == "__main__":
    unittest.main()
