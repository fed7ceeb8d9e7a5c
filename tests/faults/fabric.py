#!/usr/bin/env python3
"""A network of packets for the nodes of a cell: each node in a network namespace of its own, and between them a
switch that loses, delays, reorders, duplicates or refuses single IP packets, each direction by itself. What TCP makes
of that is the kernel's doing. Needs root, iproute2 and /dev/net/tun, no module of the kernel for it.

  the runner's own namespace                 namespace of node N
  clients, 10.99.255.254  ──── veth ────  10.99.0.N:  annald
                                                        │ tun
                                       the switch: this process ── tun ── other nodes

Clients reach the nodes past the switch. The namespaces have no names: they are held by this process and by what runs
in them, the runner's own by the runner, and end with these. Nothing outside of them is touched.

Started by Fabric. Orders are lines of JSON on standard input, each answered by one line.
"""

import collections
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time

from orders import Wires

PREFIX, CLIENTS = "10.99.0", "10.99.255.254"
CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x1, 0x1000
PACKET_BYTES = 65536
QUEUE_SECONDS = 0.5  # of a slow link; what comes beyond is lost
REORDER_SECONDS = (0.001, 0.03)
ATONCE = 64  # packets of one node before the others have their turn
FIN, SYN, RST, ACK = 1, 2, 4, 16
TCP = 6

libc = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def problem():
    """Why there can be no such network here; None: there can be one."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in ("ip", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"needs {' and '.join(missing)}: install iproute2 and util-linux"
    return None if os.path.exists("/dev/net/tun") else "needs /dev/net/tun, which is not there"


def ip(commands, namespace=None):
    into = ["nsenter", f"--net={namespace}"] if namespace else []
    done = subprocess.run(
        [*into, "ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"ip -batch: {done.stderr.strip()}")


def enter_network_of_our_own():
    """The whole process, before it has threads: with the clients' address, and nothing else of this machine."""
    check(libc.unshare(CLONE_NEWNET))
    ip(["link set lo up", f"addr add {CLIENTS}/32 dev lo"])


# ---- packets ----


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Segment:
    """The TCP segment in an IPv4 packet."""

    def __init__(self, packet):
        header = (packet[0] & 15) * 4
        self.source, self.target = packet[12:16], packet[16:20]
        self.ports = struct.unpack_from(">HH", packet, header)
        self.sequence, self.acknowledged = struct.unpack_from(">II", packet, header + 4)
        self.flags = packet[header + 13]
        self.length = len(packet) - header - (packet[header + 12] >> 4) * 4


def is_tcp(packet):
    return len(packet) >= 40 and packet[9] == TCP


