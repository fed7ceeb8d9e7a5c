"""append: expectations, atomicity, idempotency, limits, order."""

import time

from annal_rpc import CREATED, DATA, ID, METADATA, POSITION, STREAM, TAGS, VERSION, RpcError, event
from case import OwnCase, SharedCase

KIB, MIB = 1 << 10, 1 << 20


class AppendTest(SharedCase):
    def test_one_event_comes_back_as_it_was_sent(self):
        stream = self.new_stream()
        sent = event("Placed", b"\x00\xffdata", metadata=b"meta", tags=["a:1", "b"])
        answer, _ = self.append(self.client, stream, events=[sent])
        self.assertEqual(answer["versions"], {stream: 1})
        self.assertEqual((answer["first_version"], answer["version"]), (1, 1))
        self.assertEqual(answer["first_position"], answer["position"])
        self.assertIs(answer["duplicate"], False)
        found = self.client.call("read_event", {"position": answer["position"]})["event"]
        self.assertEqual(found[:2], [answer["position"], 1])
        self.assertEqual(found[CREATED], answer["created"])
        self.assertEqual(
            found[ID:TAGS + 1], [sent["id"], stream, "Placed", b"\x00\xffdata", b"meta", ["a:1", "b"]]
        )

    def test_time_is_given_by_the_node(self):
        answer, _ = self.append(self.client, self.new_stream())
        self.assertLess(abs(answer["created"] - time.time_ns()), 3600 * 10**9)

    def test_what_may_be_left_out(self):
        stream = self.new_stream()
        answer, _ = self.append(self.client, stream, events=[{"type": "t", "data": b""}])
        found = self.read(self.client, stream)["events"][0]
        self.assertEqual(len(found[ID]), 16)
        self.assertEqual((found[DATA], found[METADATA], found[TAGS]), (b"", b"", []))
        self.assertEqual(answer["version"], 1)

    def test_text_is_kept_as_bytes(self):
        stream = self.new_stream()
        self.append(self.client, stream, events=[event(data="grün", metadata="ü")])
        found = self.read(self.client, stream)["events"][0]
        self.assertEqual((found[DATA], found[METADATA]), ("grün".encode(), "ü".encode()))

    def test_repeated_tags_are_dropped(self):
        stream = self.new_stream()
        self.append(self.client, stream, events=[event(tags=["b", "a", "b", "a"])])
        self.assertEqual(sorted(self.read(self.client, stream)["events"][0][TAGS]), ["a", "b"])

    def test_several_events_take_versions_and_positions_in_order(self):
        stream = self.new_stream()
        answer, sent = self.append(self.client, stream, 100)
        self.assertEqual((answer["first_version"], answer["version"]), (1, 100))
        self.assertEqual(answer["position"] - answer["first_position"], 99)
        events = self.read(self.client, stream)["events"]
        self.assertEqual([e[ID] for e in events], [e["id"] for e in sent])
        self.assertEqual([e[VERSION] for e in events], list(range(1, 101)))
        first = answer["first_position"]
        self.assertEqual([e[POSITION] for e in events], list(range(first, first + 100)))

    def test_through_every_node(self):
        stream = self.new_stream()
        for count, node in enumerate(self.cluster.nodes.values(), 1):
            answer, _ = self.append(self.connect(node), stream, expected_version=count - 1)
            self.assertEqual(answer["version"], count)

    def test_appends_of_one_connection_keep_their_order(self):
        for node in self.cluster.nodes.values():
            stream, connection = self.new_stream(), self.connect(node)
            requests = [
                connection.begin("append", {"stream": stream, "events": [event(data=b"%d" % n)]})
                for n in range(300)
            ]
            versions = [request.wait(30)["version"] for request in requests]
            self.assertEqual(versions, list(range(1, 301)))

    def test_names_at_their_limits(self):
        for stream in ("x", "é" * 512, "a" * 1024, "with space/slash:colon-1-2", "日本-1"):
            with self.subTest(stream=stream[:20]):
                stream = stream if stream in ("é" * 512, "a" * 1024) else stream + self.new_stream()
                self.append(self.client, stream, events=[event("T" * 255, tags=["t" * 255])])
                self.assertEqual(self.read(self.client, stream, limit=1)["events"][0][STREAM], stream)


