#!/usr/bin/python3
"""The tools of the fault suite do what they are taken to do: a fault that does not strike proves nothing."""

import errno
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "system")]

import arena  # noqa: E402
import cells  # noqa: E402
import fabric  # noqa: E402
import family  # noqa: E402
import nodes  # noqa: E402
import orders  # noqa: E402
import powercut  # noqa: E402
import report  # noqa: E402
from links import Links  # noqa: E402

INTERPOSE = os.environ["ANNAL_INTERPOSE"]


class InterposeCase(unittest.TestCase):
    """Programs are Python: its os module calls the functions that the library replaces."""

    def setUp(self):
        self.parent = parent = tempfile.mkdtemp(prefix="annal-interpose-")
        self.addCleanup(shutil.rmtree, parent)
        self.folder = os.path.join(self.parent, "data")
        os.mkdir(self.folder)
        self.journal = os.path.join(self.parent, "journal")
        self.control = nodes.Control(os.path.join(self.parent, "control"))

    def run_program(self, text, journal=False, routes=""):
        environment = {
            **os.environ,
            "LD_PRELOAD": INTERPOSE,
            "FAULT_CONTROL": os.path.join(self.parent, "control"),
            "FAULT_FOLDER": self.folder,
            "FAULT_ROUTES": routes,
        }
        if journal:
            environment["FAULT_JOURNAL"] = self.journal
        head = "import os, socket, sys, time\nD = sys.argv[1]\n"
        done = subprocess.run(
            ["/usr/bin/python3", "-c", head + text, self.folder], env=environment, capture_output=True,
            text=True, check=False,
        )
        return done

    def content(self, name):
        with open(os.path.join(self.folder, name), "rb") as file:
            return file.read()


class PowerCutTest(InterposeCase):
    FILE = "f = os.open(D + '/f', os.O_RDWR | os.O_CREAT)\n"

    def cut(self, text, seed=None):
        """The program runs, and the power goes when it has come to its end."""
        done = self.run_program(text + "\nos.kill(os.getpid(), 9)\n", journal=True)
        self.assertEqual(done.returncode, -9, done.stderr)
        return powercut.cut(self.journal, self.folder, random.Random(seed) if seed is not None else None)

    def test_what_was_synced_stays_and_the_rest_goes(self):
        text = self.FILE + (
            "os.pwrite(f, b'synced', 0); os.fsync(f)\n"
            "os.pwrite(f, b'xyz', 1); os.pwrite(f, b'behind', 6)\n"
        )
        self.assertEqual(self.cut(text), (2, 2))
        self.assertEqual(self.content("f"), b"synced")

    def test_writes_to_a_file_opened_for_it_are_durable(self):
        text = "f = os.open(D + '/f', os.O_RDWR | os.O_CREAT | os.O_DSYNC)\nos.pwrite(f, b'kept', 0)\n"
        text += "d = os.open(D, os.O_RDONLY); os.fsync(d)\n"
        self.assertEqual(self.cut(text), (0, 0))
        self.assertEqual(self.content("f"), b"kept")

    def test_an_older_write_takes_nothing_from_a_newer_one_that_is_durable(self):
        text = self.FILE + (
            "os.pwrite(f, b'0123456789', 0); os.fsync(f)\n"
            "os.pwrite(f, b'AAAAAAAAAA', 0)\n"
            "g = os.open(D + '/f', os.O_RDWR | os.O_DSYNC); os.pwrite(g, b'bbb', 4)\n"
        )
        self.cut(text)
        self.assertEqual(self.content("f"), b"0123bbb789")

    def test_sizes(self):
        text = self.FILE + (
            "os.pwrite(f, b'0123456789', 0); os.fsync(f)\n"
            "os.ftruncate(f, 4)\n"
        )
        self.cut(text)
        self.assertEqual(self.content("f"), b"0123456789")
        self.setUp()
        self.cut(self.FILE + "os.fsync(f); os.posix_fallocate(f, 0, 8192)\n")
        self.assertEqual(self.content("f"), b"")

    def test_names(self):
        synced = "d = os.open(D, os.O_RDONLY); os.fsync(d)\n"
        self.cut(self.FILE)
        self.assertEqual(os.listdir(self.folder), [])
        self.cut(self.FILE + synced)
        self.assertEqual(os.listdir(self.folder), ["f"])
        self.cut("os.rename(D + '/f', D + '/g')\n")
        self.assertEqual(os.listdir(self.folder), ["f"])
        self.cut("os.rename(D + '/f', D + '/g')\n" + synced)
        self.assertEqual(os.listdir(self.folder), ["g"])
        self.cut("os.unlink(D + '/g')\n")
        self.assertEqual(os.listdir(self.folder), ["g"])
        self.cut("os.unlink(D + '/g')\n" + synced)
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_file_that_took_the_place_of_another(self):
        text = self.FILE + (
            "os.write(f, b'old'); os.fsync(f); d = os.open(D, os.O_RDONLY); os.fsync(d)\n"
            "g = os.open(D + '/g', os.O_RDWR | os.O_CREAT); os.write(g, b'new'); os.fsync(g)\n"
            "os.rename(D + '/g', D + '/f')\n"
        )
        self.cut(text)
        self.assertEqual(self.content("f"), b"old")
        self.assertEqual(self.content("g"), b"new")

    def test_an_emptied_file(self):
        text = self.FILE + (
            "os.write(f, b'old'); os.fsync(f)\n"
            "g = os.open(D + '/f', os.O_RDWR | os.O_CREAT | os.O_TRUNC); os.write(g, b'n')\n"
        )
        self.cut(text)
        self.assertEqual(self.content("f"), b"old")

    def test_by_chance_some_stay_some_go_some_are_torn(self):
        text = self.FILE + "os.pwrite(f, b'o' * 4096 * 30, 0); os.fsync(f)\n"
        text += "for i in range(30): os.pwrite(f, b'n' * 4096, 4096 * i)\n"
        undone, unsynced = self.cut(text, seed=5)
        self.assertEqual(unsynced, 30)
        self.assertTrue(0 < undone < 30)
        pages = [self.content("f")[4096 * i : 4096 * (i + 1)] for i in range(30)]
        kinds = {bytes(sorted(set(page))) for page in pages}
        self.assertEqual(kinds, {b"o", b"n", b"no"})
        for page in pages:
            self.assertRegex(page, rb"^(n{512})*(o{512})*$")


