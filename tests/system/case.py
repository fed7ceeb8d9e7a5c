"""What the system tests share: a cluster for all tests that leave it alone, and short ways to say things."""

import atexit
import itertools
import os
import unittest

from annal_rpc import RpcError, event
from cluster import Cluster

_shared = {}
_failed = set()
_names = itertools.count(1)


def shared_cluster(nodes):
    """Started when first asked for, stopped when the tests end."""
    if nodes not in _shared:
        cluster = Cluster(nodes)
        _shared[nodes] = cluster
        atexit.register(lambda: cluster.close(failed=cluster in _failed))
        cluster.start()
    return _shared[nodes]


class Case(unittest.TestCase):
    """A test against `self.cluster`, which the subclasses provide."""

    cluster = None

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            _failed.add(self.cluster)

    # ---- short ways ----

    def connect(self, node=None, **options):
        """A connection that is closed at the end of the test. To the leader unless said otherwise: a
        follower may be behind what it has forwarded."""
        connection = (node or self.cluster.leader()).connect(**options)
        self.addCleanup(connection.close)
        return connection

    def new_stream(self, category="Test"):
        return f"{category}-{os.getpid()}.{next(_names)}"

    def append(self, connection, stream, count=1, events=None, **more):
        """(answer, events sent)"""
        sent = events or [event(data=b"event %d" % number) for number in range(1, count + 1)]
        return connection.call("append", {"stream": stream, "events": sent, **more}), sent

    def read(self, connection, stream, **more):
        return connection.call("read_stream", {"stream": stream, **more})

    def everywhere(self, position):
        """A connection to each node, each having applied that position."""
        connections = [self.connect(node) for node in self.cluster.nodes.values()]
        for connection in connections:
            connection.call(
                "read_all", {"limit": 1, "consistency": {"at_least": position}, "timeout_ms": 20000}, 30
            )
        return connections

    def assert_error(self, code, connection, method, params=None, timeout=15, **fields):
        """The call is answered with this error; returns its fields."""
        with self.assertRaises(RpcError) as caught:
            connection.call(method, params, timeout)
        answer = caught.exception.fields
        self.assertEqual(answer.get("code"), code, answer)
        self.assertIsInstance(answer.get("message"), str)
        self.assertTrue(answer["message"])
        for name, value in fields.items():
            self.assertEqual(answer.get(name), value, answer)
        return answer


class SharedCase(Case):
    """Tests that leave the nodes as they are."""

    nodes = 3

    def setUp(self):
        self.cluster = shared_cluster(self.nodes)
        self.leader = self.cluster.leader()
        self.client = self.connect(self.leader)


class OwnCase(Case):
    """Tests that strike nodes: each has a cluster of its own."""

    nodes = 3
    settings = ()

    def setUp(self):
        self.cluster = Cluster(self.nodes, self.settings)
        self.addCleanup(lambda: self.cluster.close(failed=self.has_failed()))
        self.cluster.start()

    def has_failed(self):
        outcome = self._outcome
        result = getattr(outcome, "result", None)
        errors = (result.failures + result.errors) if result else []
        return not outcome.success or any(test is self for test, _ in errors)
