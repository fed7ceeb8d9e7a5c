"""read_stream, read_all, read_event, stream_info; consistency."""

import time

from annal_rpc import ID, POSITION, STREAM, VERSION, event
from case import SharedCase

LARGE = 2**63


class ReadStreamTest(SharedCase):
    def setUp(self):
        super().setUp()
        self.stream = self.new_stream()
        self.answer, self.sent = self.append(self.client, self.stream, 10)
        self.everyone = self.everywhere(self.answer["position"])

    def versions(self, connection, **params):
        return [e[VERSION] for e in self.read(connection, self.stream, **params)["events"]]

    def test_whole_stream_on_every_node(self):
        for connection in self.everyone:
            page = self.read(connection, self.stream)
            self.assertEqual([e[ID] for e in page["events"]], [e["id"] for e in self.sent])
            self.assertEqual((page["version"], page["first_version"]), (10, 1))
            self.assertEqual((page["state"], page["end"]), ("live", True))
            self.assertGreaterEqual(page["head"], self.answer["position"])

    def test_ranges(self):
        for params, expected in (
            ({"from": 1}, range(1, 11)),
            ({"from": 4}, range(4, 11)),
            ({"from": 10}, [10]),
            ({"from": 11}, []),
            ({"from": LARGE}, []),
            ({"from": 4, "limit": 3}, [4, 5, 6]),
            ({"limit": 1}, [1]),
            ({"limit": 10000}, range(1, 11)),
            ({"direction": "forward", "limit": 2}, [1, 2]),
            ({"direction": "backward"}, range(10, 0, -1)),
            ({"direction": "backward", "limit": 2}, [10, 9]),
            ({"direction": "backward", "from": 4}, [4, 3, 2, 1]),
            ({"direction": "backward", "from": 1}, [1]),
            ({"direction": "backward", "from": LARGE, "limit": 1}, [10]),
        ):
            for node, connection in enumerate(self.everyone, 1):
                with self.subTest(node=node, **params):
                    self.assertEqual(self.versions(connection, **params), list(expected))

    def test_pages_join_without_gap_or_repeat(self):
        for direction, expected in (("forward", range(1, 11)), ("backward", range(10, 0, -1))):
            for limit in (1, 3, 5, 10):
                with self.subTest(direction=direction, limit=limit):
                    found, params = [], {"direction": direction, "limit": limit}
                    for _ in range(11):
                        page = self.read(self.client, self.stream, **params)
                        found += [e[VERSION] for e in page["events"]]
                        if page["end"]:
                            break
                        params["from"] = page["next"]
                    self.assertTrue(page["end"])
                    self.assertEqual(found, list(expected))

    def test_max_bytes_bounds_a_page_but_lets_one_event_through(self):
        stream = self.new_stream()
        self.append(self.client, stream, events=[event(data=b"x" * 1000) for _ in range(20)])
        page = self.read(self.client, stream, max_bytes=5500)
        self.assertIn(len(page["events"]), (4, 5))
        self.assertIs(page["end"], False)
        self.assertEqual(page["next"], len(page["events"]) + 1)
        page = self.read(self.client, stream, max_bytes=1)
        self.assertEqual(len(page["events"]), 1)

    def test_reading_on_from_the_end_finds_what_came_since(self):
        page = self.read(self.client, self.stream)
        answer, sent = self.append(self.client, self.stream, 1)
        page = self.read(
            self.client, self.stream, **{"from": page["next"]},
            consistency={"at_least": answer["position"]},
        )
        self.assertEqual([e[ID] for e in page["events"]], [sent[0]["id"]])

    def test_stream_that_never_was(self):
        for connection in self.everyone:
            self.assert_error(
                "STREAM_NOT_FOUND", connection, "read_stream", {"stream": "never-was"},
                stream="never-was",
            )
            self.assert_error("STREAM_NOT_FOUND", connection, "stream_info", {"stream": "never-was"})


class ReadAllTest(SharedCase):
    def setUp(self):
        super().setUp()
        self.streams = [self.new_stream() for _ in range(3)]
        self.sent = []
        for turn in range(30):
            answer, sent = self.append(self.client, self.streams[turn % 3])
            self.first = self.first if turn else answer["position"]
            self.last = answer["position"]
            self.sent += sent
        self.everyone = self.everywhere(self.last)

    def ours(self, events):
        return [e[ID] for e in events if e[STREAM] in self.streams]

    def test_global_order_is_the_same_on_every_node(self):
        for connection in self.everyone:
            page = connection.call("read_all", {"from": self.first})
            self.assertEqual(self.ours(page["events"]), [e["id"] for e in self.sent])
            positions = [e[POSITION] for e in page["events"]]
            self.assertEqual(positions, sorted(set(positions)))

    def test_backward(self):
        for connection in self.everyone:
            page = connection.call("read_all", {"from": self.last, "direction": "backward", "limit": 30})
            self.assertEqual(self.ours(page["events"]), [e["id"] for e in reversed(self.sent)])

    def test_backward_begins_at_the_last(self):
        page = self.client.call("read_all", {"direction": "backward", "limit": 1})
        self.assertEqual(page["events"][0][ID], self.sent[-1]["id"])

    def test_pages_join_without_gap_or_repeat(self):
        for direction in ("forward", "backward"):
            for limit in (1, 7, 30):
                with self.subTest(direction=direction, limit=limit):
                    self.assertEqual(self.read_in_pages(direction, limit), self.expected(direction))

    def expected(self, direction):
        ids = [e["id"] for e in self.sent]
        return ids if direction == "forward" else ids[::-1]

    def read_in_pages(self, direction, limit):
        at = self.first if direction == "forward" else self.last
        found, end = [], False
        while not end and self.first <= at <= self.last:
            page = self.client.call("read_all", {"from": at, "direction": direction, "limit": limit})
            found += page["events"]
            at, end = page["next"], page["end"]
        return self.ours(e for e in found if self.first <= e[POSITION] <= self.last)

    def test_end_is_said_at_the_end_alone(self):
        page = self.client.call("read_all", {"from": self.first, "limit": 29})
        self.assertIs(page["end"], False)
        page = self.client.call("read_all", {"from": page["next"]})
        self.assertIs(page["end"], True)
        self.assertEqual(self.ours(page["events"]), [self.sent[-1]["id"]])

    def test_beyond_the_end(self):
        page = self.client.call("read_all", {"from": LARGE})
        self.assertEqual((page["events"], page["end"]), ([], True))

    def test_with_system_records_no_position_is_missing(self):
        for node in self.cluster.nodes.values():
            positions = [e[POSITION] for e in self.cluster.read_all(node, system=True)]
            self.assertEqual(positions, list(range(1, len(positions) + 1)))

    def test_without_system_records_no_system_stream_shows(self):
        events = self.cluster.read_all(self.leader)
        self.assertEqual([e for e in events if e[STREAM].startswith("$")], [])

    def test_query_all_is_the_default(self):
        params = {"from": self.first, "limit": 30}
        self.assertEqual(
            self.client.call("read_all", {**params, "query": "all"})["events"],
            self.client.call("read_all", params)["events"],
        )


