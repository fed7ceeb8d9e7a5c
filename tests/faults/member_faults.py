"""Faults of membership, clocks and limits."""

import os
import resource
import socket
import time

import nodes
from annal_rpc import REQUEST, RESPONSE, ConnectionLost, NoAnswer, RpcError, packed
from faults import Fault

CHANGE_SECONDS = 40


def ask_any(fault, method, params, seconds=CHANGE_SECONDS, done=(), is_enough=None):
    """Ask nodes in turn until one has done it. True, or False with the last error in the details.
    `done`: codes that mean that it was done before; `is_enough`: asked after an error."""
    deadline = time.monotonic() + seconds
    reason = "nobody asked"
    while time.monotonic() < deadline:
        for number in sorted(fault.cluster.nodes, key=lambda number: number != fault.world.leader):
            try:
                fault.cluster[number].call(method, {**params, "timeout_ms": 15000}, timeout=20)
                return True
            except RpcError as error:
                reason = error
                if error.code in done:
                    return True
            except (OSError, ConnectionLost, NoAnswer, KeyError) as error:
                reason = error
            if is_enough is not None and is_enough():
                return True
        time.sleep(0.2)
    fault.details[f"{method}: {str(reason)[:80]}"] = 1
    return False


def members(fault):
    """Member id -> role, as any node says; {} when none does."""
    for node in list(fault.cluster.nodes.values()):
        try:
            status = node.call("cluster_status", timeout=2)
            return {one["id"]: one["role"] for one in status["nodes"]}
        except (OSError, ConnectionLost, NoAnswer, RpcError):
            continue
    return {}


def add_member(fault):
    """A new, empty node becomes a voter. Its number, or None."""
    node = fault.cluster.add_new()
    if node is None:
        return None
    fault.arena.claim(node.number)
    params = {
        "id": node.number,
        "peer_address": node.peer_address,
        "client_address": node.address,
        "role": "voter",
    }
    # When the leader goes in the middle of it, the node is a member, and no voter yet.
    ask_any(fault, "cluster_add", params, seconds=CHANGE_SECONDS / 2, is_enough=lambda: node.number in members(fault))
    deadline = time.monotonic() + CHANGE_SECONDS
    joined = False
    while not joined and time.monotonic() < deadline:
        joined = wait_for(fault, lambda: members(fault).get(node.number) == "voter", 2)
        if not joined:
            ask_any(fault, "cluster_assign", {"id": node.number, "role": "voter"}, seconds=1)
    if not joined:
        fault.world.problem("member-not-added", f"node {node.number}: {fault.details}")
    return node.number if joined else None


def remove_member(fault, number):
    """False: it is a member still."""
    ask_any(fault, "cluster_remove", {"id": number}, done=("NOT_FOUND",))
    gone = wait_for(fault, lambda: members(fault).get(number, None if members(fault) else 0) is None)
    if not gone:
        fault.world.problem("member-not-removed", f"node {number}: {fault.details}")
    return gone


