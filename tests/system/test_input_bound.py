"""What many clients send at once is bounded for all of them together: large appends wait for their turn, small ones,
and those that other nodes forward, do not, and nobody waits for ever."""

import os
import socket
import threading
import time

from annal_rpc import REQUEST, event, packed
from case import OwnCase

MIB = 1 << 20
BOUND, TURNS, MESSAGE = 256 * MIB, 4, 16 * MIB  # LIMIT_NODE_INPUT_BYTES, LIMIT_INPUT_TURNS, max-message
CLIENTS, EVENT_BYTES = 64, 3500 << 10  # two of them in an append: 437 MiB in all
WARNING, RELIEF = "what clients have sent takes too much memory", "there is room again for what clients send"


class InputBoundTest(OwnCase):
    ANSWER_SECONDS = 180

    def setUp(self):
        super().setUp()
        self.leader = self.cluster.leader()
        data = os.urandom(EVENT_BYTES)
        self.large = [packed([REQUEST, 1, "append", [{
            "stream": f"Large-{number}", "events": [event(data=data), event(data=data)], "timeout_ms": 120000}]])
            for number in range(CLIENTS)]

    def open(self):
        host, port = self.leader.address.rsplit(":", 1)
        one = socket.create_connection((host, int(port)), timeout=10)
        self.addCleanup(one.close)
        return one

    def stats(self):
        return self.leader.call("stats", timeout=20)

    def assert_bounded(self, stats):
        self.assertLess(stats["input_bytes"], BOUND + TURNS * 2 * MESSAGE + CLIENTS * MIB // 4)

    def assert_served(self):
        """Those who send little, here and through another node, which forwards more than a little."""
        with self.leader.connect() as connection:
            self.append(connection, "Small-1", timeout_ms=20000)
        other = next(node for node in self.cluster.nodes.values() if node is not self.leader)
        with other.connect() as connection:
            self.append(connection, "Forwarded-1", events=[event(data=os.urandom(2 * MIB))], timeout_ms=20000)

    def begin(self, left):
        """As much of each as is taken; the connections."""
        begun = [self.open() for _ in left]
        for one in begun:
            one.setblocking(False)
        moved = time.monotonic()
        while time.monotonic() - moved < 1:
            for number, one in enumerate(begun):
                try:
                    sent = one.send(left[number][: MIB // 2]) if left[number] else 0
                except (BlockingIOError, ConnectionError):
                    continue
                left[number] = left[number][sent:]
                if sent:
                    moved = time.monotonic()
        return begun

    def finish(self, one, rest, answers):
        """Send what is left of it, in its turn; an answer is of 4 elements, what else may come a last word."""
        one.settimeout(self.ANSWER_SECONDS)
        try:
            one.sendall(rest)
            answers.append(one.recv(1)[:1] == b"\x94")
        except ConnectionError:
            answers.append(False)

    def test_beginnings_of_messages_do_not_add_up(self):
        left = [memoryview(message)[:-1000] for message in self.large]
        begun = self.begin(left)
        stats = self.stats()
        self.assert_bounded(stats)
        self.assertGreater(stats["input_bytes"], BOUND // 2)
        self.assertGreater(stats["input_waiting"], 0)
        self.assert_served()
        answers = []
        threads = [threading.Thread(target=self.finish, args=(one, bytes(rest) + message[-1000:], answers))
                   for one, rest, message in zip(begun, left, self.large)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.ANSWER_SECONDS)
        self.assertEqual(len(answers), CLIENTS, "some wait for ever")
        # Some had their turn, and were cut off for not using it.
        self.assertGreater(sum(answers), CLIENTS // 2)
        self.wait_relief()

    def wait_relief(self):
        deadline = time.monotonic() + 30
        while (stats := self.stats())["input_bytes"] > MIB or stats["input_waiting"]:
            self.assertLess(time.monotonic(), deadline, stats)
            time.sleep(0.1)
        log = self.leader.log_text()
        self.assertEqual(log.count(WARNING), log.count(RELIEF))
        self.assertLess(log.count(WARNING), 10)
