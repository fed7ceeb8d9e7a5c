"""A raft log that is long when a burst of appends ends is cut soon after, without another append, so that a start
has little to read."""

import os
import time

from annal_rpc import event
from case import OwnCase

MIB = 1 << 20
RETAINED, TRAILING, SEGMENT = 4 * MIB, 1 * MIB, 4 * MIB


class LogAtRestTest(OwnCase):
    # The tail is not flushed for its size: what flushes is the snapshot that a long log asks for.
    settings = (
        f"log-retained-bytes={RETAINED}", f"log-trailing-bytes={TRAILING}", f"segment-bytes={SEGMENT}",
        "tail-bytes=64M", "max-append=1M", "max-event=512K",
    )
    REST_SECONDS = 30

    def burst(self, appends):
        """Half a megabyte each, a few at a time: they go on while a snapshot is taken."""
        data = [os.urandom(64 << 10) for _ in range(8)]
        with self.cluster.leader().connect() as connection:
            pending = []
            for _ in range(appends):
                events = [event(data=one) for one in data]
                pending.append(connection.begin("append", {"stream": "Burst-1", "events": events,
                                                           "timeout_ms": 60000}))
                if len(pending) >= 8:
                    pending.pop(0).wait(60)
            for one in pending:
                one.wait(60)

    def logs(self):
        return {number: node.call("stats")["log_bytes"] for number, node in self.cluster.nodes.items()}

    def wait_short(self):
        deadline = time.monotonic() + self.REST_SECONDS
        while max(self.logs().values()) > RETAINED:
            self.assertLess(time.monotonic(), deadline, f"still long: {self.logs()}")
            time.sleep(0.2)

    def test_a_burst_leaves_a_short_log(self):
        found_long = False
        for appends in range(20, 28):  # it ends at another moment of a snapshot each time
            self.burst(appends)
            found_long = found_long or max(self.logs().values()) > RETAINED
            self.wait_short()
        self.assertTrue(found_long, "no burst left a long log: this test shows nothing")
        for node in self.cluster.nodes.values():
            node.kill()
        self.cluster.start()
        for number, bytes_read in self.logs().items():
            self.assertLess(bytes_read, RETAINED + SEGMENT, f"node {number} has read that much")
