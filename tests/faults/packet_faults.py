"""Faults of single packets: for `--network namespaces` alone. What TCP makes of them, no proxy shows."""

import time

from annal_rpc import ConnectionLost, NoAnswer, RpcError, event
from checker import Append
from cluster import ClusterError
from faults import Delay, NetworkFault
from member_faults import wait_for
from nodes import NODES_MAX
from workload import fingerprint_of


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
            self.cluster.links.set(pairs, by=self.name, hold=True)
            self.hold(0.1, 0.5)
            node.kill()
            self.hold(0.1, 3)
            self.revive(number)
            self.hold(0.1, 1)
            held = self.cluster.links.counts(pairs)["held"] - before
            self.cluster.links.set(pairs, by=self.name)
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


class Witness(NetworkFault):
    name = "witness"
    about = "a node must pull records and gets none, while its vote is needed: it votes and stores, as a witness"
    needs_packets = True
    rest = (1, 2)
    FILL_BYTES, APPEND_BYTES, EVENT_BYTES = 14 << 20, 896 << 10, 128 << 10  # more than the log that is kept
    PATIENCE_SECONDS = 40

    def strike(self):
        numbers = self.arena.claim_all()
        leader = self.world.leader
        if leader in numbers:
            with self.plan("witness", node=0) as plan:
                self.make_witness(numbers, leader, plan)
        self.release(*numbers)

    def make_witness(self, numbers, leader, plan):
        """Nobody but `witness` and those in `rest` stays: exactly a majority."""
        others = [number for number in numbers if number != leader]
        self.random.shuffle(others)
        witness, *others = others
        rest = others[: len(numbers) // 2]
        gone = [number for number in numbers if number not in (witness, *rest)]
        plan.update(witness=witness, gone=" ".join(map(str, gone)))
        pairs = self.both([witness], [number for number in numbers if number != witness])
        self.cluster[witness].stop()
        self.fill()
        # While a snapshot is taken, which a busy machine does slowly, a log keeps what the node lacks.
        if not wait_for(self, lambda: self.logs_are_cut(witness), self.PATIENCE_SECONDS):
            self.hit(False, "logs were not cut")
            self.cluster[witness].restart()
            return
        seen = len(self.cluster[witness].log_text())
        ports = [self.cluster.base_port + number for number in range(1, NODES_MAX + 1)]
        self.cluster.links.set(pairs, by=self.name, ports=ports)
        self.cluster[witness].restart()
        pulls = self.wait_said(witness, seen, "the store lacks what the snapshot speaks of")
        for number in gone:
            self.cluster[number].kill()
        goes_on = pulls and self.goes_on(rest)
        votes = self.wait_said(witness, seen, "a witness meanwhile", 1 if goes_on else self.PATIENCE_SECONDS)
        self.cluster.links.set(pairs, by=self.name)
        self.hit(pulls and votes and goes_on)
        if not pulls:
            self.world.problem("no-pull", f"node {witness} finds records elsewhere than in the logs, which lack them")
        elif not goes_on:
            self.world.problem("no-witness", f"no append is taken with node {witness} pulling and {gone} gone")
        elif not votes:
            self.world.problem("minority", f"appends are taken although node {witness} does not vote and {gone} are gone")
        for number in gone:
            self.revive(number)
        if not self.wait_said(witness, seen, "from=pulling to=running") and pulls:
            self.world.problem("pull", f"node {witness} still pulls {self.PATIENCE_SECONDS} s after it could")

    def logs_are_cut(self, witness):
        """Whether every other node keeps less log than has come since the witness was stopped."""
        kept = []
        for number in sorted(self.cluster.nodes):
            try:
                if number != witness:
                    kept.append(self.cluster[number].call("stats", timeout=2)["log_bytes"])
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                return False
        return max(kept) < self.filled

    def wait_said(self, number, since, what, seconds=PATIENCE_SECONDS):
        deadline = time.monotonic() + seconds
        while what not in self.cluster[number].log_text()[since:]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def goes_on(self, rest):
        try:
            self.cluster.wait_writable(self.cluster[rest[0]], self.PATIENCE_SECONDS)
            return True
        except ClusterError:
            return False

    def fill(self):
        self.filled = 0  # bytes that are certainly in the log
        for _ in range(self.FILL_BYTES // self.APPEND_BYTES):
            events = [event("fill", self.random.randbytes(self.EVENT_BYTES))
                      for _ in range(self.APPEND_BYTES // self.EVENT_BYTES)]
            one = Append([("Fill-1", e["id"], fingerprint_of("fill", e["data"])) for e in events],
                         sent=time.monotonic(), client=self.name)
            try:
                answer = self.cluster.leader().call(
                    "append", {"stream": "Fill-1", "events": events, "timeout_ms": 10000}, 15
                )
                one.outcome, one.answered = "ok", time.monotonic()
                one.first_position, one.position = answer["first_position"], answer["position"]
                one.versions = {"Fill-1": answer["version"]}
                self.filled += self.APPEND_BYTES
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                pass
            with self.world.lock:
                self.world.appends.append(one)