class DiskTest(InterposeCase):
    TRY = (
        "f = os.open(D + '/f', os.O_RDWR | os.O_CREAT)\n"
        "def outcome(what):\n"
        "    try: what(); return 0\n"
        "    except OSError as error: return error.errno\n"
    )

    def outcomes(self, calls):
        done = self.run_program(self.TRY + f"print([outcome(call) for call in [{calls}]])")
        self.assertEqual(done.returncode, 0, done.stderr)
        return [int(number) for number in re.findall(r"\d+", done.stdout)]

    def test_writes_fail_as_ordered_and_are_counted(self):
        calls = "lambda: os.write(f, b'x'), lambda: os.fsync(f), lambda: os.posix_fallocate(f, os.fstat(f).st_size, 99)"
        self.assertEqual(self.outcomes(calls), [0, 0, 0])
        for kinds, due in ((nodes.WRITE, 0), (nodes.SYNC, 1), (nodes.ALLOCATE, 2)):
            self.control.fail(kinds, errno.EIO)
            before = self.control.failures()
            found = self.outcomes(calls)
            self.assertEqual(found, [errno.EIO if place == due else 0 for place in range(3)])
            self.assertEqual(self.control.failures(), before + 1)

    def test_some_are_let_through_first(self):
        self.control.fail(nodes.WRITE, errno.ENOSPC, after=2)
        calls = ", ".join(["lambda: os.write(f, b'x')"] * 4)
        self.assertEqual(self.outcomes(calls), [0, 0, errno.ENOSPC, errno.ENOSPC])

    def test_other_files_are_left_alone(self):
        self.control.fail(nodes.WRITE, errno.EIO)
        self.assertEqual(self.outcomes("lambda: os.write(1, b'')"), [0])

    def test_slow(self):
        self.control.set(nodes.DELAY_US, 200000)
        begin = time.monotonic()
        self.outcomes("lambda: os.write(f, b'x'), lambda: os.fsync(f)")
        self.assertGreater(time.monotonic() - begin, 0.4)
        self.assertEqual(self.control.get(nodes.DELAYED), 2)

    def test_free_space(self):
        self.control.set(nodes.FREE_BYTES, 1 + (1 << 20))
        done = self.run_program("s = os.statvfs(D); print(s.f_bavail * s.f_frsize)")
        self.assertEqual(done.stdout.strip(), str(1 << 20))