def reset(source, target, ports, sequence, acknowledged, flags):
    """A packet that ends a connection for `target`."""
    tcp = struct.pack(">HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 0, 0, 0)
    total = checksum(source + target + struct.pack(">HH", TCP, len(tcp)) + tcp)
    tcp = tcp[:16] + struct.pack(">H", total) + tcp[18:]
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, TCP, 0, source, target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + tcp


def reset_for_sender(segment):
    """As a host that does not know the connection answers."""
    ports = segment.ports[::-1]
    if segment.flags & ACK:
        return reset(segment.target, segment.source, ports, segment.acknowledged, 0, RST)
    length = segment.length + bool(segment.flags & SYN) + bool(segment.flags & FIN)
    return reset(segment.target, segment.source, ports, 0, segment.sequence + length & 0xFFFFFFFF, RST | ACK)


def reset_for_receiver(segment):
    return reset(segment.source, segment.target, segment.ports, segment.sequence, 0, RST)


# ---- the switch ----


class Link:
    """One direction between two nodes."""

    def __init__(self):
        self.counts = collections.Counter()
        self.free_at = 0  # of a slow one
        self.set({})

    def set(self, state):
        self.hold = state.get("hold", False)  # lose everything
        self.ports = frozenset(state.get("ports", ()))  # lose what goes to or comes from these
        self.refuse = state.get("refuse", False)  # and say so, by a reset
        self.loss = state.get("loss", 0)  # probabilities, for each packet
        self.duplicate = state.get("duplicate", 0)
        self.reorder = state.get("reorder", 0)
        self.cut = state.get("cut", 0)  # of a reset in both directions
        self.delay = state.get("delay", 0)  # seconds
        self.jitter = state.get("jitter", 0)
        self.rate = state.get("rate", 0)  # bytes a second; 0: any


class Switch:
    def __init__(self, tuns):
        self.tuns = tuns  # by number of node
        self.links = collections.defaultdict(Link)
        self.random = random.Random(0)
        self.late = []  # (due, order, to, packet)
        self.order = 0

    def deliver(self, number, packet):
        try:
            os.write(self.tuns[number], packet)
        except (OSError, KeyError):
            pass  # as a wire does it

    def chance(self, link, what):
        probability = getattr(link, what)
        if not probability or self.random.random() >= probability:
            return False
        link.counts[what] += 1
        return True

    def take(self, packet):
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        source, target = packet[15], packet[19]
        link = self.links[source, target]
        if link.refuse and is_tcp(packet):
            link.counts["refused"] += 1
            if not Segment(packet).flags & RST:
                self.deliver(source, reset_for_sender(Segment(packet)))
        elif link.hold or link.refuse or (link.ports and is_tcp(packet) and link.ports & {*Segment(packet).ports}):
            link.counts["held"] += 1
        elif self.chance(link, "loss"):
            pass
        elif is_tcp(packet) and self.chance(link, "cut"):
            self.deliver(source, reset_for_sender(Segment(packet)))
            self.deliver(target, reset_for_receiver(Segment(packet)))
        else:
            self.pass_on(link, target, packet)
            if self.chance(link, "duplicate"):
                self.pass_on(link, target, packet)

    def pass_on(self, link, target, packet):
        now = time.monotonic()
        wait = link.delay + self.random.random() * link.jitter
        link.counts["delayed"] += wait > 0
        if self.chance(link, "reorder"):
            wait += self.random.uniform(*REORDER_SECONDS)
        if link.rate:
            link.counts["slowed"] += 1
            if link.free_at - now > QUEUE_SECONDS:
                return
            link.free_at = max(now, link.free_at) + len(packet) / link.rate
            wait += link.free_at - now
        if wait > 0:
            self.order += 1
            heapq.heappush(self.late, (now + wait, self.order, target, packet))
        else:
            self.deliver(target, packet)

    def deliver_late(self):
        """Seconds until the next one is due; -1: there is none."""
        while self.late:
            wait = self.late[0][0] - time.monotonic()
            if wait > 0:
                return wait
            _, _, target, packet = heapq.heappop(self.late)
            self.deliver(target, packet)
        return -1

    def obey(self, order):
        for source, target, state in order.get("set", ()):
            self.links[source, target].set(state)
        return [[source, target, dict(link.counts)] for (source, target), link in self.links.items()]

    def run(self):
        poll = select.epoll()
        poll.register(sys.stdin.fileno(), select.EPOLLIN)
        for tun in self.tuns.values():
            poll.register(tun, select.EPOLLIN)
        while True:
            for file, _ in poll.poll(self.deliver_late()):
                if file != sys.stdin.fileno():
                    self.read(file)
                    continue
                line = sys.stdin.readline()  # one order is under way at a time: no more is buffered
                if not line:
                    return
                print(json.dumps(self.obey(json.loads(line))), flush=True)

    def read(self, tun):
        for _ in range(ATONCE):
            try:
                self.take(os.read(tun, PACKET_BYTES))
            except BlockingIOError:
                return


# ---- namespaces ----


def new_namespace():
    """(a file that holds it, its tun); this process is in it afterwards."""
    check(libc.unshare(CLONE_NEWNET))
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"peers", IFF_TUN | IFF_NO_PI))
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC), tun


def make_namespaces(count):
    """({number: path of its namespace}, {number: tun})"""
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    paths, tuns = {}, {}
    for number in range(1, count + 1):
        file, tuns[number] = new_namespace()
        paths[number] = f"/proc/{os.getpid()}/fd/{file}"
        check(libc.setns(home, CLONE_NEWNET))
    for number, path in paths.items():
        veth, address = f"v{os.getpid()}n{number}", f"{PREFIX}.{number}"
        ip([
            f"link add {veth} type veth peer name clients netns {path}",
            f"link set {veth} up",
            f"route replace {address}/32 dev {veth} src {CLIENTS}",
        ])
        ip([
            "link set lo up", f"addr add {address}/32 dev lo", "link set clients up", "link set peers up",
            f"route add {CLIENTS}/32 dev clients src {address}",
            f"route add {PREFIX}.0/24 dev peers src {address}",
        ], path)
    return paths, tuns


class Fabric(Wires):
    """The switch and its namespaces, seen from the suite: takes the same orders as links.Links."""

    def __init__(self, count):
        super().__init__(__file__, str(count))
        line = self.process.stdout.readline()
        if not line:
            raise OSError("the network of packets could not be made: see above")
        self.paths = {int(number): path for number, path in json.loads(line).items()}

    def command(self, number):
        """What begins a command that is to run on that node's side."""
        return ["nsenter", f"--net={self.paths[number]}"]


def main():
    paths, tuns = make_namespaces(int(sys.argv[1]))
    print(json.dumps(paths), flush=True)
    Switch(tuns).run()


if __name__ == "__main__":
    main()
