"""cluster_status, digest, stats; who answers what while the cluster is whole, and while it is not."""

import time

from annal_rpc import POSITION, RpcError, event
from case import OwnCase, SharedCase


class ClusterTest(SharedCase):
    def test_status_on_every_node(self):
        leader = self.cluster.leader()
        answer, _ = self.append(self.client, self.new_stream())
        for connection in self.everywhere(answer["position"]):
            status = connection.call("cluster_status")
            self.assertEqual(status["cluster"], "local")
            self.assertEqual(status["leader_id"], leader.number)
            self.assertGreater(status["term"], 0)
            self.assertGreaterEqual(status["head"], answer["position"])
            self.assertGreaterEqual(status["commit_index"], status["applied_index"])
            nodes = {node["id"]: node for node in status["nodes"]}
            self.assertEqual(sorted(nodes), [1, 2, 3])
            for number, node in self.cluster.nodes.items():
                self.assertEqual(nodes[number]["client_address"], node.address)
                self.assertEqual(nodes[number]["address"], node.peer_address)
                self.assertEqual(nodes[number]["role"], "voter")

    def test_digest_is_the_same_everywhere(self):
        position, _ = self.cluster.wait_converged()
        for past in {1, max(1, position // 2), position}:
            hashes = {n.call("digest", {"position": past})["hash"] for n in self.cluster.nodes.values()}
            self.assertEqual(len(hashes), 1, f"at {past}")

    def test_digest_changes_with_each_record(self):
        hashes = set()
        for _ in range(5):
            answer, _ = self.append(self.client, self.new_stream())
            digest = self.client.call("digest", {"position": answer["position"]})
            self.assertEqual(digest["position"], answer["position"])
            hashes.add(digest["hash"])
        self.assertEqual(len(hashes), 5)

    def test_digest_without_a_position_is_of_the_last(self):
        answer, _ = self.append(self.client, self.new_stream())
        last = self.client.call("digest")
        self.assertGreaterEqual(last["position"], answer["position"])
        self.assertEqual(last, self.client.call("digest", {"position": last["position"]}))

    def test_stats_are_numbers_with_names(self):
        for node in self.cluster.nodes.values():
            stats = node.call("stats")
            self.assertGreater(len(stats), 5)
            for name, value in stats.items():
                self.assertIsInstance(name, str)
                self.assertIsInstance(value, (int, float), name)

    def test_forward_false(self):
        leader = self.cluster.leader()
        for node in self.cluster.nodes.values():
            params = {"stream": self.new_stream(), "events": [event()], "forward": False}
            if node is leader:
                self.assertEqual(node.call("append", params)["version"], 1)
                continue
            self.assert_error(
                "NOT_LEADER", self.connect(node), "append", params,
                leader_id=leader.number, leader=leader.address,
            )
            self.assert_error(
                "STREAM_NOT_FOUND", self.client, "read_stream", {"stream": params["stream"]}
            )


class NoQuorumTest(OwnCase):
    """Every request is answered within its timeout, and what needs no quorum works."""

    SLACK_SECONDS = 5  # for a busy machine; the promise is timeout_ms

    def setUp(self):
        super().setUp()
        self.stream = self.new_stream()
        self.leader = self.cluster.leader()
        answer, _ = self.append(self.connect(self.leader), self.stream, 3)
        self.cluster.wait_converged()
        self.position = answer["position"]

    def assert_append_is_answered(self, connection, timeout_ms=1000):
        begin = time.monotonic()
        with self.assertRaises(RpcError) as caught:
            connection.call(
                "append",
                {"stream": self.stream, "events": [event()], "timeout_ms": timeout_ms},
                timeout_ms / 1000 + self.SLACK_SECONDS,
            )
        self.assertLess(time.monotonic() - begin, timeout_ms / 1000 + self.SLACK_SECONDS)
        fields = caught.exception.fields
        self.assertIn(fields["code"], ("NO_LEADER", "TIMEOUT"), fields)
        if fields["code"] == "NO_LEADER":
            self.assertGreater(fields["retry_after_ms"], 0)
        else:
            self.assertIn(fields["outcome"], ("unknown", "none"))
        return fields

    def assert_reads_work(self, connection):
        self.assertEqual(self.read(connection, self.stream)["version"], 3)
        self.assertEqual(connection.call("digest")["position"], self.position)
        self.assertIn(connection.call("ping")["role"], ("leader", "follower", "candidate", "learner"))
        connection.call("cluster_status")
        events, _ = connection.subscribe(stream=self.stream).until_caught_up()
        self.assertEqual(len(events), 3)

    def test_with_the_leader_alone(self):
        connection = self.connect(self.leader)
        for node in self.cluster.followers():
            node.kill()
        for timeout_ms in (300, 1500, 4000):
            self.assert_append_is_answered(connection, timeout_ms)
        self.assert_reads_work(connection)

    def test_with_a_follower_alone(self):
        alone, other = self.cluster.followers()
        connection = self.connect(alone)
        other.kill()
        self.leader.kill()
        for timeout_ms in (300, 1500, 4000):
            self.assert_append_is_answered(connection, timeout_ms)
        self.assert_reads_work(connection)

    def test_with_a_frozen_majority(self):
        connection = self.connect(self.leader)
        for node in self.cluster.followers():
            node.pause()
        for timeout_ms in (300, 2000):
            self.assert_append_is_answered(connection, timeout_ms)
        self.assert_reads_work(connection)

    def test_follower_with_a_frozen_leader(self):
        follower = self.cluster.followers()[0]
        connection = self.connect(follower)
        self.leader.pause()
        requests = [
            connection.begin(
                "append", {"stream": self.stream, "events": [event()], "timeout_ms": 1000}
            )
            for _ in range(20)
        ]
        for request in requests:
            self.assertTrue(request.done.wait(1 + self.SLACK_SECONDS))
            if request.error is not None:
                self.assertIn(request.error["code"], ("NO_LEADER", "TIMEOUT"))
        self.cluster.wait_writable(follower)

    def test_unknown_appends_are_settled_by_their_ids(self):
        connection = self.connect(self.leader)
        followers = self.cluster.followers()
        for node in followers:
            node.kill()
        one = {"stream": self.stream, "events": [event(), event()], "timeout_ms": 1000}
        with self.assertRaises(RpcError):
            connection.call("append", one, 1 + self.SLACK_SECONDS)
        self.cluster.start()
        answer = self.cluster[1].call("append", {**one, "timeout_ms": 20000}, 30)
        self.cluster.wait_converged()
        events = self.cluster.read_all(self.cluster[1])
        self.assertEqual(len(events), 5)
        self.assertEqual(answer["position"], events[-1][POSITION])
