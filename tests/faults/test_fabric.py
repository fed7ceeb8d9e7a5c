#!/usr/bin/python3
"""The network of packets does what it is taken to do, to the direction that is struck and to no other."""

import os
import socket
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE]

import fabric  # noqa: E402

MANY = 150  # so many fit into the buffer of a socket


def links_of(namespace):
    done = subprocess.run(
        ["nsenter", f"--net={namespace}", "ip", "-brief", "link"], capture_output=True, text=True, check=True
    )
    return done.stdout


class FabricTest(unittest.TestCase):
    def setUp(self):
        self.fabric = fabric.Fabric(3)
        self.addCleanup(self.fabric.close)

    def socket(self, number, kind=socket.SOCK_STREAM):
        """One of that node. A thread can be in another namespace than its process, and its sockets stay there."""
        made = []

        def make():
            with open(self.fabric.paths[number], encoding="ascii") as file:
                fabric.check(fabric.libc.setns(file.fileno(), fabric.CLONE_NEWNET))
            made.append(socket.socket(socket.AF_INET, kind))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        made[0].settimeout(5)
        self.addCleanup(made[0].close)
        return made[0]

    def bound(self, number, kind):
        one = self.socket(number, kind)
        one.bind((f"{fabric.PREFIX}.{number}", 0))
        return one

    def connected(self, source=1, target=2):
        """Both ends of a connection; source None: from the clients' side."""
        server = self.bound(target, socket.SOCK_STREAM)
        server.listen()
        one = socket.create_connection(server.getsockname(), 5) if source is None else self.socket(source)
        if source is not None:
            one.connect(server.getsockname())
        self.addCleanup(one.close)
        other, _ = server.accept()
        self.addCleanup(other.close)
        other.settimeout(5)
        return one, other

    def datagrams(self, source=1, target=2):
        """The numbers of MANY datagrams, as they come."""
        receiver = self.bound(target, socket.SOCK_DGRAM)
        sender = self.socket(source, socket.SOCK_DGRAM)
        for number in range(MANY):
            sender.sendto(str(number).encode(), receiver.getsockname())
            time.sleep(0.0005)
        found = []
        receiver.settimeout(0.3)
        try:
            while True:
                found.append(int(receiver.recv(100)))
        except TimeoutError:
            return found

    def count(self, what, pair=(1, 2)):
        return self.fabric.counts([pair])[what]

    def test_it_passes_on_in_order(self):
        one, other = self.connected()
        one.sendall(b"hello")
        self.assertEqual(other.recv(100), b"hello")
        self.assertEqual(self.datagrams(), list(range(MANY)))
        self.assertEqual(sum(self.fabric.counts([(1, 2), (2, 1)]).values()), 0)

    def test_loss_is_of_one_direction(self):
        self.fabric.set([(1, 2)], loss=0.3)
        found = self.datagrams()
        self.assertEqual(found, sorted(set(found)))
        self.assertEqual(MANY - len(found), self.count("loss"))
        self.assertTrue(0.1 * MANY < len(found) < 0.9 * MANY, len(found))
        self.assertEqual(len(self.datagrams(2, 1)), MANY)
        self.assertEqual(len(self.datagrams(1, 3)), MANY)

    def test_tcp_retransmits_what_is_lost(self):
        one, other = self.connected()
        self.fabric.set([(1, 2)], loss=0.2)
        data = os.urandom(200000)
        threading.Thread(target=one.sendall, args=(data,), daemon=True).start()
        other.settimeout(30)
        found = b""
        while len(found) < len(data):
            found += other.recv(65536)
        self.assertEqual(found, data)
        self.assertGreater(self.count("loss"), 0)

    def test_reordered_and_twice(self):
        self.fabric.set([(1, 2)], reorder=0.3)
        found = self.datagrams()
        self.assertNotEqual(found, list(range(MANY)))
        self.assertEqual(sorted(found), list(range(MANY)))
        self.fabric.set([(1, 2)], duplicate=0.3)
        found = self.datagrams()
        self.assertEqual(len(found) - MANY, self.count("duplicate"))
        self.assertGreater(len(found), MANY)

    def test_held_packets_are_lost_and_come_again(self):
        one, other = self.connected()
        self.fabric.set([(2, 1)], hold=True)
        other.sendall(b"hello")
        one.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            one.recv(100)
        one.sendall(b"the other way")
        self.assertEqual(other.recv(100), b"the other way")
        self.assertGreater(self.count("held", (2, 1)), 0)
        self.fabric.set([(2, 1)])
        one.settimeout(10)
        self.assertEqual(one.recv(100), b"hello")

    def test_some_ports_only(self):
        one, other = self.connected()
        two, another = self.connected()
        port = other.getsockname()[1]
        self.fabric.set([(1, 2), (2, 1)], ports=[port])
        one.sendall(b"hello")
        two.sendall(b"hello")
        self.assertEqual(another.recv(100), b"hello")
        other.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            other.recv(100)
        self.assertGreater(self.count("held"), 0)

    def test_clients_come_past_the_switch(self):
        everything = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b]
        self.fabric.set(everything, hold=True)
        one, other = self.connected(source=None)
        one.sendall(b"hello")
        self.assertEqual(other.recv(100), b"hello")

    def test_refused(self):
        one, other = self.connected()
        self.fabric.set([(1, 2), (2, 1)], refuse=True)
        one.sendall(b"hello")
        with self.assertRaises(ConnectionResetError):
            one.recv(100)
        other.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            other.recv(100)
        other.sendall(b"hello")
        with self.assertRaises(ConnectionResetError):
            other.recv(100)
        begun = time.monotonic()
        with self.assertRaises(ConnectionRefusedError):
            self.connected()
        self.assertLess(time.monotonic() - begun, 3)

    def test_cut_ends_both_sides(self):
        one, other = self.connected()
        self.fabric.set([(1, 2)], cut=1.0)
        one.sendall(b"hello")
        for side in (one, other):
            with self.assertRaises(ConnectionResetError):
                side.recv(100)
        self.assertGreater(self.count("cut"), 0)

    def test_delay_and_rate(self):
        one, other = self.connected()
        self.fabric.set([(1, 2)], delay=0.2)
        begun = time.monotonic()
        one.sendall(b"hello")
        other.recv(100)
        self.assertGreater(time.monotonic() - begun, 0.2)
        self.fabric.set([(1, 2)], rate=100000)
        begun = time.monotonic()
        data = bytes(50000)
        one.sendall(data)
        found = 0
        while found < len(data):
            found += len(other.recv(65536))
        self.assertGreater(time.monotonic() - begun, 0.4)

    def test_nothing_is_left_and_nothing_else_is_touched(self):
        self.assertEqual(links_of(f"/proc/{os.getpid()}/fd/{OUTSIDE}"), LINKS_OUTSIDE)
        mine = f"v{self.fabric.process.pid}n"
        self.assertIn(mine, links_of("/proc/self/ns/net"))
        self.fabric.close()
        deadline = time.monotonic() + 30
        while mine in links_of("/proc/self/ns/net"):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)


if __name__ == "__main__":
    why_not = fabric.problem()
    if why_not:
        print(f"the network of packets is not tested: it {why_not}")
        sys.exit(0)
    OUTSIDE = os.open("/proc/self/ns/net", os.O_RDONLY)
    LINKS_OUTSIDE = links_of("/proc/self/ns/net")
    fabric.enter_network_of_our_own()
    unittest.main()
