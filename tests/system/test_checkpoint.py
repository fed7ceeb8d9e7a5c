"""Checkpoints of consumers and snapshots of streams."""

import threading
import time

from annal_rpc import POSITION, RpcError, event
from case import OwnCase, SharedCase


class CheckpointTest(SharedCase):
    def setUp(self):
        super().setUp()
        self.consumer = self.new_stream("consumer")

    def put(self, position, connection=None, **more):
        params = {"consumer": self.consumer, "position": position, **more}
        return (connection or self.client).call("checkpoint_put", params)

    def get(self, connection=None, **more):
        found = (connection or self.client).call("checkpoint_get", {"consumer": self.consumer, **more})
        return found["position"], found["epoch"]

    def assert_conflict(self, stored, method="checkpoint_put", **params):
        """`stored`: the position and epoch that are told."""
        if method == "checkpoint_put":
            params["consumer"] = self.consumer
        answer = self.assert_error("CHECKPOINT_CONFLICT", self.client, method, params)
        self.assertEqual((answer["consumer"], (answer["position"], answer["epoch"])), (self.consumer, stored))

    def test_what_was_put_is_got_on_every_node(self):
        self.assertEqual(self.put(42)["position"], 42)
        self.assertEqual(self.put(43, epoch=2)["position"], 43)
        for node in self.cluster.nodes.values():
            self.assertEqual(self.get(self.connect(node), consistency="linearizable"), (43, 2))

    def test_through_a_follower_it_is_seen_there_at_once(self):
        for number, node in enumerate(self.cluster.nodes.values(), 1):
            connection = self.connect(node)
            self.put(number, connection)
            self.assertEqual(self.get(connection), (number, 0))

    def test_none(self):
        for method in ("checkpoint_get", "checkpoint_delete"):
            answer = self.assert_error("NOT_FOUND", self.client, method, {"consumer": self.consumer})
            self.assertEqual(answer["what"], "checkpoint")

    def test_if_position(self):
        self.assert_conflict((0, 0), position=5, if_position=3)
        self.put(5, if_position=0)
        self.assert_conflict((5, 0), position=6, if_position=0)
        self.put(6, if_position=5)
        self.put(2, if_position=6)  # back: a projection that is built anew
        self.assertEqual(self.get(), (2, 0))

    def test_epochs_fence(self):
        self.put(10, epoch=3)
        for epoch in (0, 1, 2):
            self.assert_conflict((10, 3), position=11, epoch=epoch)
        self.assert_conflict((10, 3), position=11)
        self.put(11, epoch=3)
        self.put(12, epoch=4)
        self.assert_conflict((12, 4), position=13, epoch=3)
        self.assertEqual(self.get(), (12, 4))

    def test_deleted_and_put_again(self):
        self.put(7, epoch=9)
        self.assertEqual(self.client.call("checkpoint_delete", {"consumer": self.consumer}), {})
        self.assert_error("NOT_FOUND", self.client, "checkpoint_get", {"consumer": self.consumer})
        self.put(1, if_position=0)
        self.assertEqual(self.get(), (1, 0))

    def test_list(self):
        prefix = self.new_stream("many")
        for number in (3, 1, 2):
            params = {"consumer": f"{prefix}-{number}", "position": number, "epoch": number}
            self.client.call("checkpoint_put", params)
        self.client.call("checkpoint_delete", {"consumer": f"{prefix}-2"})
        found = self.client.call("checkpoint_list", {"prefix": prefix})["checkpoints"]
        shown = [(c["consumer"], c["position"], c["epoch"]) for c in found]
        self.assertEqual(shown, [(f"{prefix}-1", 1, 1), (f"{prefix}-3", 3, 3)])
        self.assertTrue(all(c["updated"] > 10**18 for c in found))

    def test_with_events_in_one_step(self):
        stream = self.new_stream()
        params = {
            "writes": [{"stream": stream, "expected_version": 0, "events": [event(), event()]}],
            "checkpoint": {"consumer": self.consumer, "position": 20, "epoch": 1},
        }
        answer = self.client.call("append", params)
        self.assertEqual(answer["versions"], {stream: 2})
        self.assertEqual(answer["position"] - answer["first_position"], 1)
        self.assertEqual(self.get(), (20, 1))
        self.put(30, epoch=1)
        self.assertEqual(self.client.call("append", params), {**answer, "duplicate": True})
        self.assertEqual(self.get(), (30, 1), "a duplicate writes nothing")

    def test_both_or_neither(self):
        stream = self.new_stream()
        self.put(5, epoch=2)
        write = {"stream": stream, "events": [event()]}
        checkpoint = {"consumer": self.consumer, "position": 6, "epoch": 1}
        self.assert_conflict((5, 2), "append", writes=[write], checkpoint=checkpoint)
        self.assert_error("STREAM_NOT_FOUND", self.client, "stream_info", {"stream": stream})
        wrong = {"writes": [{**write, "expected_version": 3}], "checkpoint": {**checkpoint, "epoch": 2}}
        self.assert_error("WRONG_EXPECTED_VERSION", self.client, "append", wrong)
        self.assertEqual(self.get(), (5, 2))

    def test_alone_in_an_append(self):
        checkpoint = {"consumer": self.consumer, "position": 8}
        for params in ({"writes": [], "checkpoint": checkpoint}, {"checkpoint": checkpoint}):
            answer = self.client.call("append", params)
            self.assertEqual((answer["versions"], answer["duplicate"]), ({}, False))
            self.assertEqual(self.get(consistency={"at_least": answer["position"]}), (8, 0))

    def test_positions_of_events_skip_them_and_system_shows_them(self):
        stream = self.new_stream()
        first, _ = self.append(self.client, stream)
        self.put(1)
        second, _ = self.append(self.client, stream)
        self.assertEqual(second["position"], first["position"] + 2)
        page = {"from": first["position"], "limit": 3}
        events = self.client.call("read_all", page)["events"]
        self.assertEqual([e[POSITION] for e in events], [first["position"], second["position"]])
        everything = self.client.call("read_all", {**page, "system": True})["events"]
        self.assertEqual([e[POSITION] for e in everything][0::2], [first["position"], second["position"]])
        self.assertEqual(everything[1][4:6], [f"$checkpoint-{self.consumer}", "$checkpoint"])

    def test_malformed(self):
        for params in (
            {"position": 1},
            {"consumer": "", "position": 1},
            {"consumer": 5, "position": 1},
            {"consumer": "c" * 1025, "position": 1},
            {"consumer": "c\n", "position": 1},
            {"consumer": "c"},
            {"consumer": "c", "position": -1},
            {"consumer": "c", "position": "1"},
            {"consumer": "c", "position": 1, "epoch": -1},
            {"consumer": "c", "position": 1, "if_position": "x"},
        ):
            with self.subTest(params=str(params)[:80]):
                self.assert_error("INVALID_ARGUMENT", self.client, "checkpoint_put", params)

    def test_one_of_many_moves_it_on(self):
        """16 consumers that believe to be the one: each position is taken once."""
        moved = []

        def run(node):
            with node.connect() as connection:
                for position in range(1, 21):
                    try:
                        self.put(position, connection, if_position=position - 1)
                        moved.append(position)
                    except RpcError as error:
                        if error.code != "CHECKPOINT_CONFLICT":
                            raise

        nodes = list(self.cluster.nodes.values())
        threads = [threading.Thread(target=run, args=(nodes[n % len(nodes)],)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(moved), list(range(1, len(moved) + 1)))
        self.assertEqual(self.get()[0], len(moved))


class SnapshotTest(SharedCase):
    def setUp(self):
        super().setUp()
        self.stream = self.new_stream("Snapped")
        self.append(self.client, self.stream, 5)

    def put(self, version, data=b"", **more):
        return self.client.call(
            "snapshot_put", {"stream": self.stream, "version": version, "data": data, **more}
        )

    def get(self, connection=None, **more):
        found = (connection or self.client).call("snapshot_get", {"stream": self.stream, **more})
        return found["version"], found["data"]

    def load(self, connection=None):
        return (connection or self.client).call("load", {"stream": self.stream})

    def test_the_latest_and_older_ones(self):
        self.assertEqual(self.put(2, b"two", type="Order.v1"), {})
        self.put(4, b"four")
        self.assertEqual(self.get(), (4, b"four"))
        self.assertEqual(self.get(max_version=4), (4, b"four"))
        self.assertEqual(self.get(max_version=3), (2, b"two"))
        self.assert_error(
            "NOT_FOUND", self.client, "snapshot_get", {"stream": self.stream, "max_version": 1},
            what="snapshot",
        )
        found = self.client.call("snapshot_get", {"stream": self.stream, "max_version": 2})
        self.assertEqual(found["type"], "Order.v1")
        self.assertGreater(found["created"], 10**18)

    def test_the_stream_must_be_that_far(self):
        self.put(5)
        params = {"stream": self.stream, "version": 6, "data": b""}
        answer = self.assert_error("WRONG_EXPECTED_VERSION", self.client, "snapshot_put", params)
        self.assertEqual(answer["violations"][0]["actual"], 5)
        params = {"stream": self.new_stream(), "version": 1, "data": b""}
        self.assert_error("STREAM_NOT_FOUND", self.client, "snapshot_put", params)
        params = {"stream": self.stream, "version": 0, "data": b""}
        self.assert_error("INVALID_ARGUMENT", self.client, "snapshot_put", params)

    def test_deleted(self):
        delete = {"stream": self.stream}
        self.assert_error("NOT_FOUND", self.client, "snapshot_delete", delete, what="snapshot")
        self.put(3, b"three")
        self.assertEqual(self.client.call("snapshot_delete", delete), {})
        self.assert_error("NOT_FOUND", self.client, "snapshot_get", delete)
        self.assertIsNone(self.load()["snapshot"])
        self.put(2, b"new")
        self.assertEqual(self.get(), (2, b"new"))

    def test_load(self):
        loaded = self.load()
        self.assertIsNone(loaded["snapshot"])
        self.assertEqual([e[1] for e in loaded["events"]], [1, 2, 3, 4, 5])
        self.put(3, b"state", type="T")
        for node in self.cluster.nodes.values():
            loaded = node.call(
                "load", {"stream": self.stream, "consistency": "linearizable"}
            )
            snapshot = loaded["snapshot"]
            self.assertEqual(
                (snapshot["version"], snapshot["type"], snapshot["data"]), (3, "T", b"state")
            )
            self.assertEqual([e[1] for e in loaded["events"]], [4, 5])
            self.assertEqual(loaded["version"], 5)
        self.put(5, b"all")
        self.assertEqual(self.load()["events"], [])
        self.assert_error("STREAM_NOT_FOUND", self.client, "load", {"stream": self.new_stream()})

    def test_snapshots_are_no_events(self):
        before = self.client.call("stream_info", {"stream": self.stream})
        self.put(5)
        after = self.client.call("stream_info", {"stream": self.stream})
        self.assertEqual((before["version"], before["count"]), (after["version"], after["count"]))
        listed = self.client.call("stream_list", {"prefix": self.stream})["streams"]
        self.assertEqual([name for name, _ in listed], [self.stream])


class TrimTest(OwnCase):
    """Superseded checkpoints go; the last ones, the events and the digest stay, on every node."""

    def test_a_busy_consumer_leaves_holes_only(self):
        connection = self.connect(self.cluster.leader())
        stream = self.new_stream()
        self.append(connection, stream, 10)
        for start in range(0, 6000, 500):
            requests = [
                connection.begin("checkpoint_put", {"consumer": f"c{number % 3}", "position": number})
                for number in range(start, start + 500)
            ]
            for request in requests:
                request.wait(30)
            self.append(connection, stream, 1)
        self.cluster.wait_converged()
        for node in self.cluster.nodes.values():
            node.restart()
        self.cluster.wait_writable()
        self.append(connection := self.connect(self.cluster.leader()), stream, 1)
        self.cluster.wait_converged()
        for node in self.cluster.nodes.values():
            with node.connect() as one:
                for number in range(3):
                    found = one.call("checkpoint_get", {"consumer": f"c{number}"})
                    self.assertEqual(found["position"], max(n for n in range(6000) if n % 3 == number))
                events = one.call("read_stream", {"stream": stream})["events"]
                self.assertEqual(len(events), 23)
                self.assert_dropped(node)
        connection.call("checkpoint_put", {"consumer": "c0", "position": 1, "if_position": 5997})

    def assert_dropped(self, node):
        """In the background, some time after a flush."""
        deadline = time.monotonic() + 30
        while len(self.cluster.read_all(node, system=True)) > 3000:
            self.assertLess(time.monotonic(), deadline, "superseded checkpoints are still there")
            time.sleep(0.2)