class ExpectationTest(SharedCase):
    def check(self, stream, version, cases):
        """cases: (expectation, is met) for a stream of that version; those that are met come last."""
        for expected, met in cases:
            with self.subTest(version=version, expected=expected):
                params = {"stream": stream, "expected_version": expected, "events": [event()]}
                if met:
                    self.assertEqual(self.client.call("append", params)["first_version"], version + 1)
                    version += 1
                    continue
                answer = self.assert_error("WRONG_EXPECTED_VERSION", self.client, "append", params)
                self.assertEqual(len(answer["violations"]), 1)
                violation = answer["violations"][0]
                self.assertEqual(violation["index"], 0)
                self.assertEqual(violation["stream"], stream)
                self.assertEqual(violation["expected"], expected)
                self.assertEqual(violation["actual"], version)
                self.assertIn("state", violation)

    def test_of_a_stream_that_never_was(self):
        cases = [("stream_exists", False), (1, False), (2**63, False)]
        for met in (0, "no_stream", "any"):
            self.check(self.new_stream(), 0, cases + [(met, True)])

    def test_of_a_stream_with_events(self):
        for met in (3, "stream_exists", "any"):
            stream = self.new_stream()
            self.append(self.client, stream, 3)
            cases = [("no_stream", False), (0, False), (2, False), (4, False), (2**64 - 1, False)]
            self.check(stream, 3, cases + [(met, True)])

    def test_default_is_any(self):
        stream = self.new_stream()
        for version in (1, 2):
            self.assertEqual(self.append(self.client, stream)[0]["version"], version)

    def test_of_two_appends_with_one_expectation_one_wins(self):
        connections = [self.connect(node) for node in self.cluster.nodes.values()]
        for _ in range(20):
            stream = self.new_stream()
            params = {"stream": stream, "expected_version": 0}
            requests = [c.begin("append", {**params, "events": [event()]}) for c in connections]
            for request in requests:
                request.done.wait(15)
            won = [request.result for request in requests if request.error is None]
            lost = [request.error["code"] for request in requests if request.error is not None]
            self.assertEqual((len(won), lost), (1, ["WRONG_EXPECTED_VERSION"] * 2))

    def test_events_that_the_client_has_not_seen_come_with_the_refusal(self):
        stream = self.new_stream()
        _, sent = self.append(self.client, stream, 5)
        for node in self.cluster.nodes.values():
            connection = self.connect(node)
            for expected, seen in ((2, 2), (0, 0), ("no_stream", 0)):
                answer = self.assert_error(
                    "WRONG_EXPECTED_VERSION", connection, "append",
                    {"stream": stream, "expected_version": expected, "events": [event()],
                     "on_conflict": "events"},
                )
                self.assertEqual([e[ID] for e in answer["events"]], [e["id"] for e in sent[seen:]])

    def test_refusal_without_on_conflict_has_no_events(self):
        stream = self.new_stream()
        self.append(self.client, stream, 2)
        answer = self.assert_error(
            "WRONG_EXPECTED_VERSION", self.client, "append",
            {"stream": stream, "expected_version": 1, "events": [event()]},
        )
        self.assertNotIn("events", answer)

    def test_at_most_64_kib_come_with_the_refusal(self):
        stream = self.new_stream()
        self.append(self.client, stream, events=[event(data=b"x" * 30 * KIB) for _ in range(5)])
        answer = self.assert_error(
            "WRONG_EXPECTED_VERSION", self.client, "append",
            {"stream": stream, "expected_version": 1, "events": [event()], "on_conflict": "events"},
        )
        self.assertEqual([e[VERSION] for e in answer["events"]], [2, 3])


