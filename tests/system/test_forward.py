"""Appends through a node that is not the leader, while the leader is struck: with ids they have their answer from
the next leader, in order and once; without, their outcome is unknown."""

import time
import unittest

from annal_rpc import RpcError, event
from case import OwnCase

COUNT = 20
PATIENCE_MS = 30000  # more than an election takes on any machine


class ForwardTest(OwnCase):
    def setUp(self):
        super().setUp()
        self.cluster.wait_writable()
        self.leader = self.cluster.leader()
        self.follower = self.cluster.followers()[0]
        self.client = self.connect(self.follower)
        self.stream = self.new_stream()
        self.append(self.client, self.stream)  # the connection to the leader is there

    def begin(self, version, events):
        return self.client.begin(
            "append", {"stream": self.stream, "expected_version": version, "events": events,
                       "timeout_ms": PATIENCE_MS}
        )

    def begin_many(self):
        sent = [event(data=b"%d" % number) for number in range(COUNT)]
        return sent, [self.begin(1 + number, [one]) for number, one in enumerate(sent)]

    def assert_stored(self, sent, pending):
        """Each is answered as it was meant, and is there once."""
        answers = [one.wait(PATIENCE_MS / 1000 + 5) for one in pending]
        self.assertEqual([answer["version"] for answer in answers], list(range(2, COUNT + 2)))
        events = self.read(self.client, self.stream, consistency="linearizable")["events"]
        self.assertEqual([one[3] for one in events[1:]], [one["id"] for one in sent])

    def again(self):
        return self.follower.call("stats")["forwarded_again"]

    def test_frozen_leader(self):
        self.leader.pause()
        self.addCleanup(self.leader.resume)
        sent, pending = self.begin_many()
        begun = time.monotonic()
        self.assert_stored(sent, pending)
        # It would have been waited for as long as the clients do.
        self.assertLess(time.monotonic() - begun, PATIENCE_MS / 1000 - 5)
        if self.follower is not self.cluster.leader():
            self.assertGreater(self.again(), 0)
        self.leader.resume()
        self.cluster.wait_converged()
        self.assertEqual(self.read(self.client, self.stream)["version"], COUNT + 1)

    def test_killed_leader(self):
        sent, pending = self.begin_many()
        self.leader.kill()
        self.assert_stored(sent, pending)
        self.leader.restart()
        self.cluster.wait_converged()

    def test_leader_killed_while_it_is_frozen(self):
        """Sent for certain, and answered for certain not."""
        self.leader.pause()
        sent, pending = self.begin_many()
        time.sleep(0.05)
        self.leader.kill()
        self.assert_stored(sent, pending)

    def test_a_leader_proposes_nothing_meant_for_another_term(self):
        """However late it reads it: whoever sent it may have asked the leader of a later term since."""
        term = self.leader.call("cluster_status")["term"]
        client = self.connect(self.leader)
        for meant, taken in ((term + 1, False), (term - 1, False), (term, True)):
            params = {"stream": self.stream, "events": [event()], "forward": False, "forward_turn": 0,
                      "forward_term": meant}
            if taken:
                self.assertEqual(client.call("append", params)["version"], 2)
            else:
                self.assert_error("NOT_LEADER", client, "append", params)

    def test_refusal_by_the_next_leader(self):
        self.leader.pause()
        self.addCleanup(self.leader.resume)
        first, refused = self.begin(1, [event()]), self.begin(7, [event()])
        self.assertEqual(first.wait(PATIENCE_MS / 1000 + 5)["version"], 2)
        with self.assertRaises(RpcError) as caught:
            refused.wait(PATIENCE_MS / 1000 + 5)
        self.assertEqual(caught.exception.code, "WRONG_EXPECTED_VERSION")
        self.assertEqual(caught.exception.fields["violations"][0]["actual"], 2)

    def test_without_ids_the_outcome_is_unknown(self):
        self.leader.pause()
        anonymous = self.begin(1, [{"type": "T", "data": b""}])
        named = self.begin("any", [event()])
        time.sleep(0.05)
        self.leader.kill()
        with self.assertRaises(RpcError) as caught:
            anonymous.wait(PATIENCE_MS / 1000 + 5)
        self.assertEqual(caught.exception.fields.get("outcome"), "unknown")
        self.assertIn(named.wait(60)["version"], (2, 3))


if __name__ == "__main__":
    unittest.main()