class ReadEventTest(SharedCase):
    def test_three_ways_to_name_it(self):
        stream = self.new_stream()
        answer, sent = self.append(self.client, stream, 3)
        for connection in self.everywhere(answer["position"]):
            for number, one in enumerate(sent):
                position = answer["first_position"] + number
                for params in (
                    {"position": position},
                    {"id": one["id"]},
                    {"stream": stream, "version": number + 1},
                ):
                    found = connection.call("read_event", params)
                    self.assertEqual(found["event"][ID], one["id"])
                    self.assertEqual(found["event"][POSITION], position)
                    self.assertGreaterEqual(found["head"], answer["position"])

    def test_what_is_not_there(self):
        stream = self.new_stream()
        self.append(self.client, stream)
        for params in (
            {"position": LARGE},
            {"id": b"\0" * 16},
            {"stream": stream, "version": 2},
        ):
            with self.subTest(**params):
                self.assert_error("NOT_FOUND", self.client, "read_event", params)

    def test_nothing_named(self):
        self.assert_error("INVALID_ARGUMENT", self.client, "read_event", {})


class StreamInfoTest(SharedCase):
    def test_what_it_says(self):
        stream = self.new_stream()
        first, _ = self.append(self.client, stream)
        last, _ = self.append(self.client, stream, 4)
        for connection in self.everywhere(last["position"]):
            info = connection.call("stream_info", {"stream": stream})
            self.assertGreaterEqual(info.pop("head"), last["position"])
            self.assertEqual(
                info,
                {"state": "live", "version": 5, "first_version": 1, "count": 5,
                 "created": first["created"], "updated": last["created"]},
            )


class ConsistencyTest(SharedCase):
    def test_own_writes_are_read_on_any_node(self):
        readers = [self.connect(node) for node in self.cluster.nodes.values()]
        stream = self.new_stream()
        for version in range(1, 51):
            answer, _ = self.append(self.client, stream)
            for reader in readers:
                page = self.read(
                    reader, stream, **{"from": version}, consistency={"at_least": answer["position"]}
                )
                self.assertEqual([e[VERSION] for e in page["events"]], [version])
                self.assertGreaterEqual(page["head"], answer["position"])

    def test_read_waits_for_a_position_to_come(self):
        stream = self.new_stream()
        answer, _ = self.append(self.client, stream)
        for node in self.cluster.nodes.values():
            reader = self.connect(node)
            wanted = answer["position"] + 1
            reading = reader.begin(
                "read_all",
                {"from": wanted, "consistency": {"at_least": wanted}, "timeout_ms": 20000},
            )
            time.sleep(0.1)
            self.assertFalse(reading.done.is_set())
            answer, sent = self.append(self.client, stream)
            self.assertEqual(reading.wait(20)["events"][0][ID], sent[0]["id"])

    def test_position_that_does_not_come(self):
        for method, params in (
            ("read_all", {}),
            ("read_stream", {"stream": self.new_stream()}),
            ("read_event", {"position": 1}),
            ("stream_info", {"stream": "x"}),
        ):
            with self.subTest(method=method):
                answer = self.assert_error(
                    "NOT_READY", self.client, method,
                    {**params, "consistency": {"at_least": LARGE}, "timeout_ms": 200}, wanted=LARGE,
                )
                self.assertIsInstance(answer["head"], int)

    def test_local_is_the_default(self):
        stream = self.new_stream()
        self.append(self.client, stream)
        for consistency in ({}, {"consistency": "local"}):
            self.client.call("read_all", consistency)

    def test_waiting_reads_do_not_hold_up_others(self):
        waiting = [
            self.client.begin(
                "read_all", {"consistency": {"at_least": LARGE}, "timeout_ms": 3000}
            )
            for _ in range(100)
        ]
        self.client.call("ping")
        self.client.call("read_all", {"limit": 1})
        self.assertFalse(any(one.done.is_set() for one in waiting))
        for one in waiting:
            self.assertTrue(one.done.wait(20))
            self.assertEqual(one.error["code"], "NOT_READY")