class ClockTest(InterposeCase):
    def test_wall_clock(self):
        self.control.set(nodes.REALTIME_NS, -3600 * 10**9)
        done = self.run_program("print(time.clock_gettime(time.CLOCK_REALTIME))")
        self.assertLess(abs(float(done.stdout) - (time.time() - 3600)), 60)
        self.assertGreater(self.control.get(nodes.REALTIME_ASKED), 0)

    def test_drift_goes_on_from_where_it_was(self):
        text = "a = time.monotonic(); time.sleep(0.5); print(a, time.monotonic() - a)"
        self.control.set_clock_rate(300000)
        shown, passed = map(float, self.run_program(text).stdout.split())
        self.assertTrue(0.6 < passed < 0.9, passed)
        self.assertLess(abs(shown - time.monotonic()), 60)
        self.control.set_clock_rate(-300000)
        _, passed = map(float, self.run_program(text).stdout.split())
        self.assertTrue(0.3 < passed < 0.5, passed)

    def test_exit_code(self):
        self.run_program("sys.exit(71)")
        self.assertEqual(self.control.exit_code(), 71)
        self.run_program("os._exit(70)")
        self.assertEqual(self.control.exit_code(), 70)
        self.run_program("os.kill(os.getpid(), 9)")
        self.assertIsNone(self.control.exit_code())


