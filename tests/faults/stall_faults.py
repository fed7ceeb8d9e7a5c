"""Disks that stand still, and how fast the others go on meanwhile: as a probe of its own sees it."""

import threading
import time
import uuid

import nodes
from annal_rpc import ConnectionLost, NoAnswer, RpcError
from checker import Append
from disk_faults import DiskFault
from member_faults import wait_for
from workload import fingerprint_of


class Probe(threading.Thread):
    """Appends through one node, one after the other; notes when each was acknowledged."""

    def __init__(self, fault, node):
        super().__init__(daemon=True, name=f"probe of {fault.name}")
        self.world, self.node, self.random = fault.world, node, fault.random
        self.over = threading.Event()
        self.acked = []

    def run(self):
        while not self.over.is_set():
            try:
                with self.node.connect(connect_timeout=1) as connection:
                    while not self.over.is_set():
                        self.append(connection)
            except (OSError, ConnectionLost):
                self.over.wait(0.05)

    def append(self, connection):
        id, data = uuid.UUID(bytes=self.random.randbytes(16)).bytes, b"probe"
        stream = f"Probe-{self.random.randrange(5)}"
        one = Append([(stream, id, fingerprint_of("probe", data))], sent=time.monotonic(), client=self.name)
        try:
            answer = connection.call(
                "append", {"stream": stream, "events": [{"type": "probe", "data": data, "id": id}],
                           "timeout_ms": 10000}, 15
            )
            one.outcome, one.answered = "ok", time.monotonic()
            one.first_position = one.position = answer["position"]
            one.versions = {stream: answer["version"]}
            self.acked.append(one.answered)
        except (RpcError, NoAnswer):
            time.sleep(0.01)
        finally:
            with self.world.lock:
                self.world.appends.append(one)

    def end(self):
        self.over.set()
        self.join(20)

    def rate(self, begin, end):
        return sum(begin <= when < end for when in self.acked) / (end - begin)

    def longest_gap(self, begin, end):
        times = [begin, *(when for when in self.acked if begin <= when < end), end]
        return max(b - a for a, b in zip(times, times[1:]))


class StallFault(DiskFault):
    rest = (0.5, 1)

    def set_delay(self, number, seconds):
        self.control(number).set(nodes.DELAY_US, int(seconds * 1e6))

    def probed(self, number, leader):
        """A probe through a node whose disk is well; None when there is no leader to speak of."""
        others = [one for one in sorted(self.cluster.nodes) if one not in (number, leader)]
        probe = Probe(self, self.cluster[others[0]])
        probe.start()
        return probe


class StalledFollower(StallFault):
    name = "stalled-follower"
    about = "the disk of a follower takes seconds for each write: the others are as fast as before"
    MEASURE_SECONDS = 2.0
    LEAST_SHARE = 0.4  # of the rate before: the machine has other things to do, too

    def strike(self):
        leader = self.world.leader
        number = next((one for one in sorted(self.cluster.nodes) if one != leader and self.arena.claim(one)), None)
        if number is None or leader is None:
            return
        probe = self.probed(number, leader)
        with self.plan("stall", node=number) as plan:
            before = self.measure(probe)
            delayed = self.control(number).get(nodes.DELAYED)
            self.set_delay(number, 1.5)
            during = self.measure(probe)
            self.set_delay(number, 0)
            effective = self.control(number).get(nodes.DELAYED) > delayed
            plan.update(before=round(before), during=round(during))
            time.sleep(1.5)  # for the last one
            if self.world.leader == leader and during < self.LEAST_SHARE * before:
                # Unless the machine has become slow meanwhile: then it still is.
                plan["after"] = after = round(self.measure(probe))
                before = min(before, after)
            if self.world.leader == leader and during < self.LEAST_SHARE * before:
                self.world.problem(
                    "slowed", f"{during:.0f} appends a second while the disk of node {number} stalls, {before:.0f} "
                    "before and afterwards"
                )
            self.note(before, during, effective)
        probe.end()
        self.release(number)

    def measure(self, probe):
        time.sleep(0.3)
        begin = time.monotonic()
        time.sleep(self.MEASURE_SECONDS)
        return probe.rate(begin, time.monotonic())

    def note(self, before, during, effective):
        self.hit(effective)
        if before:
            share, key = round(100 * during / before), "least % of the rate before"
            self.details[key] = min(share, self.details.get(key, share))


class StalledLeader(StallFault):
    name = "stalled-leader"
    about = "the disk of the leader stands still: it resigns, and another one takes the appends"
    STALL_SECONDS = 10
    # Two election timeouts for a write that others have ended, an election, and a machine that is busy.
    GAP_SECONDS_MAX = 3

    def strike(self):
        leader = self.world.leader
        if leader is None or not self.arena.claim(leader):
            return
        probe = self.probed(leader, leader)
        with self.plan("stall", node=leader) as plan:
            delayed, begin = self.control(leader).get(nodes.DELAYED), time.monotonic()
            self.set_delay(leader, self.STALL_SECONDS)
            resigned = wait_for(self, lambda: self.leader_elsewhere(leader), self.STALL_SECONDS - 1)
            time.sleep(1)
            gap = probe.longest_gap(begin, time.monotonic())
            self.set_delay(leader, 0)
            plan.update(resigned=bool(resigned), gap=round(gap, 2))
            if not resigned:
                self.world.problem("no-resignation", f"node {leader} leads although its disk stands still")
            elif gap > self.GAP_SECONDS_MAX:
                self.world.problem("outage", f"nothing acknowledged for {gap:.1f} s while the disk of a leader stalls")
            self.hit(resigned and self.control(leader).get(nodes.DELAYED) > delayed)
            key = "longest gap in ms"
            self.details[key] = max(round(gap * 1000), self.details.get(key, 0))
            time.sleep(max(0, begin + self.STALL_SECONDS + 1 - time.monotonic()))
        probe.end()
        self.release(leader)

    def leader_elsewhere(self, old):
        for number in sorted(self.cluster.nodes):
            try:
                if number != old and self.cluster[number].call("ping", timeout=1)["role"] == "leader":
                    return True
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                pass
        return False