class SeveralStreamsTest(SharedCase):
    def test_all_are_written_in_the_order_given(self):
        a, b = self.new_stream(), self.new_stream()
        writes = [
            {"stream": a, "events": [event(), event()]},
            {"stream": b, "expected_version": "no_stream", "events": [event()]},
            {"stream": a, "events": [event()]},
        ]
        answer = self.client.call("append", {"writes": writes})
        self.assertEqual(answer["versions"], {a: 3, b: 1})
        self.assertEqual(answer["position"] - answer["first_position"], 3)
        page = self.client.call("read_all", {"from": answer["first_position"], "limit": 4})
        self.assertEqual(
            [(e[STREAM], e[VERSION], e[ID]) for e in page["events"]],
            [(a, 1, writes[0]["events"][0]["id"]), (a, 2, writes[0]["events"][1]["id"]),
             (b, 1, writes[1]["events"][0]["id"]), (a, 3, writes[2]["events"][0]["id"])],
        )

    def test_every_failed_expectation_is_told_and_nothing_is_written(self):
        a, b, c = self.new_stream(), self.new_stream(), self.new_stream()
        self.append(self.client, a, 2)
        answer = self.assert_error(
            "WRONG_EXPECTED_VERSION", self.client, "append",
            {"writes": [
                {"stream": a, "expected_version": 1, "events": [event()]},
                {"stream": b, "events": [event()]},
                {"stream": c, "expected_version": "stream_exists", "events": [event()]},
            ]},
        )
        found = [(v["index"], v["stream"], v["expected"], v["actual"]) for v in answer["violations"]]
        self.assertEqual(found, [(0, a, 1, 2), (2, c, "stream_exists", 0)])
        self.assertEqual(self.read(self.client, a)["version"], 2)
        for stream in (b, c):
            self.assert_error(
                "STREAM_NOT_FOUND", self.client, "read_stream", {"stream": stream}, stream=stream
            )

    def test_expectation_counts_at_the_first_place_of_a_stream(self):
        a = self.new_stream()
        answer = self.client.call(
            "append",
            {"writes": [
                {"stream": a, "expected_version": 0, "events": [event()]},
                {"stream": a, "events": [event()]},
            ]},
        )
        self.assertEqual(answer["versions"], {a: 2})

    def test_checks_of_streams_that_are_not_written(self):
        a, b = self.new_stream(), self.new_stream()
        self.append(self.client, a, 2)
        params = {"writes": [{"stream": b, "events": [event()]}]}
        answer = self.assert_error(
            "WRONG_EXPECTED_VERSION", self.client, "append",
            {**params, "checks": [{"stream": a, "expected_version": 1}]},
        )
        self.assertEqual([(v["stream"], v["actual"]) for v in answer["violations"]], [(a, 2)])
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": b})
        answer = self.client.call("append", {**params, "checks": [{"stream": a, "expected_version": 2}]})
        self.assertEqual(answer["versions"], {b: 1})


class IdempotencyTest(SharedCase):
    def setUp(self):
        super().setUp()
        self.stream = self.new_stream()
        self.original, self.sent = self.append(self.client, self.stream, 3)

    def assert_duplicate(self, answer):
        self.assertEqual(answer, {**self.original, "duplicate": True})

    def assert_untouched(self):
        self.assertEqual(self.read(self.client, self.stream)["version"], 3)

    def test_same_ids_again_give_the_first_answer_through_any_node(self):
        for node in self.cluster.nodes.values():
            answer, _ = self.append(self.connect(node), self.stream, events=self.sent)
            self.assert_duplicate(answer)
        self.assert_untouched()

    def test_whatever_the_expectation_says(self):
        for expected in (0, 2, 77, "no_stream", "stream_exists"):
            answer, _ = self.append(
                self.client, self.stream, events=self.sent, expected_version=expected
            )
            self.assert_duplicate(answer)
        self.assert_untouched()

    def test_after_the_stream_went_on(self):
        self.append(self.client, self.stream, 2)
        answer, _ = self.append(self.client, self.stream, events=self.sent)
        self.assert_duplicate(answer)

    def test_several_streams(self):
        a, b = self.new_stream(), self.new_stream()
        params = {"writes": [{"stream": s, "events": [event(), event()]} for s in (a, b)]}
        first = self.client.call("append", params)
        self.assertEqual(self.client.call("append", params), {**first, "duplicate": True})

    def test_conflicts(self):
        new = event()
        cases = {
            "some of the ids and a new one": (self.stream, self.sent + [new]),
            "a new one first": (self.stream, [new] + self.sent[:1]),
            "in another order": (self.stream, [self.sent[1], self.sent[0]]),
            "in another stream": (self.new_stream(), self.sent),
        }
        for name, (stream, events) in cases.items():
            with self.subTest(name):
                answer = self.assert_error(
                    "EVENT_ID_CONFLICT", self.client, "append", {"stream": stream, "events": events}
                )
                versions = {e["id"]: version for version, e in enumerate(self.sent, 1)}
                self.assertIn(answer["id"], versions)
                self.assertEqual(answer["stream"], self.stream)
                self.assertEqual(answer["version"], versions[answer["id"]])
                self.assert_untouched()
        self.assert_error("NOT_FOUND", self.client, "read_event", {"id": new["id"]})

    def test_one_id_twice_in_an_append_writes_nothing(self):
        stream, one = self.new_stream(), event()
        with self.assertRaises(RpcError):
            self.append(self.client, stream, events=[one, dict(one)])
        self.assert_error("STREAM_NOT_FOUND", self.client, "read_stream", {"stream": stream})

    def test_two_at_once_through_two_nodes_are_written_once(self):
        connections = [self.connect(node) for node in self.cluster.nodes.values()]
        for _ in range(20):
            params = {"stream": self.new_stream(), "events": [event(), event()]}
            requests = [connection.begin("append", params) for connection in connections]
            answers = [request.wait(15) for request in requests]
            self.assertEqual(sorted(a["duplicate"] for a in answers), [False, True, True])
            self.assertEqual({a["position"] for a in answers}, {answers[0]["position"]})