class LinksTest(InterposeCase):
    def setUp(self):
        super().setUp()
        self.links = Links()
        self.addCleanup(self.links.close)
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        self.port = server.getsockname()[1]
        threading.Thread(target=self.echo, args=(server,), daemon=True).start()
        (self.stand_in,) = self.links.listen([(1, 2, self.port)])

    @staticmethod
    def echo(server):
        def serve(one):
            with one:
                try:
                    while data := one.recv(4096):
                        one.sendall(data)
                except OSError:
                    pass

        while True:
            try:
                one, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(one,), daemon=True).start()

    def connect(self):
        one = socket.create_connection(("127.0.0.1", self.stand_in), timeout=0.5)
        self.addCleanup(one.close)
        return one

    def ask(self, one):
        one.sendall(b"hello")
        return one.recv(100)

    def test_it_passes_on(self):
        self.assertEqual(self.ask(self.connect()), b"hello")

    def test_either_direction_can_be_held_and_nothing_is_lost(self):
        for pair in ((1, 2), (2, 1)):
            one = self.connect()
            self.links.set([pair], hold=True)
            with self.assertRaises(TimeoutError):
                self.ask(one)
            self.assertGreater(self.links.counts([pair])["held"], 0)
            self.links.set([pair])
            self.assertEqual(one.recv(100), b"hello")

    def test_delay(self):
        one = self.connect()
        self.links.set([(1, 2), (2, 1)], delay=0.1)
        begin = time.monotonic()
        self.assertEqual(self.ask(one), b"hello")
        self.assertGreater(time.monotonic() - begin, 0.2)

    def test_refused_and_cut(self):
        one = self.connect()
        self.ask(one)
        self.links.set([(1, 2)], refuse=True)
        with self.assertRaises(OSError):
            self.assertNotEqual(self.ask(one), b"")
            raise ConnectionResetError
        self.links.set([(1, 2)], cut=1.0)
        two = self.connect()
        try:
            self.assertEqual(self.ask(two), b"")
        except ConnectionResetError:
            pass
        self.assertEqual(self.links.counts([(1, 2)])["cut"], 1)

    def test_two_who_ask_at_the_same_time_get_their_own_answers(self):
        def ask_often():
            for _ in range(300):
                self.assertEqual(self.links.counts([(8, 9)]), {})

        threads = [threading.Thread(target=ask_often, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(300):
            self.links.set([(1, 2)], delay=0)
        for thread in threads:
            thread.join(20)
            self.assertFalse(thread.is_alive(), "one waits for an answer that another took")

    def test_who_stops_asking_takes_back_no_more_than_that(self):
        self.links.set([(1, 2)], by="one", hold=True)
        self.links.set([(1, 2), (2, 1)], by="other", delay=0.1)
        one = self.connect()
        self.links.set([(1, 2), (2, 1)], by="other")
        with self.assertRaises(TimeoutError):
            self.ask(one)
        self.links.set([(1, 2)], by="one")
        self.assertEqual(one.recv(100), b"hello")
        self.assertEqual(orders.together([{"rate": 9, "cut": 0.1}, {"rate": 5, "ports": [1]}, {"ports": [2]}]),
                         {"rate": 5, "cut": 0.1, "ports": [1, 2]})

    def test_a_program_is_led_there(self):
        text = f"one = socket.create_connection(('127.0.0.1', {self.port}))\nprint(one.getpeername()[1])"
        done = self.run_program(text, routes=f"{self.port}:{self.stand_in}")
        self.assertEqual(done.stdout.strip(), str(self.stand_in), done.stderr)


class EndTest(unittest.TestCase):
    """Whoever ends the runner has ended all that it started: nodes, clients, proxies, networks, mounts."""

    START_SECONDS, END_SECONDS = 120, 60

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="annal-end-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.mark = f"ANNAL_END_TEST={self.folder}"

    def run_and_end(self, number, cell, *more):
        name, value = self.mark.split("=", 1)
        command = [sys.executable, os.path.join(HERE, "run"), "--cells", cell, "--seconds", "60", *more,
                   "--folder", os.path.join(self.folder, "runs"), "--interpose", INTERPOSE]
        with subprocess.Popen(command, env={**os.environ, name: value}, stdout=subprocess.PIPE, text=True) as runner:
            try:
                self.wait_for_clients(runner.pid)
                while "small-disk" in cell and not self.is_mounted():
                    time.sleep(0.05)
                runner.send_signal(number)
                output, _ = runner.communicate(timeout=self.END_SECONDS)
            finally:
                runner.kill()
        self.assertEqual(runner.returncode, 128 + number, output)
        self.assertEqual(self.marked(), {})
        self.assertFalse(self.is_mounted())

    def is_mounted(self):
        with open("/proc/self/mounts", encoding="utf-8") as file:
            return self.folder in file.read()

    def marked(self):
        """What has inherited our mark, whoever is its parent by now: pid -> its command."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    if self.mark.encode() in file.read().split(b"\0"):
                        found[int(pid)] = family.name_of(pid)
            except OSError:
                pass
        return found

    def wait_for_clients(self, runner):
        """Until there are nodes, the tool, and a strike may be under way."""
        deadline = time.monotonic() + self.START_SECONDS
        while time.monotonic() < deadline:
            commands = [command for pid, command in self.marked().items() if pid != runner]
            if sum("annald --config" in one for one in commands) >= 2 and any(" tail " in one for one in commands):
                time.sleep(2)
                return
            time.sleep(0.1)
        self.fail(f"the cell does not begin: {commands}")

    def test_sigterm(self):
        self.run_and_end(signal.SIGTERM, "rolling-restart+partition")

    def test_sigint(self):
        self.run_and_end(signal.SIGINT, "power-cut+pause")

    @unittest.skipIf(fabric.problem(), "needs root and what makes namespaces")
    def test_with_namespaces_and_a_mount(self):
        self.run_and_end(signal.SIGTERM, "small-disk+grow", "--network", "namespaces")


class ArenaTest(unittest.TestCase):
    def test_who_strikes_all_nodes_has_its_turn(self):
        world = types.SimpleNamespace(cluster=types.SimpleNamespace(nodes={1: None, 2: None, 3: None}), touched={})
        one = arena.Arena(world)
        self.assertTrue(one.claim(2))
        taken = []
        thread = threading.Thread(target=lambda: taken.extend(one.claim_all()))
        thread.start()
        time.sleep(0.1)
        self.assertFalse(one.claim(1), "somebody waits for all")
        one.release(2)
        thread.join(5)
        self.assertEqual(taken, [1, 2, 3])
        self.assertFalse(one.claim(3))
        for number in taken:
            one.release(number)
        self.assertTrue(one.claim(3))
        one.stopping.set()
        self.assertEqual(one.claim_all(), [])


class ReportTest(unittest.TestCase):
    def test_gaps_and_buckets(self):
        acked = [0.1, 0.2, 0.6, 3.0]
        self.assertEqual(report.buckets(acked, 3.2), [2, 1, 0, 0, 0, 0, 1])
        self.assertEqual(report.gaps(acked, 3.2), [(0.6, 3.0)])

    def test_links_in_words(self):
        for links, words in (
            ("1>2 1>3 2>1 2>3 3>1 3>2", "all links"), ("2>1 2>3", "from node 2"), ("1>2 3>2", "to node 2"),
            ("2>1 2>3 1>2 3>2", "to and from node 2"), ("1>3 3>1", "1 ↔ 3"), ("1>3", "1 → 3"),
            ("1>3 1>4 2>3 2>4", "1 → 3, 1 → 4, 2 → 3, 2 → 4"),
        ):
            self.assertEqual(report.links_in_words(links), words)

    def test_what_is_listed_can_be_run(self):
        for name in cells.PAIRS + cells.SHORT:
            self.assertTrue(cells.parse(name))
        self.assertEqual(len(cells.SHORT), 8)
        with self.assertRaises(ValueError):
            cells.parse("kill+nothing")


if __name__ == "__main__":
    unittest.main()
