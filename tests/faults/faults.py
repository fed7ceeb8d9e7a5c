"""Faults. Each strikes for a while, repairs, and counts a strike only when it has seen it take effect.

`strike()` chooses by its random numbers, claims the nodes that it touches, tells the plan what it does, waits
with `hold()`, and leaves all as it was. An exception from it is a failure of the cell.
"""

import os
import signal
import socket
import time

from annal_rpc import REQUEST, ConnectionLost, NoAnswer, RpcError, packed
from cluster import ClusterError


class Fault:
    name = "?"
    about = "?"
    needs_links = needs_journal = needs_root = needs_packets = False
    rest = (0.5, 2.0)  # seconds between two strikes
    allowed = ()  # codes of errors that clients may get

    def __init__(self, arena, random):
        self.arena = arena
        self.world = arena.world
        self.cluster = arena.cluster
        self.random = random
        self.struck = 0
        self.details = {}  # what was struck how often, for the report

    # ---- what the kinds of faults share ----

    def hold(self, low, high):
        self.arena.stopping.wait(self.random.uniform(low, high))

    def hit(self, effective=True, what=None):
        """One strike has been seen to take effect, or has not."""
        self.struck += bool(effective)
        key = (what or "struck") if effective else f"no effect: {what}" if what else "no effect"
        self.details[key] = self.details.get(key, 0) + 1

    def claim(self, prefer_leader=None):
        """A node that no other fault has now: touched until it is released. None: there is none."""
        leader = self.world.leader
        if prefer_leader is None:
            prefer_leader = self.random.random() < 0.5
        nodes = sorted(self.cluster.nodes)
        self.random.shuffle(nodes)
        if prefer_leader and leader in nodes:
            nodes.remove(leader)
            nodes.insert(0, leader)
        for number in nodes:
            if self.arena.claim(number):
                return number
        return None

    def release(self, *numbers):
        for number in numbers:
            self.arena.release(number)

    def plan(self, what, **more):
        return self.arena.plan(self, what, **more)

    def revive(self, number):
        """Start it again; the process may need a moment to let go of its ports and files."""
        try:
            self.cluster[number].restart()
        except ClusterError:
            time.sleep(0.5)
            self.cluster[number].restart()

    def ended_cleanly(self, number):
        """A node that ended by itself must have said so: neither a signal, nor an assertion."""
        code = self.cluster.controls[number].exit_code()
        if code is not None:
            return True
        tail = self.cluster[number].log_text().strip().split("\n")[-12:]
        self.world.problem("crash", f"node {number} under {self.name}: " + " | ".join(tail))
        return False


# ---- processes ----


class Kill(Fault):
    name, about = "kill", "SIGKILL of one node, started again after a while"
    leader = None

    def strike(self):
        number = self.claim(prefer_leader=self.leader)
        if number is None:
            return
        with self.plan("kill", node=number):
            node = self.cluster[number]
            pid = node.pid()
            node.kill()
            self.hit(pid is not None and node.pid() is None)
            self.hold(0.2, 3)
            self.revive(number)
        self.release(number)


class KillLeader(Kill):
    name, about = "kill-leader", "SIGKILL of whoever leads"
    leader = True


class KillAll(Fault):
    name, about = "kill-all", "SIGKILL of all nodes at once"
    rest = (2, 4)

    def strike(self):
        numbers = [number for number in sorted(self.cluster.nodes) if self.arena.claim(number)]
        with self.plan("kill all", node=0):
            kill_at_once(self.cluster, numbers)
            self.hit(not any(self.cluster[number].pid() for number in numbers))
            self.hold(0.1, 1)
            self.cluster.run("restart", *map(str, numbers))
        self.release(*numbers)


def kill_at_once(cluster, numbers):
    pids = [cluster[number].pid() for number in numbers]
    for pid in filter(None, pids):
        os.kill(pid, signal.SIGKILL)
    for number in numbers:
        while cluster[number].pid() is not None:
            time.sleep(0.01)
    # Its memory goes first, its files and ports later, with its last thread.
    while any(pid and os.path.exists(f"/proc/{pid}") and not is_zombie(pid) for pid in pids):
        time.sleep(0.01)


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            state = file.read().rsplit(")", 1)[1].split()[0]
        return state == "Z" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True


