"""What a read may miss, by the consistency it asks for: with a whole cluster, on the wrong side of a
partition, on a node that belongs to no cluster yet."""

import time

from annal_rpc import ID, ConnectionLost, NoAnswer, RpcError, event
from case import OwnCase, SharedCase

READS = (
    ("read_stream", lambda stream, one: {"stream": stream}),
    ("read_all", lambda stream, one: {}),
    ("read_all", lambda stream, one: {"query": [{"streams": [stream]}]}),
    ("read_event", lambda stream, one: {"id": one}),
    ("stream_info", lambda stream, one: {"stream": stream}),
    ("load", lambda stream, one: {"stream": stream}),
    ("count", lambda stream, one: {"query": [{"streams": [stream]}]}),
    ("position_at", lambda stream, one: {"time": 0}),
    ("stream_list", lambda stream, one: {"prefix": stream}),
    ("category_list", lambda stream, one: {}),
    ("type_list", lambda stream, one: {}),
)


class LinearizableTest(SharedCase):
    def test_every_read_sees_what_was_acknowledged_before_on_every_node(self):
        connections = [self.connect(node) for node in self.cluster.nodes.values()]
        for turn in range(20):
            stream = self.new_stream()
            answer, sent = self.append(connections[turn % 3], stream)
            for connection in connections:
                for method, params_of in READS:
                    params = {**params_of(stream, sent[0]["id"]), "consistency": "linearizable"}
                    result = connection.call(method, params)
                    self.assertGreaterEqual(result["head"], answer["position"], method)

    def test_results_are_of_that_moment(self):
        for node in self.cluster.nodes.values():
            connection, stream = self.connect(node), self.new_stream()
            for version in range(1, 30):
                self.append(self.client, stream)
                query = [{"streams": [stream]}]
                read = {"consistency": "linearizable"}
                self.assertEqual(self.read(connection, stream, **read)["version"], version)
                self.assertEqual(connection.call("count", {"query": query, **read})["count"], version)
                listed = connection.call("stream_list", {"prefix": stream, **read})["streams"]
                self.assertEqual(listed, [[stream, version]])

    def test_a_thousand_at_once_cost_few_entries(self):
        stream = self.new_stream()
        answer, _ = self.append(self.client, stream)
        follower = next(n for n in self.cluster.nodes.values() if n is not self.leader)
        connection = self.connect(follower)
        before = self.leader.call("stats")["last_index"]
        reads = [
            connection.begin("read_stream", {"stream": stream, "consistency": "linearizable"})
            for _ in range(1000)
        ]
        for read in reads:
            self.assertGreaterEqual(read.wait(20)["head"], answer["position"])
        after = self.leader.call("stats")["last_index"]
        # How many depends on how fast they come, against how long an entry takes: not one for each.
        self.assertLess(after - before, 500)

    def test_they_do_not_disturb_each_other(self):
        """Local reads are answered at once, whatever waits."""
        connection = self.connect(next(n for n in self.cluster.nodes.values() if n is not self.leader))
        waiting = connection.begin("read_all", {"consistency": {"at_least": 2**60}, "timeout_ms": 5000})
        connection.call("read_all", {"limit": 1, "consistency": "linearizable"})
        connection.call("read_all", {"limit": 1})
        self.assertFalse(waiting.done.is_set())
        with self.assertRaises(RpcError) as caught:
            waiting.wait(10)
        self.assertEqual(caught.exception.code, "NOT_READY")


class AtLeastTest(SharedCase):
    def test_every_read_waits_for_a_position(self):
        connections = [self.connect(node) for node in self.cluster.nodes.values()]
        for method, params_of in READS:
            stream, one = self.new_stream(), event()
            self.append(self.client, stream)
            wanted = self.client.call("ping")["head"] + 1
            consistency = {"consistency": {"at_least": wanted}, "timeout_ms": 10000}
            params = params_of(stream, one["id"])
            waiting = [connection.begin(method, {**params, **consistency}) for connection in connections]
            time.sleep(0.05)
            self.assertFalse([read for read in waiting if read.done.is_set()], method)
            self.append(self.client, stream, events=[one])
            for read in waiting:
                self.assertGreaterEqual(read.wait(15)["head"], wanted, method)

    def test_a_position_that_does_not_come(self):
        for node in self.cluster.nodes.values():
            connection = self.connect(node)
            for method, params_of in READS:
                params = {**params_of(self.new_stream(), b"0" * 16), "timeout_ms": 300}
                begin = time.monotonic()
                error = self.assert_error(
                    "NOT_READY", connection, method, {**params, "consistency": {"at_least": 2**50}}, wanted=2**50
                )
                self.assertLess(time.monotonic() - begin, 4)  # without timeout_ms it would be five
                self.assertLess(error["head"], 2**50)

    def test_wrong_consistency(self):
        for wrong in ("strong", 5, {}, {"at_least": -1}, {"at_least": "x"}, [1]):
            for method, params_of in READS:
                params = {**params_of(self.new_stream(), b"0" * 16), "consistency": wrong}
                self.assert_error("INVALID_ARGUMENT", self.client, method, params, argument="consistency")


