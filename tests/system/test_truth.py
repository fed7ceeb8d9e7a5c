"""append: the truth tables. Every expectation at every state of a stream, written and only checked, again
with the same ids, and again after more was written; streams written in any order; duplicates in part."""

import itertools

from annal_rpc import ID, POSITION, STREAM, VERSION, RpcError, event
from case import SharedCase

# What holds at which version (0: the stream never existed).
HOLDS = {
    "any": lambda version: True,
    "no_stream": lambda version: version == 0,
    "stream_exists": lambda version: version > 0,
    0: lambda version: version == 0,
    1: lambda version: version == 1,
    2: lambda version: version == 2,
    3: lambda version: version == 3,
    2**63: lambda version: False,
}
VERSIONS = (0, 1, 2, 3)


class TruthTable(SharedCase):
    def stream_at(self, version):
        stream = self.new_stream("Truth")
        if version:
            self.append(self.client, stream, version)
        return stream

    def version_of(self, stream):
        try:
            return self.client.call("stream_info", {"stream": stream})["version"]
        except RpcError as error:
            self.assertEqual(error.code, "STREAM_NOT_FOUND")
            return 0

    def append_or_violation(self, params):
        """(answer, None) or (None, violations)"""
        try:
            return self.client.call("append", params), None
        except RpcError as error:
            self.assertEqual(error.code, "WRONG_EXPECTED_VERSION", error.fields)
            return None, error.fields["violations"]

    def test_written(self):
        for version, expected in itertools.product(VERSIONS, HOLDS):
            with self.subTest(version=version, expected=expected):
                stream = self.stream_at(version)
                params = {"stream": stream, "expected_version": expected, "events": [event(), event()]}
                answer, violations = self.append_or_violation(params)
                if HOLDS[expected](version):
                    self.check_retries(stream, params, answer, version)
                else:
                    self.check_refused(stream, params, violations, version, expected)

    def check_retries(self, stream, params, answer, version):
        self.assertEqual((answer["first_version"], answer["version"]), (version + 1, version + 2))
        self.assertIs(answer["duplicate"], False)
        again = {**answer, "duplicate": True}
        self.assertEqual(self.client.call("append", params), again)
        self.append(self.client, stream, 3)
        self.assertEqual(self.client.call("append", params), again, "after more events")
        for other in HOLDS:
            retry = {**params, "expected_version": other}
            self.assertEqual(self.client.call("append", retry), again, f"whatever is expected: {other}")
        self.assertEqual(self.version_of(stream), version + 5)

    def check_refused(self, stream, params, violations, version, expected):
        shown = {
            "index": 0,
            "stream": stream,
            "expected": expected,
            "actual": version,
            "state": "live" if version else "none",
        }
        self.assertEqual(violations, [shown])
        self.assertEqual(self.version_of(stream), version)
        self.assertEqual(self.append_or_violation(params)[1], [shown], "again")
        answer = self.client.call("append", {**params, "expected_version": "any"})
        self.assertIs(answer["duplicate"], False, "a refused one was not stored")

    def test_only_checked(self):
        for version, expected in itertools.product(VERSIONS, HOLDS):
            with self.subTest(version=version, expected=expected):
                checked, written = self.stream_at(version), self.new_stream("Truth")
                params = {
                    "writes": [{"stream": written, "events": [event()]}],
                    "checks": [{"stream": checked, "expected_version": expected}],
                }
                if expected == "any":
                    self.assert_error("INVALID_ARGUMENT", self.client, "append", params)
                    continue
                answer, violations = self.append_or_violation(params)
                if not HOLDS[expected](version):
                    self.assertEqual(
                        [(v["stream"], v["expected"], v["actual"]) for v in violations],
                        [(checked, expected, version)],
                    )
                    self.assertEqual(self.version_of(written), 0)
                    continue
                self.assertEqual(answer["versions"], {written: 1})
                self.append(self.client, checked, 4)
                self.assertEqual(self.client.call("append", params), {**answer, "duplicate": True})

    def test_checks_alone(self):
        stream = self.stream_at(2)
        for expected, holds in HOLDS.items():
            if expected == "any":
                continue
            with self.subTest(expected=expected):
                params = {"checks": [{"stream": stream, "expected_version": expected}]}
                answer, violations = self.append_or_violation(params)
                self.assertEqual(violations is None, holds(2))
                if answer:
                    self.assertEqual((answer["versions"], answer["duplicate"]), ({}, False))
        self.assertEqual(self.version_of(stream), 2)

    def test_all_that_fail_are_told(self):
        streams = [self.stream_at(version) for version in VERSIONS]
        expected = ["stream_exists", 0, 1, "no_stream"]
        params = {
            "writes": [
                {"stream": stream, "expected_version": value, "events": [event()]}
                for stream, value in zip(streams[:2], expected)
            ],
            "checks": [
                {"stream": stream, "expected_version": value}
                for stream, value in zip(streams[2:], expected[2:])
            ],
        }
        violations = self.append_or_violation(params)[1]
        self.assertEqual([v["stream"] for v in violations], streams)
        self.assertEqual([v["actual"] for v in violations], list(VERSIONS))
        self.assertEqual([v["expected"] for v in violations], expected)

    def test_what_checks_may_not_be(self):
        one, other = self.stream_at(1), self.stream_at(1)
        write = {"stream": one, "events": [event()]}
        check = {"stream": other, "expected_version": 1}
        for name, params in {
            "a stream twice": {"writes": [write], "checks": [check, check]},
            "written, too": {"writes": [write], "checks": [{"stream": one, "expected_version": 1}]},
            "any": {"writes": [write], "checks": [{"stream": other, "expected_version": "any"}]},
            "nothing expected": {"writes": [write], "checks": [{"stream": other}]},
            "nothing at all": {},
            "no writes": {"writes": []},
            "no checks either": {"writes": [], "checks": []},
        }.items():
            with self.subTest(name):
                self.assert_error("INVALID_ARGUMENT", self.client, "append", params)
        self.assertEqual((self.version_of(one), self.version_of(other)), (1, 1))