class Pause(Fault):
    name, about = "pause", "SIGSTOP of one node, SIGCONT later"
    leader = None

    def strike(self):
        number = self.claim(prefer_leader=self.leader)
        if number is None:
            return
        with self.plan("pause", node=number):
            node = self.cluster[number]
            node.pause()
            self.hit(process_state(node.pid()) == "T")
            self.hold(0.3, 4)
            node.resume()
        self.release(number)


def process_state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


class PauseLeader(Pause):
    name, about = "pause-leader", "SIGSTOP of whoever leads, SIGCONT when another does"
    leader = True


class RollingRestart(Fault):
    name, about = "rolling-restart", "SIGTERM and start, one node after the other, without a pause between"
    rest = (1, 3)

    def strike(self):
        for number in sorted(self.cluster.nodes):
            if self.arena.stopping.is_set() or not self.arena.claim(number):
                continue
            with self.plan("restart", node=number):
                node = self.cluster[number]
                before = node.pid()
                node.restart()
                self.hit(node.pid() not in (None, before) and "does not end" not in node.log_text())
            self.release(number)


class Upgrade(Fault):
    name = "upgrade"
    about = "as operating.md tells it: restart the followers, then the leader, each when lag is 0"
    rest = (1, 3)

    def strike(self):
        leader = self.world.leader
        numbers = sorted(self.cluster.nodes, key=lambda number: number == leader)
        for number in numbers:
            if self.arena.stopping.is_set() or not self.arena.claim(number):
                continue
            with self.plan("upgrade", node=number):
                before = self.cluster[number].pid()
                self.cluster[number].restart()
                self.hit(self.cluster[number].pid() not in (None, before))
            self.release(number)
            self.wait_for(number)

    def wait_for(self, number):
        """Until it has applied what was there when it came back."""
        wanted = self.world.last_position
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not self.arena.stopping.is_set():
            try:
                if self.cluster[number].call("ping", timeout=1)["head"] >= wanted:
                    return
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                pass
            time.sleep(0.05)


# ---- the network between nodes ----


class NetworkFault(Fault):
    """Acts on links, and so claims no node: their processes go on, and must answer in time."""

    needs_links = True
    effect = ()  # counts of the proxy that show it

    def links_to_strike(self):
        raise NotImplementedError

    def state(self):
        raise NotImplementedError

    def seconds(self):
        return (0.5, 5)

    def others(self, number):
        return [other for other in self.cluster.nodes if other != number]

    def victim(self, prefer_leader=None):
        leader = self.world.leader
        nodes = sorted(self.cluster.nodes)
        want_leader = self.random.random() < 0.5 if prefer_leader is None else prefer_leader
        return leader if want_leader and leader in nodes else self.random.choice(nodes)

    def both(self, lefts, rights):
        return [(a, b) for a in lefts for b in rights] + [(b, a) for a in lefts for b in rights]

    def strike(self):
        pairs = self.links_to_strike()
        state = self.state()
        links = self.cluster.links
        with self.plan("links", links=" ".join(f"{a}>{b}" for a, b in pairs), **state):
            before = links.counts(pairs)
            links.set(pairs, by=self.name, **state)
            self.hold(*self.seconds())
            after = links.counts(pairs)
            links.set(pairs, by=self.name)
            self.hit(any(after[what] > before[what] for what in self.effect), " ".join(state))


class Partition(NetworkFault):
    name, about = "partition", "a minority, or just one node, cut off from the rest, both ways"
    effect = ("held", "refused", "reset")
    prefer_leader = None

    def links_to_strike(self):
        left = [self.victim(self.prefer_leader)]
        if len(self.cluster.nodes) > 3 and self.random.random() < 0.5:
            left.append(self.random.choice(self.others(left[0])))
        return self.both(left, [number for number in self.cluster.nodes if number not in left])

    def state(self):
        return self.random.choice(({"hold": True}, {"hold": True}, {"refuse": True}))


class PartitionLeader(Partition):
    name, about = "partition-leader", "whoever leads is cut off, both ways"
    prefer_leader = True


class OneWay(NetworkFault):
    name, about = "one-way", "what one node sends does not arrive, or what is sent to it; the other way works"
    effect = ("held",)

    def links_to_strike(self):
        number = self.victim()
        out = [(number, other) for other in self.others(number)]
        return out if self.random.random() < 0.5 else [(b, a) for a, b in out]

    def state(self):
        return {"hold": True}


