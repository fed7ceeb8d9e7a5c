"""Snapshots: which one is found, what races with what, what a connection sees of what it wrote."""

import threading
import time

from annal_rpc import RpcError, event
from case import OwnCase, SharedCase


class Snapshots:
    def put(self, connection, stream, version, data=b"", **more):
        params = {"stream": stream, "version": version, "data": data, **more}
        return connection.call("snapshot_put", params, 30)

    def get(self, connection, stream, **more):
        """(version, data), None when there is none."""
        try:
            found = connection.call("snapshot_get", {"stream": stream, **more}, 30)
        except RpcError as error:
            self.assertEqual((error.code, error.fields["what"]), ("NOT_FOUND", "snapshot"))
            self.assertEqual(error.fields["stream"], stream)
            return None
        return found["version"], found["data"]

    def delete(self, connection, stream):
        """Whether there was one."""
        try:
            self.assertEqual(connection.call("snapshot_delete", {"stream": stream}, 30), {})
        except RpcError as error:
            self.assertEqual((error.code, error.fields["what"]), ("NOT_FOUND", "snapshot"))
            return False
        return True


class FoundTest(Snapshots, SharedCase):
    def setUp(self):
        super().setUp()
        self.stream = self.new_stream("Snap")
        self.append(self.client, self.stream, 200)

    def test_of_many_the_last_that_is_not_too_new(self):
        """So many that they are looked through in several steps."""
        requests = [
            self.client.begin("snapshot_put", {"stream": self.stream, "version": n, "data": b"%d" % n})
            for n in range(1, 201)
        ]
        for request in requests:
            self.assertEqual(request.wait(30), {})
        for most in (200, 199, 137, 70, 2, 1):
            self.assertEqual(self.get(self.client, self.stream, max_version=most), (most, b"%d" % most))
        self.assertEqual(self.get(self.client, self.stream, max_version=2**64 - 1), (200, b"200"))
        self.assertIsNone(self.get(self.client, self.stream, max_version=0))

    def test_the_last_stored_counts_not_the_highest_version(self):
        for version in (50, 100, 20):
            self.put(self.client, self.stream, version, b"%d" % version)
        self.assertEqual(self.get(self.client, self.stream), (20, b"20"))
        self.assertEqual(self.get(self.client, self.stream, max_version=19), None)
        self.put(self.client, self.stream, 20, b"again")
        self.assertEqual(self.get(self.client, self.stream), (20, b"again"))

    def test_nothing_before_a_deletion(self):
        self.put(self.client, self.stream, 1, b"one")
        self.assertTrue(self.delete(self.client, self.stream))
        self.assertFalse(self.delete(self.client, self.stream))
        self.put(self.client, self.stream, 9, b"nine")
        self.assertIsNone(self.get(self.client, self.stream, max_version=8))
        self.assertEqual(self.get(self.client, self.stream), (9, b"nine"))

    def test_of_another_stream_with_a_longer_name(self):
        other = self.stream + "-more"
        self.append(self.client, other)
        self.put(self.client, other, 1)
        self.assertIsNone(self.get(self.client, self.stream))
        self.assertFalse(self.delete(self.client, self.stream))

    def test_of_the_longest_name(self):
        stream = "S-" + "ü" * 511
        self.append(self.client, stream)
        self.put(self.client, stream, 1, b"x", type="T" * 255)
        self.assertEqual(self.get(self.client, stream), (1, b"x"))
        self.assertTrue(self.delete(self.client, stream))

    def test_the_largest(self):
        limit = self.client.call("hello")["limits"]["max_event"] - 512
        self.put(self.client, self.stream, 3, b"z" * limit, type="T" * 255)
        self.assertEqual(self.get(self.client, self.stream), (3, b"z" * limit))
        self.assertEqual(len(self.client.call("load", {"stream": self.stream}, 30)["snapshot"]["data"]), limit)
        params = {"stream": self.stream, "version": 3, "data": b"z" * (limit + 1)}
        answer = self.assert_error("TOO_LARGE", self.client, "snapshot_put", params)
        self.assertEqual((answer["limit"], answer["size"]), (limit, limit + 1))
        for params["data"] in (b"z" * (limit + 512), b"z" * (limit + 513)):
            self.assert_error("TOO_LARGE", self.client, "snapshot_put", params)

    def test_malformed(self):
        good = {"stream": self.stream, "version": 1, "data": b""}
        for name, wrong in {
            "stream": {"stream": None}, "stream ": {"stream": ""}, "stream  ": {"stream": "$snapshot-x"},
            "version": {"version": 0}, "version ": {"version": None}, "version  ": {"version": "1"},
            "data": {"data": None}, "data ": {"data": 5}, "type": {"type": 5}, "type ": {"type": "T" * 256},
        }.items():
            with self.subTest(wrong=wrong):
                self.assert_error("INVALID_ARGUMENT", self.client, "snapshot_put", {**good, **wrong},
                                  argument=name.strip())
        for method in ("snapshot_get", "snapshot_delete"):
            self.assert_error("INVALID_ARGUMENT", self.client, method, {}, argument="stream")
        self.assert_error("INVALID_ARGUMENT", self.client, "snapshot_get",
                          {"stream": self.stream, "max_version": -1}, argument="max_version")
        self.assertIsNone(self.get(self.client, self.stream))