class PartitionTest(OwnCase):
    def test_a_leader_alone_answers_nothing_stale(self):
        """Frozen, succeeded, and woken: what it believes is old, and it must not say so."""
        for _ in range(3):
            old, stream = self.cluster.leader(), self.new_stream()
            self.append(self.connect(old), stream)
            connection = self.connect(old)
            connection.call("ping")
            old.pause()
            try:
                others = [node for node in self.cluster.nodes.values() if node is not old]
                self.wait_leader_among(others)
                sent = [event() for _ in range(5)]
                self.append_through(others, stream, sent)
                reads = [
                    connection.begin(
                        "read_stream", {"stream": stream, "consistency": "linearizable", "timeout_ms": 4000}
                    )
                    for _ in range(20)
                ]
            finally:
                old.resume()
            for read in reads:
                try:
                    found = [one[ID] for one in read.wait(15)["events"]]
                    self.assertEqual(found[1:], [one["id"] for one in sent])
                except (ConnectionLost, NoAnswer):
                    self.fail("a read was not answered")
                except RpcError as error:
                    self.assertIn(error.code, ("TIMEOUT", "NO_LEADER", "NOT_READY"))
            self.cluster.wait_converged()

    def wait_leader_among(self, nodes):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if any(node.call("ping")["role"] == "leader" for node in nodes):
                return
            time.sleep(0.05)
        self.fail("the others chose no leader")

    def append_through(self, nodes, stream, sent):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for node in nodes:
                try:
                    node.call("append", {"stream": stream, "events": sent, "timeout_ms": 2000})
                    return
                except RpcError:
                    time.sleep(0.05)
        self.fail("the others take no appends")

    def test_a_node_alone_says_so_in_time(self):
        for alone in (self.cluster.leader(), self.cluster.followers()[0]):
            stream = self.new_stream()
            self.append(self.connect(), stream)
            self.cluster.wait_converged()
            others = [node for node in self.cluster.nodes.values() if node is not alone]
            connection = self.connect(alone)
            for node in others:
                node.pause()
            try:
                begin = time.monotonic()
                reads = [
                    connection.begin(
                        method,
                        {**params_of(stream, b"0" * 16), "consistency": "linearizable", "timeout_ms": 1500},
                    )
                    for method, params_of in READS
                ]
                for read in reads:
                    with self.assertRaises(RpcError) as caught:
                        read.wait(10)
                    error = caught.exception
                    self.assertIn(error.code, ("TIMEOUT", "NO_LEADER"))
                    if error.code == "TIMEOUT":
                        self.assertEqual(error.fields["outcome"], "none")
                    else:
                        self.assertGreater(error.fields["retry_after_ms"], 0)
                self.assertLess(time.monotonic() - begin, 4.5)  # without timeout_ms it would be five
                self.assertEqual(self.read(connection, stream)["version"], 1)  # local: what it has
            finally:
                for node in others:
                    node.resume()
            self.cluster.wait_writable()
            result = connection.call("read_stream", {"stream": stream, "consistency": "linearizable"})
            self.assertEqual(result["version"], 1)


class NotYetAMemberTest(OwnCase):
    def test_it_is_no_empty_store(self):
        stream = self.new_stream()
        answer, sent = self.append(self.connect(), stream, 3)
        new = self.cluster.add(4)
        connection = self.connect(new)
        for method, params_of in READS:
            params = params_of(stream, sent[0]["id"])
            for consistency in ("local", "linearizable"):
                self.assert_error("NOT_READY", connection, method, {**params, "consistency": consistency})
        self.assert_error("NOT_READY", connection, "subscribe", {"stream": stream})
        self.assert_error("NOT_READY", connection, "subscribe", {"query": "all"})
        waiting = connection.begin(
            "read_stream",
            {"stream": stream, "consistency": {"at_least": answer["position"]}, "timeout_ms": 30000},
        )
        self.cluster.leader().call(
            "cluster_add",
            {
                "id": 4, "peer_address": new.peer_address, "client_address": new.address, "role": "standby",
                "timeout_ms": 30000,
            },
            35,
        )
        self.assertEqual([one[ID] for one in waiting.wait(35)["events"]], [one["id"] for one in sent])
        result = self.read(connection, stream, consistency="linearizable", timeout_ms=20000)
        self.assertEqual(result["version"], 3)
        found, _ = connection.subscribe(stream=stream).until_caught_up()
        self.assertEqual(len(found), 3)