class IdempotencyAfterRestartTest(OwnCase):
    def test_ids_are_known_after_all_nodes_were_killed(self):
        stream = self.new_stream()
        with self.cluster[1].connect() as client:
            original, sent = self.append(client, stream, 3)
            many = [self.append(client, self.new_stream(), 20) for _ in range(50)]
        for node in self.cluster.nodes.values():
            node.kill()
        self.cluster.start()
        for node in self.cluster.nodes.values():
            client = self.connect(node)
            answer, _ = self.append(client, stream, events=sent)
            self.assertEqual(answer, {**original, "duplicate": True})
            for first, events in many:
                stream_of = next(iter(first["versions"]))
                answer, _ = self.append(client, stream_of, events=events)
                self.assertEqual(answer, {**first, "duplicate": True})

    def test_ids_are_known_to_the_next_leader(self):
        stream = self.new_stream()
        leader = self.cluster.leader()
        follower = self.cluster.followers()[0]
        with leader.connect() as client:
            original, sent = self.append(client, stream, 3)
        leader.kill()
        self.cluster.wait_writable(follower)
        answer, _ = self.append(self.connect(follower), stream, events=sent)
        self.assertEqual(answer, {**original, "duplicate": True})


class LimitTest(SharedCase):
    def test_events_of_an_append(self):
        stream = self.new_stream()
        answer, _ = self.append(self.client, stream, 10000)
        self.assertEqual(answer["version"], 10000)
        error = self.assert_error(
            "TOO_LARGE", self.client, "append",
            {"stream": stream, "events": [event() for _ in range(10001)]}, limit=10000,
        )
        self.assertEqual(error["size"], 10001)
        self.assertEqual(self.read(self.client, stream, limit=1)["version"], 10000)

    def test_bytes_of_an_event(self):
        stream = self.new_stream()
        self.append(self.client, stream, events=[event(data=b"x" * (4 * MIB - 2 * KIB))])
        error = self.assert_error(
            "TOO_LARGE", self.client, "append",
            {"stream": stream, "events": [event(data=b"x" * (4 * MIB + 1))]}, limit=4 * MIB,
        )
        self.assertGreater(error["size"], 4 * MIB)
        found = self.read(self.client, stream)
        self.assertEqual(found["version"], 1)
        self.assertEqual(len(found["events"][0][DATA]), 4 * MIB - 2 * KIB)

    def test_bytes_of_an_append(self):
        stream = self.new_stream()
        self.append(
            self.client, stream, events=[event(data=b"x" * (2 * MIB - 64 * KIB)) for _ in range(4)]
        )
        self.assert_error(
            "TOO_LARGE", self.client, "append",
            {"stream": stream, "events": [event(data=b"x" * 3 * MIB) for _ in range(3)]},
            limit=8 * MIB,
        )
        self.assertEqual(self.read(self.client, stream, limit=1)["version"], 4)

    def test_largest_appends_through_followers(self):
        for node in self.cluster.followers():
            stream = self.new_stream()
            connection = self.connect(node)
            answer = connection.call(
                "append",
                {"stream": stream, "events": [event(data=b"y" * (4 * MIB - 2 * KIB))],
                 "timeout_ms": 20000}, 30,
            )
            self.assertEqual(answer["version"], 1)
            self.everywhere(answer["position"])


class OrderTest(SharedCase):
    def test_created_never_goes_back(self):
        for node in self.cluster.nodes.values():
            self.append(self.connect(node), self.new_stream(), 10)
        events = self.cluster.read_all(self.leader)
        times = [e[CREATED] for e in events]
        self.assertEqual(times, sorted(times))
        self.assertGreater(len(times), 30)