class InterleavedTest(SharedCase):
    def test_streams_in_any_order(self):
        a, b, c = (self.new_stream("Mixed") for _ in range(3))
        events = [event(data=b"%d" % number) for number in range(7)]
        order = [a, b, a, c, b, b, a]
        # The expectation of a stream counts at its first place: later ones may say what they like.
        expectations = {a: ["no_stream", 99, "any"], b: [0, "stream_exists", 7], c: ["any"]}
        seen = {}
        writes = []
        for stream, one in zip(order, events):
            place = seen[stream] = seen.get(stream, -1) + 1
            writes.append(
                {"stream": stream, "expected_version": expectations[stream][place], "events": [one]}
            )
        answer = self.client.call("append", {"writes": writes})
        self.assertEqual(answer["versions"], {a: 3, b: 3, c: 1})
        self.assertEqual(answer["position"] - answer["first_position"], 6)
        found = self.client.call("read_all", {"from": answer["first_position"], "limit": 7})["events"]
        self.assertEqual([e[STREAM] for e in found], order)
        self.assertEqual([e[ID] for e in found], [e["id"] for e in events])
        self.assertEqual([e[VERSION] for e in found], [1, 1, 2, 1, 2, 3, 3])
        self.assertEqual(self.client.call("append", {"writes": writes}), {**answer, "duplicate": True})

    def test_the_first_place_decides(self):
        stream = self.new_stream("Mixed")
        self.append(self.client, stream, 2)
        writes = [
            {"stream": stream, "expected_version": expected, "events": [event()]} for expected in (1, 2)
        ]
        answer = self.assert_error("WRONG_EXPECTED_VERSION", self.client, "append", {"writes": writes})
        self.assertEqual([(v["index"], v["expected"], v["actual"]) for v in answer["violations"]], [(0, 1, 2)])


class DuplicateTest(SharedCase):
    def setUp(self):
        super().setUp()
        self.stream, self.other = self.new_stream("Twice"), self.new_stream("Twice")
        self.events = [event(data=b"%d" % number) for number in range(3)]
        self.answer, _ = self.append(self.client, self.stream, events=self.events)

    def conflict(self, params):
        answer = self.assert_error("EVENT_ID_CONFLICT", self.client, "append", params)
        self.assertIn(answer["id"], [e["id"] for e in self.events])
        self.assertEqual(self.client.call("stream_info", {"stream": self.stream})["version"], 3)

    def test_conflicts(self):
        new = event()
        first, second, third = self.events
        for name, events in {
            "new at the end": [first, second, third, new],
            "new before": [new, first],
            "new between": [first, new, second],
            "other order": [second, first, third],
            "with a gap": [first, third],
        }.items():
            with self.subTest(name):
                self.conflict({"stream": self.stream, "events": events})

    def test_another_stream(self):
        self.conflict({"stream": self.other, "events": self.events})
        self.conflict(
            {
                "writes": [
                    {"stream": self.stream, "events": self.events[:1]},
                    {"stream": self.other, "events": self.events[1:]},
                ]
            }
        )

    def test_a_part_that_is_one_run_is_there(self):
        answer, _ = self.append(self.client, self.stream, events=self.events[1:])
        self.assertIs(answer["duplicate"], True)
        self.assertEqual((answer["first_version"], answer["version"]), (2, 3))

    def test_an_id_twice_in_one_append(self):
        one = event()
        with self.assertRaises(RpcError) as caught:
            self.append(self.client, self.stream, events=[one, one])
        self.assertIn(caught.exception.code, ("EVENT_ID_CONFLICT", "INVALID_ARGUMENT"))

    def test_through_every_node_while_it_is_under_way(self):
        for _ in range(20):
            params = {"stream": self.stream, "events": [event()]}
            connections = [self.connect(node) for node in self.cluster.nodes.values()]
            requests = [connection.begin("append", params) for connection in connections * 3]
            answers = [request.wait(30) for request in requests]
            self.assertEqual(sum(not answer["duplicate"] for answer in answers), 1)
            self.assertEqual(len({(a["position"], a["version"], a["created"]) for a in answers}), 1)
            for connection in connections:
                connection.close()

    def test_what_is_stored_is_read_at_the_answered_places(self):
        found = self.client.call(
            "read_all", {"from": self.answer["first_position"], "limit": 3}
        )["events"]
        self.assertEqual([e[POSITION] for e in found][-1], self.answer["position"])
        self.assertEqual([e[ID] for e in found], [e["id"] for e in self.events])