class OwnWritesTest(Snapshots, SharedCase):
    def test_each_node_shows_what_came_through_it(self):
        for node in self.cluster.nodes.values():
            stream, connection = self.new_stream("Snap"), self.connect(node)
            self.append(connection, stream, 30)
            for version in range(1, 31):
                self.assertEqual(self.put(connection, stream, version), {})
                self.assertEqual(self.get(connection, stream), (version, b""))
                self.assertTrue(self.delete(connection, stream))
                self.assertIsNone(self.get(connection, stream))

    def test_a_checkpoint_beyond_the_log_holds_up_nobody(self):
        """Its position is the consumer's, not one that the node could wait for."""
        for node in self.cluster.nodes.values():
            connection = self.connect(node)
            consumer = self.new_stream("far")
            answer = connection.call("checkpoint_put", {"consumer": consumer, "position": 2**64 - 1})
            self.assertEqual(answer["position"], 2**64 - 1)
            begin = time.monotonic()
            found = connection.call("checkpoint_get", {"consumer": consumer})
            self.assertEqual(found["position"], 2**64 - 1)
            self.assertGreaterEqual(found["head"], answer["log_position"])
            self.assertLess(time.monotonic() - begin, 4)  # to wait for it would take five

    def test_forward_false(self):
        stream = self.new_stream("Snap")
        self.append(self.client, stream)
        for follower in self.cluster.followers():
            connection = self.connect(follower)
            for method, params in {
                "snapshot_put": {"stream": stream, "version": 1, "data": b""},
                "snapshot_delete": {"stream": stream},
                "checkpoint_put": {"consumer": "c", "position": 1},
                "checkpoint_delete": {"consumer": "c"},
            }.items():
                self.assert_error("NOT_LEADER", connection, method, {**params, "forward": False})
        params = {"stream": stream, "version": 1, "data": b"", "forward": False}
        self.assertEqual(self.client.call("snapshot_put", params), {})