def wait_for(fault, condition, seconds=CHANGE_SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def replace(fault, number):
    """As operating.md tells it: a node whose data is gone comes back under a new id."""
    if fault.cluster[number].pid() is not None:
        fault.cluster[number].kill()
    if not remove_member(fault, number):
        return None
    fault.cluster.forget(number)
    added = add_member(fault)
    if added is not None:
        fault.release(added)
    return added


class Grow(Fault):
    name, about = "grow", "a new node is added and pulls everything, then a member is removed, perhaps the leader"
    rest = (0.5, 1.5)

    def strike(self):
        added = None
        with self.plan("add", node=self.cluster.next_number):
            added = add_member(self)
            self.hit(added is not None, "added")
        if added is None:
            return
        self.release(added)
        number = self.claim(prefer_leader=self.random.random() < 0.3)
        if number is None:
            return
        with self.plan("remove", node=number):
            if remove_member(self, number):
                self.cluster.forget(number)
                self.hit(True, "removed")
        self.release(number)


class Replace(Fault):
    name, about = "replace", "a node is lost with its disk; a new one takes its place"
    rest = (0.5, 1.5)

    def strike(self):
        number = self.claim()
        if number is None:
            return
        with self.plan("replace", node=number):
            self.cluster[number].kill()
            self.cluster[number].wipe()
            self.hit(replace(self, number) is not None)
        self.release(number)


class Transfer(Fault):
    name, about = "transfer", "leadership is handed over, again and again"

    def strike(self):
        leader = self.world.leader
        others = [number for number in sorted(self.cluster.nodes) if number != leader]
        to = self.random.choice(others)
        with self.plan("transfer", node=to):
            ask_any(self, "cluster_transfer", {"id": to}, seconds=5)
            self.hit(wait_for(self, lambda: self.world.leader != leader, 2))


# ---- clocks ----


class ClockJump(Fault):
    name, about = "clock-jump", "the wall clock of a node jumps, by a second or by years, back or ahead"
    JUMPS = (1, 60, 3600, 86400, 365 * 86400, 20 * 365 * 86400)

    def strike(self):
        number = self.claim()
        if number is None:
            return
        seconds = self.random.choice(self.JUMPS) * self.random.choice((-1, 1))
        with self.plan("clock jumps", node=number, seconds=seconds):
            control = self.cluster.controls[number]
            before = control.get(nodes.REALTIME_ASKED)
            control.set(nodes.REALTIME_NS, seconds * 10**9)
            self.hold(0.5, 3)
            control.set(nodes.REALTIME_NS, 0)
            self.hit(control.get(nodes.REALTIME_ASKED) > before)
        self.release(number)


class ClockDrift(Fault):
    name, about = "clock-drift", "timers of a node run up to 30 % faster or slower for some seconds"

    def strike(self):
        number = self.claim()
        if number is None:
            return
        ppm = self.random.randrange(50000, 300000) * self.random.choice((-1, 1))
        with self.plan("clock drifts", node=number, ppm=ppm):
            control = self.cluster.controls[number]
            before = control.get(nodes.MONOTONIC_ASKED)
            control.set_clock_rate(ppm)
            self.hold(1, 4)
            ahead = control.set_clock_rate(-ppm)
            time.sleep(abs(ahead) * 1e-3 / abs(ppm))  # until it shows the truth again
            control.set_clock_rate(0)
            self.hit(control.get(nodes.MONOTONIC_ASKED) > before)
        self.release(number)


# ---- limits of the process ----


class LimitFault(Fault):
    """A soft limit of one node's process, lowered while it runs."""

    what = None

    def strike(self):
        number = self.claim()
        if number is None:
            return
        pid = self.cluster[number].pid()
        with self.plan(self.name, node=number) as plan:
            soft, hard = resource.prlimit(pid, self.what)
            plan["limit"] = limit = self.limit(pid)
            resource.prlimit(pid, self.what, (limit, hard))
            effective = self.press(number)
            ended = self.cluster[number].pid() is None
            if ended:
                self.ended_cleanly(number)
                self.revive(number)
            else:
                resource.prlimit(pid, self.what, (soft, hard))
            self.hit(effective or ended, "node stopped" if ended else "node went on")
        self.release(number)

    def limit(self, pid):
        raise NotImplementedError

    def press(self, number):
        raise NotImplementedError


class FewFiles(LimitFault):
    name, about = "few-files", "no more file descriptors: clients come, segments roll, peers reconnect"
    what = resource.RLIMIT_NOFILE

    def limit(self, pid):
        return len(os.listdir(f"/proc/{pid}/fd")) + self.random.randrange(0, 6)

    def press(self, number):
        host, port = self.cluster[number].address.rsplit(":", 1)
        made = []
        for _ in range(40):
            try:
                one = socket.create_connection((host, int(port)), timeout=0.5)
                one.sendall(packed([REQUEST, 1, "ping", []]))
                made.append(one)
            except OSError:
                break
        self.hold(1, 4)
        served = sum(self.was_served(one) for one in made)
        for one in made:
            one.close()
        return served < 40

    @staticmethod
    def was_served(connection):
        connection.setblocking(False)
        try:
            return connection.recv(1000)[:2] == bytes([0x94, RESPONSE])
        except OSError:  # cut off, or left waiting
            return False


class LittleMemory(LimitFault):
    name, about = "little-memory", "no more memory (RLIMIT_DATA): a clean end, or none"
    what = resource.RLIMIT_DATA

    def limit(self, pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            used = next(int(line.split()[1]) for line in file if line.startswith("VmData"))
        return used * 1024 + self.random.choice((0, 1, 4)) * (1 << 20)

    def press(self, number):
        """Large answers that wait to be sent, and large appends that wait to be stored."""
        made = []
        for _ in range(8):
            try:
                connection = self.cluster[number].connect(connect_timeout=1)
                made.append(connection)
                for turn in range(8):
                    connection.begin("read_all", {"limit": 10000, "timeout_ms": 2000})
                    event = {"type": "big", "data": self.random.randbytes(400000), "id": self.random.randbytes(16)}
                    connection.begin(
                        "append",
                        {"stream": f"Big-{turn}", "events": [event], "expected_version": 10**9,
                         "timeout_ms": 1000},
                    )
            except (OSError, ConnectionLost):
                break
        self.hold(1, 2)
        for connection in made:
            connection.close()
        return False  # only an end shows that the limit was met


