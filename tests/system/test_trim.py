"""Nodes that catch up from others which have dropped superseded checkpoints, and go on dropping them."""

import os
import random
import subprocess
import threading
import time

from annal_rpc import ConnectionLost, NoAnswer, RpcError, event
from case import OwnCase
from cluster import program

KIB = 1 << 10


class HolesTest(OwnCase):
    # So little log that a node which was away for a moment needs the records themselves.
    settings = ("log-retained-bytes=1M", "log-trailing-bytes=256K")

    def commit(self, connection, first, count):
        """Checkpoints of three consumers, and now and then events that the log is not kept for."""
        pending = [
            connection.begin("checkpoint_put", {"consumer": f"c{number % 3}", "position": number})
            for number in range(first, first + count)
        ]
        pending.append(
            connection.begin(
                "append",
                {"stream": "Filler-1", "events": [event(data=os.urandom(4 * KIB)) for _ in range(64)]},
            )
        )
        for request in pending:
            request.wait(60)
        return first + count

    def commit_until(self, stop, state):
        while not stop.is_set():
            try:
                with self.cluster.leader().connect() as connection:
                    while not stop.is_set():
                        state["next"] = self.commit(connection, state["next"], 100)
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                time.sleep(0.1)

    def wait_dropped(self, node, at_most):
        deadline = time.monotonic() + 60
        while len(self.cluster.read_all(node, system=True)) > at_most:
            self.assertLess(time.monotonic(), deadline, "superseded checkpoints are still there")
            time.sleep(0.2)

    def assert_checkpoints(self, next_position):
        for node in self.cluster.nodes.values():
            with node.connect() as connection:
                for consumer in range(3):
                    wanted = max(n for n in range(next_position) if n % 3 == consumer)
                    found = connection.call("checkpoint_get", {"consumer": f"c{consumer}"})
                    self.assertEqual(found["position"], wanted, f"node {node.number}")

    def assert_whole(self, node):
        node.stop()
        done = subprocess.run(
            [program("annald"), "verify", node.data],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn("were dropped", done.stdout)

    def test_node_that_was_away(self):
        away = self.cluster.followers()[0]
        with self.cluster.leader().connect() as connection:
            next_position = self.commit(connection, 0, 600)
        self.cluster.wait_converged()
        away.kill()
        with self.cluster.leader().connect() as connection:
            for _ in range(30):
                next_position = self.commit(connection, next_position, 200)
        self.wait_dropped(self.cluster.leader(), 31 * 64 + 2500)
        away.restart()
        self.cluster.wait_converged(120)
        self.assertRegex(away.log_text(), 'catch_up .*msg="done"')
        self.assert_checkpoints(next_position)
        self.assert_whole(away)

    def test_they_drop_while_it_catches_up_and_is_killed(self):
        away = self.cluster.followers()[0]
        state, stop = {"next": 0}, threading.Event()
        away.kill()
        writer = threading.Thread(target=self.commit_until, args=(stop, state))
        writer.start()
        try:
            time.sleep(6)
            for _ in range(4):
                away.restart()
                time.sleep(random.uniform(0.3, 2))
                away.kill()
            away.restart()
            time.sleep(3)
        finally:
            stop.set()
            writer.join()
        self.cluster.wait_converged(120)
        self.assert_checkpoints(state["next"])
        self.assert_whole(away)
