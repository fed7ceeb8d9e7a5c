"""Faults of single packets: for `--network namespaces` alone. What TCP makes of them, no proxy shows."""

import time

from annal_rpc import ConnectionLost, NoAnswer, RpcError
from faults import Delay, NetworkFault


class PacketFault(Delay):
    needs_packets = True

    def strike(self):
        super().strike()
        self.arena.stopping.wait(self.random.uniform(0, 1))  # retransmission goes on a while


class Loss(PacketFault):
    name, about = "loss", "1 to 20 % of the packets are lost, each way"
    effect = ("loss",)

    def state(self):
        return {"loss": self.random.choice((0.01, 0.05, 0.2))}


class Scrambled(PacketFault):
    name, about = "scrambled", "packets overtake each other, and some come twice"
    effect = ("reorder", "duplicate")

    def state(self):
        return {"reorder": self.random.choice((0.05, 0.3)), "duplicate": self.random.choice((0, 0.05, 0.3))}


class HalfOpen(NetworkFault):
    name = "half-open"
    about = "a node is cut off without a word, killed and started meanwhile: the others' connections lead nowhere"
    needs_packets = True
    effect = ("held",)
    RECONNECT_SECONDS = 20

    def strike(self):
        number = self.claim()
        if number is None:
            return
        node = self.cluster[number]
        pairs = self.both([number], self.others(number))
        with self.plan("half-open", node=number):
            before = self.cluster.links.counts(pairs)["held"]
            self.cluster.links.set(pairs, hold=True)
            self.hold(0.1, 0.5)
            node.kill()
            self.hold(0.1, 3)
            self.revive(number)
            self.hold(0.1, 1)
            held = self.cluster.links.counts(pairs)["held"] - before
            self.cluster.links.set(pairs)
            self.hit(held > 0)
            if not self.is_back(node):
                self.world.problem("half-open", f"node {number} is not back {self.RECONNECT_SECONDS} s after it could be")
        self.release(number)

    def is_back(self, node):
        """It has what was acknowledged when the network was whole again."""
        wanted, deadline = self.world.last_position, time.monotonic() + self.RECONNECT_SECONDS
        while time.monotonic() < deadline:
            try:
                if node.call("ping", timeout=1)["head"] >= wanted:
                    return True
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                pass
            time.sleep(0.05)
        return False