class RaceTest(Snapshots, SharedCase):
    def run_all(self, works):
        failures = []

        def run(work, connection):
            try:
                work(connection)
            except Exception as error:
                failures.append(error)

        nodes = list(self.cluster.nodes.values())
        threads = [
            threading.Thread(target=run, args=(work, self.connect(nodes[number % len(nodes)])))
            for number, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_of_many_deletions_at_once_one_finds_it(self):
        for _ in range(10):
            stream, won = self.new_stream("Snap"), []
            self.append(self.client, stream)
            self.put(self.client, stream, 1)
            self.run_all([lambda connection: won.append(self.delete(connection, stream))] * 8)
            self.assertEqual(sorted(won), [False] * 7 + [True])

    def test_putting_and_deleting_at_once(self):
        """Each deletion that finds something has a put of its own before it."""
        stream = self.new_stream("Snap")
        self.append(self.client, stream, 5)
        puts, deletions = [], []

        def put(connection):
            for _ in range(40):
                self.put(connection, stream, 1)
                puts.append(True)

        def delete(connection):
            for _ in range(40):
                if self.delete(connection, stream):
                    deletions.append(True)

        self.run_all([put, delete, put, delete, put, delete])
        left = self.get(self.client, stream, consistency="linearizable") is not None
        self.assertEqual(self.delete(self.client, stream), left)
        self.assertFalse(self.delete(self.client, stream))
        self.assertEqual(len(puts), 120)
        self.assertLessEqual(len(deletions), len(puts))
        self.assertGreater(len(deletions), 0)


class ListTest(SharedCase):
    def test_checkpoints_page_by_page(self):
        prefix = self.new_stream("pages")
        names = sorted(f"{prefix}.{number:03}" for number in range(50))
        requests = [
            self.client.begin("checkpoint_put", {"consumer": name, "position": 7, "epoch": 1}) for name in names
        ]
        for request in requests:
            request.wait(30)
        for name in names[10:20] + names[-1:]:
            self.client.call("checkpoint_delete", {"consumer": name})
        kept = [name for name in names if name not in names[10:20] + names[-1:]]
        for limit in (1, 3, 10, 49, 50, 51):
            found, params = [], {"prefix": prefix, "limit": limit}
            while True:
                page = self.client.call("checkpoint_list", params)
                found += [entry["consumer"] for entry in page["checkpoints"]]
                self.assertLessEqual(len(page["checkpoints"]), limit)
                self.assertEqual(page["next"] is None, page["end"])
                if page["end"]:
                    break
                params["after"] = page["next"]
            self.assertEqual(found, kept, limit)
        self.assertEqual(self.client.call("checkpoint_list", {"prefix": prefix + "x"})["checkpoints"], [])

    def test_arguments(self):
        for name, value in (("prefix", 5), ("after", "x" * 1025), ("limit", 0), ("limit", 10001)):
            self.assert_error("INVALID_ARGUMENT", self.client, "checkpoint_list", {name: value}, argument=name)


class RestartTest(Snapshots, OwnCase):
    def test_what_was_put_outlives_leaders_and_restarts(self):
        with self.cluster.leader().connect() as connection:
            for number in range(20):
                stream = f"Snap-{number}"
                self.append(connection, stream, 5)
                self.put(connection, stream, 4, b"%d" % number)
                if number % 2:
                    self.assertTrue(self.delete(connection, stream))
                connection.call("checkpoint_put", {"consumer": f"c{number}", "position": number, "epoch": 2})
        leader = self.cluster.leader()
        leader.kill()
        self.cluster.wait_writable()
        self.check()
        leader.restart()
        for node in self.cluster.nodes.values():
            node.kill()
        for node in self.cluster.nodes.values():
            node.restart()
        self.cluster.wait_writable()
        self.check()

    def check(self):
        for node in self.cluster.running():
            with node.connect() as connection:
                for number in range(20):
                    found = self.get(connection, f"Snap-{number}", consistency="linearizable")
                    self.assertEqual(found, None if number % 2 else (4, b"%d" % number))
                listed = connection.call("checkpoint_list", {})["checkpoints"]
                self.assertEqual(sorted(entry["position"] for entry in listed), list(range(20)))
        with self.cluster.leader().connect() as connection:
            self.assert_error("CHECKPOINT_CONFLICT", connection, "checkpoint_put",
                              {"consumer": "c3", "position": 9, "epoch": 1}, position=3, epoch=2)
