"""hello, ping, and what the envelope of a request promises."""

import time

from annal_rpc import ConnectionLost, RpcError
from case import SharedCase

ROLES = ("leader", "follower", "candidate", "learner")


class SessionTest(SharedCase):
    def test_hello_says_who_answers(self):
        answer = self.connect(self.cluster[1]).call("hello", {"client": "test"})
        self.assertEqual(answer["server"], "annal")
        self.assertEqual(answer["protocol"], 1)
        self.assertEqual(answer["node_id"], 1)
        self.assertEqual(answer["cluster"], "local")
        self.assertIsInstance(answer["version"], str)
        self.assertIn(answer["role"], ROLES)
        self.assertIsInstance(answer["head"], int)

    def test_hello_gives_the_limits(self):
        limits = self.client.call("hello")["limits"]
        self.assertEqual(limits["max_event"], 4 << 20)
        self.assertEqual(limits["max_append"], 8 << 20)
        self.assertEqual(limits["max_message"], 16 << 20)
        self.assertEqual(limits["max_depth"], 16)

    def test_every_node_names_the_same_leader(self):
        leader = self.cluster.leader()
        for node in self.cluster.nodes.values():
            answer = self.connect(node).call("hello")
            self.assertEqual(answer["node_id"], node.number)
            self.assertEqual(answer["leader_id"], leader.number)
            self.assertEqual(answer["leader"], leader.address)
            self.assertEqual(answer["role"], "leader" if node is leader else "follower")

    def test_ping(self):
        answer = self.client.call("ping")
        self.assertLess(abs(answer["time"] - time.time_ns()), 3600 * 10**9)
        self.assertIn(answer["role"], ROLES)
        self.assertGreaterEqual(answer["head"], 0)

    def test_params_may_be_left_out(self):
        self.assertIn("role", self.client.call("ping", raw_params=[]))

    def test_unknown_keys_are_ignored(self):
        self.assertIn("role", self.client.call("ping", {"colour": "blue", "depth": [1, {"a": 2}]}))

    def test_unknown_method(self):
        answer = self.assert_error("UNKNOWN_METHOD", self.client, "no_such_method")
        self.assertEqual(answer["method"], "no_such_method")
        self.assertIn("role", self.client.call("ping"))

    def test_params_of_another_shape_are_refused(self):
        for params in ([1], ["x"], [None], [{}, {}], [[]]):
            with self.subTest(params=params):
                connection = self.connect()
                with self.assertRaises((RpcError, ConnectionLost)) as caught:
                    connection.call("ping", raw_params=params)
                if isinstance(caught.exception, RpcError):
                    self.assertEqual(caught.exception.code, "INVALID_ARGUMENT")
                else:
                    self.assertEqual(connection.notifications.get_nowait()[0], "error")

    def test_many_requests_in_flight(self):
        requests = [self.client.begin("ping") for _ in range(5000)]
        for request in requests:
            self.assertIn("role", request.wait(30))

    def test_msgids_may_be_any_u32_in_any_order(self):
        for msgid in (2**32 - 1, 7, 0, 2**31):
            self.client._next_msgid = msgid
            self.assertIn("role", self.client.call("ping"))

    def test_timeout_ms_must_be_a_number(self):
        for timeout in ("soon", -1, 1.5, [1]):
            with self.subTest(timeout=timeout):
                self.assert_error(
                    "INVALID_ARGUMENT", self.client, "ping", {"timeout_ms": timeout},
                    argument="timeout_ms",
                )


class OneNodeTest(SharedCase):
    nodes = 1

    def test_a_single_node_leads_and_takes_writes(self):
        self.assertEqual(self.client.call("hello")["role"], "leader")
        stream = self.new_stream()
        answer, sent = self.append(self.client, stream, 3)
        self.assertEqual(answer["version"], 3)
        events = self.read(self.client, stream)["events"]
        self.assertEqual([e[3] for e in events], [e["id"] for e in sent])