class BrokenLink(NetworkFault):
    name, about = "broken-link", "two nodes do not reach each other, the others reach both"
    effect = ("held", "refused", "reset")

    def links_to_strike(self):
        one = self.victim()
        return self.both([one], [self.random.choice(self.others(one))])

    def state(self):
        return self.random.choice(({"hold": True}, {"refuse": True}))


class Delay(NetworkFault):
    name, about = "delay", "10 to 150 ms each way, with as much jitter, on all links or those of one node"
    effect = ("delayed",)

    def links_to_strike(self):
        nodes = list(self.cluster.nodes)
        if self.random.random() < 0.5:
            return [(a, b) for a in nodes for b in nodes if a != b]
        one = self.victim()
        return self.both([one], self.others(one))

    def state(self):
        delay = self.random.uniform(0.01, 0.15)
        return {"delay": delay, "jitter": delay}

    def seconds(self):
        return (1, 6)


class Cuts(Delay):
    name, about = "cuts", "connections break at random: loss as a stream of bytes knows it"
    effect = ("cut",)

    def state(self):
        return {"cut": self.random.choice((0.002, 0.02, 0.2))}


class SlowLink(Delay):
    name, about = "slow-link", "20 to 500 KB a second"
    effect = ("slowed",)

    def state(self):
        return {"rate": self.random.randrange(20, 500) * 1000}


# ---- clients that behave badly ----


class ClientFault(Fault):
    def victim(self):
        return self.random.choice(sorted(self.cluster.nodes))

    def counters(self, number):
        try:
            return self.cluster[number].call("stats", timeout=2)
        except (OSError, ConnectionLost, NoAnswer, RpcError):
            return {}


class SlowReader(ClientFault):
    name = "slow-reader"
    about = "subscribers and readers that ask for everything and take nothing"
    # LIMIT_NODE_UNSENT_BYTES and LIMIT_NODE_READ_BYTES, and as much as a node has besides. Without bounds the
    # ten readers alone would come to gigabytes.
    MEMORY_MAX = (256 + 256 + 128) << 20

    def strike(self):
        number = self.victim()
        with self.plan("slow readers", node=number):
            before = self.counters(number).get("connections_cut", 0)
            sockets = self.greedy(number, 20)
            self.hit(self.is_stuck(number, before, self.random.uniform(3, 7)) and bool(sockets))
            memory = own_memory(self.cluster[number].pid())
            if memory > self.MEMORY_MAX:
                self.world.problem("memory", f"node {number} has {memory >> 20} MiB with 20 slow readers")
            for one in sockets:
                one.close()

    def is_stuck(self, number, before, seconds):
        """Whether at any moment answers waited, or connections were cut for it."""
        deadline, stuck = time.monotonic() + seconds, False
        while time.monotonic() < deadline and not self.arena.stopping.wait(0.3):
            now = self.counters(number)
            stuck |= now.get("unsent_bytes", 0) > 65536 or now.get("connections_cut", 0) > before
        return stuck

    def greedy(self, number, count):
        host, port = self.cluster[number].address.rsplit(":", 1)
        made = []
        for turn in range(count):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.settimeout(1)
            try:
                one.connect((host, int(port)))
                if turn % 2:
                    one.sendall(packed([REQUEST, 1, "subscribe", [{"query": "all"}]]))
                else:
                    for msgid in range(50):
                        one.sendall(packed([REQUEST, msgid, "read_all", [{"limit": 10000}]]))
                made.append(one)
            except OSError:
                one.close()
        return made


def own_memory(pid):
    """Without the pages of files. 0: it does not run, another fault has ended it."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))
    except (OSError, StopIteration):
        return 0


class SlowLoris(ClientFault):
    name, about = "slow-loris", "200 connections that send a byte of a message now and then"

    def strike(self):
        number = self.claim()  # the node counts what it cuts: a restart would forget it
        if number is None:
            return
        with self.plan("slow loris", node=number):
            before = self.counters(number).get("connections_cut", 0)
            host, port = self.cluster[number].address.rsplit(":", 1)
            made = []
            for _ in range(200):
                try:
                    made.append(socket.create_connection((host, int(port)), timeout=1))
                except OSError:
                    break
            for byte in b"\x94\x00\x01\xa4ping"[:7]:
                for one in made:
                    try:
                        one.send(bytes([byte]))
                    except OSError:
                        pass
                if self.arena.stopping.wait(1):
                    break
            after = self.counters(number).get("connections_cut", 0)
            self.hit(after > before)
            for one in made:
                one.close()
        self.release(number)
