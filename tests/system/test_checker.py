#!/usr/bin/env python3
"""The checker accepts a right history and names each kind of violation planted into it."""

import copy
import inspect
import unittest

import checker
from annal_rpc import CREATED, ID, POSITION, STREAM, VERSION
from checker import Append, Received


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
        self.append("Order-0", 2, 40, outcome="unknown")
        self.never("Order-0", 2, 41, "unknown")
        self.never("Order-1", 1, 42, "refused")
        self.append("Order-1", 1, 43, expected=self.versions["Order-1"])
        refused = self.never("Order-1", 1, 44, "refused")
        refused.expected = {"Order-1": 3}
        refused.refused_actual = {"Order-1": self.versions["Order-1"]}
        self.logs = {1: self.records, 2: list(self.records), 3: list(self.records)}
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
                self.appends, self.logs, self.digests, self.received, fingerprint
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

    def test_every_kind_is_planted_above(self):
        tests = inspect.getsource(CheckerTest)
        for kind in checker.KINDS:
            self.assertIn(f'assert_named("{kind}")', tests)


if __name__ == "__main__":
    unittest.main()
