"""Backups while a cluster works, new clusters and joining nodes made from them, and what is left when most
of a cluster is gone for good."""

import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

import msgpack
from annal_rpc import ConnectionLost, RpcError, event
from cluster import Cluster, program
from test_cluster_life import END_SECONDS, KIB, LifeCase

HEADER_BYTES, FRAME_HEADER_BYTES, TRAILER_BYTES = 88, 40, 64
DAMAGE, USAGE, DIRECTORY = 4, 1, 3


def annald(*arguments):
    """(exit code, what it printed) of a command of annald."""
    done = subprocess.run(
        [program("annald"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, done.stdout


def frames_of(data):
    """(place, bytes) of each frame of a backup, as docs/format.md tells."""
    place = HEADER_BYTES
    while data[place : place + 4] == b"ANBF":
        packed = struct.unpack_from("<I", data, place + 8)[0]
        yield place, FRAME_HEADER_BYTES + packed
        place += FRAME_HEADER_BYTES + packed


def records_in(path):
    """What a backup holds, by zstd and msgpack alone."""
    with open(path, "rb") as file:
        data = file.read()
    packed = b"".join(
        data[place + FRAME_HEADER_BYTES : place + size] for place, size in frames_of(data)
    )
    plain = subprocess.run(["zstd", "-dc"], input=packed, stdout=subprocess.PIPE, check=True).stdout
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(plain)
    return list(unpacker)


class BackupCase(LifeCase):
    def path(self, name="backup"):
        return os.path.join(self.cluster.parent, name)

    def backup(self, node, name="backup", timeout_ms=60000):
        """Once the one before, which was given up, has ended."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return node.call("backup", {"path": self.path(name), "timeout_ms": timeout_ms}, 90)
            except RpcError as error:
                if error.code != "OVERLOADED" or time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def fill_mixed(self, node, appends=30):
        """Several streams, types, tags, checkpoints and sizes; returns what was sent, by append."""
        sent = []
        with node.connect() as connection:
            for number in range(appends):
                events = [
                    event(data=os.urandom(number * 97 % 3000), type=f"type-{number % 3}",
                          tags=[f"tag:{number % 5}"])
                    for _ in range(50)
                ]
                params = {"stream": f"Filler-{number % 4}", "events": events}
                connection.call("append", params, 20)
                sent.append(params)
        return sent

    def wait_gone(self, path, timeout=20):
        deadline = time.monotonic() + timeout
        while os.path.exists(path):
            self.assertLess(time.monotonic(), deadline, f"{path} is still there")
            time.sleep(0.05)

    def assert_nothing_left(self, name="backup"):
        self.wait_gone(self.path(name) + ".partial")
        self.assertFalse(os.path.exists(self.path(name)))

    def replace_data(self, node, *arguments, keep=None):
        """The node, stopped, with a data folder that `annald restore` makes."""
        if os.path.exists(node.data):
            if keep:
                os.rename(node.data, keep)
            else:
                shutil.rmtree(node.data)
        code, output = annald("restore", *arguments, "--data", node.data, "--config", node.conf)
        self.assertEqual(code, 0, output)
        return output

    def add(self, cluster, number):
        node = cluster.add(number)
        return self.admit(cluster, node)

    def admit(self, cluster, node):
        """Make a voter of it."""
        own, self.cluster = self.cluster, cluster
        try:
            self.cluster_call(
                "cluster_add",
                {"id": node.number, "peer_address": node.peer_address,
                 "client_address": node.address, "role": "voter"},
            )
            self.wait_role(node.number, "voter")
        finally:
            self.cluster = own
        return node

    def other_cluster(self, settings=()):
        """A cluster of one, stopped and without data."""
        other = Cluster(1, settings)
        self.addCleanup(lambda: other.close(failed=self.has_failed()))
        other.start()
        other.stop()
        shutil.rmtree(other[1].data)
        return other


class BackupTest(BackupCase):
    def test_every_node_backs_up_the_same_records(self):
        self.fill_mixed(self.cluster.leader())
        position, _ = self.cluster.wait_converged()
        expected = self.cluster.read_all(self.cluster[1], system=True)
        for node in self.cluster.nodes.values():
            with self.subTest(node=node.number):
                name = f"backup-{node.number}"
                answer = self.backup(node, name)
                self.assertEqual(answer["path"], self.path(name))
                self.assertEqual(answer["position"], position)
                self.assertEqual(answer["bytes"], os.path.getsize(self.path(name)))
                self.assertEqual(os.stat(self.path(name)).st_mode & 0o777, 0o600)
                self.assertEqual(records_in(self.path(name)), expected)

    def test_empty_store(self):
        answer = self.backup(self.cluster.leader())
        self.assertEqual(answer["position"], 0)
        self.assertEqual(answer["bytes"], HEADER_BYTES + TRAILER_BYTES)

    def test_bad_paths_are_refused_and_named(self):
        node = self.cluster.leader()
        taken = self.path("taken")
        with open(taken, "w", encoding="ascii") as file:
            file.write("mine")
        connection = self.connect(node)
        for path in (None, "", 7, "backup", "./backup", "/", "/tmp/", "/x" * 2500, taken,
                     "/nonexistent/backup", taken + "/backup", os.path.join(node.data, "backup"),
                     os.path.join(node.data, "raft", "..", "raft", "backup"), "/a\0b"):
            with self.subTest(path=path):
                answer = self.assert_error("INVALID_ARGUMENT", connection, "backup", {"path": path})
                self.assertEqual(answer["argument"], "path")
        answer = self.assert_error("INVALID_ARGUMENT", connection, "backup", {"path": taken})
        self.assertIn(taken, answer["message"])
        with open(taken, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_one_at_a_time(self):
        self.fill(self.cluster.leader(), 8)
        connection = self.connect(self.cluster.followers()[0])
        first = connection.begin("backup", {"path": self.path(), "timeout_ms": 60000})
        answer = self.assert_error(
            "OVERLOADED", connection, "backup", {"path": self.path("second")}, reason="backup"
        )
        self.assertIn("retry_after_ms", answer)
        self.assertEqual(first.wait(90)["path"], self.path())
        self.assert_nothing_left("second")
        connection.call("backup", {"path": self.path("second"), "timeout_ms": 60000}, 90)

    def test_deadline_leaves_nothing(self):
        self.fill(self.cluster.leader(), 16)
        connection = self.connect()
        self.assert_error(
            "TIMEOUT", connection, "backup", {"path": self.path(), "timeout_ms": 20}, outcome="none"
        )
        self.assert_nothing_left()
        self.backup(self.cluster.leader())

    def test_connection_that_breaks_takes_it_along(self):
        self.fill(self.cluster.leader(), 24)
        node = self.cluster.leader()
        host, port = node.address.split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(msgpack.packb([0, 1, "backup", [{"path": self.path()}]]))
            while not os.path.exists(self.path() + ".partial"):
                self.assertFalse(os.path.exists(self.path()), "it ended before it could break")
                time.sleep(0.001)
            # A reset, not an end: who only closes its side still gets its answers.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.assert_nothing_left()
        self.backup(node)

    def test_stopping_node_gives_it_up(self):
        node = self.cluster.followers()[0]
        self.fill(node, 16)
        connection = self.connect(node)
        pending = connection.begin("backup", {"path": self.path(), "timeout_ms": 60000})
        node.stop()
        with self.assertRaises((RpcError, ConnectionLost)):
            pending.wait(20)
        self.assert_nothing_left()

    def test_progress_is_in_the_stats(self):
        self.fill(self.cluster.leader(), 24)
        node = self.cluster.leader()
        head = node.call("ping")["head"]
        connection = self.connect(node)
        pending = connection.begin("backup", {"path": self.path(), "timeout_ms": 60000})
        seen = []
        while not pending.done.is_set():
            stats = connection.call("stats")
            if stats["backup_wanted"]:
                seen.append((stats["backup_position"], stats["backup_wanted"], stats["backup_bytes"]))
        self.assertEqual(pending.wait()["position"], head)
        self.assertTrue(seen, "it was never seen to run")
        self.assertEqual(seen, sorted(seen))
        self.assertEqual({wanted for _, wanted, _ in seen}, {head})
        self.assertEqual(connection.call("stats")["backup_wanted"], 0)

    def test_under_load_it_ends_at_the_head_of_its_start(self):
        leader = self.cluster.leader()
        self.fill(leader, 8)
        stop = threading.Event()

        def load():
            with leader.connect() as connection:
                while not stop.is_set():
                    connection.call(
                        "append",
                        {"stream": "Load-1", "events": [event(data=b"x" * 500) for _ in range(20)],
                         "timeout_ms": 20000}, 30,
                    )

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            before = leader.call("ping")["head"]
            answer = self.backup(leader)
            after = leader.call("ping")["head"]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertGreaterEqual(answer["position"], before)
        self.assertLess(answer["position"], after)
        events = self.cluster.read_all(leader, system=True)
        self.assertEqual(records_in(self.path()), events[: answer["position"]])

    def test_killed_in_the_middle_there_is_no_backup(self):
        node = self.cluster.followers()[0]
        ids = self.fill(node, 24)
        with node.connect() as connection:
            pending = connection.begin("backup", {"path": self.path(), "timeout_ms": 60000})
            while not os.path.exists(self.path() + ".partial"):
                self.assertFalse(pending.done.is_set(), "it ended before it could be killed")
                time.sleep(0.001)
            node.kill()
        self.assertFalse(os.path.exists(self.path()))
        node.restart()
        self.assert_same_everywhere(ids)
        answer = self.assert_error(
            "INVALID_ARGUMENT", self.connect(node), "backup", {"path": self.path()}
        )
        self.assertIn(".partial", answer["message"])
        os.unlink(self.path() + ".partial")
        self.backup(node)

    def test_full_disk_is_an_error_and_the_node_lives_on(self):
        node = self.cluster.followers()[0]
        self.fill(node, 4)
        node.stop()
        # More than there is: every backup to that disk would leave too little.
        disk = os.statvfs(node.data)
        free = disk.f_bavail * disk.f_frsize
        process = node.launch("--disk-free-bytes", str(free - 32 * KIB * KIB))
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_answers(node)
        answer = self.assert_error(
            "INTERNAL", self.connect(node), "backup",
            {"path": os.path.join(node.folder, "backup"), "timeout_ms": 20000}
        )
        self.assertIn("disk", answer["message"])
        self.assertEqual([f for f in os.listdir(node.folder) if f.startswith("backup")], [])
        node.call("ping")

    def wait_answers(self, node):
        deadline = time.monotonic() + 30
        while True:
            try:
                return node.call("ping")
            except (OSError, ConnectionLost):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)


class RestoreTest(BackupCase):
    def assert_goes_on(self, cluster, sent, position):
        """What was there before the backup still counts: duplicates, versions, positions."""
        with cluster.leader().connect() as connection:
            again = connection.call("append", sent[7])
            self.assertTrue(again["duplicate"])
            self.assertLessEqual(again["position"], position)
            version = connection.call("stream_info", {"stream": "Filler-1"})["version"]
            with self.assertRaises(RpcError) as caught:
                connection.call(
                    "append", {"stream": "Filler-1", "expected_version": version - 1,
                               "events": [event()]}
                )
            self.assertEqual(caught.exception.code, "WRONG_EXPECTED_VERSION")
            answer = connection.call(
                "append", {"stream": "Filler-1", "expected_version": version, "events": [event()]}
            )
            self.assertEqual(answer["version"], version + 1)
            self.assertEqual(answer["position"], position + 1)

    def test_new_cluster_outlives_its_first_node(self):
        sent = self.fill_mixed(self.cluster.leader())
        position, digest = self.cluster.wait_converged()
        self.backup(self.cluster.followers()[0])
        other = self.other_cluster()
        self.replace_data(other[1], self.path())
        other[1].restart()
        other.wait_writable()
        self.assertEqual(other.wait_converged(), (position, digest))
        self.assert_goes_on(other, sent, position)
        for number in (2, 3):
            self.add(other, number)
        after = other.wait_converged()
        expected = other.read_all(other[1], system=True)
        self.assertEqual(expected[:position], self.cluster.read_all(self.cluster[1], system=True))
        other[1].kill()
        del other.nodes[1]
        other.wait_writable(timeout=60)
        self.assertEqual(other.wait_converged()[0], after[0])
        for node in other.nodes.values():
            self.assertEqual(other.read_all(node, system=True), expected)
        self.append(self.connect(other.leader()), "Filler-1", 3)
        other.wait_converged()
        code, output = annald("verify", other[2].data)
        self.assertIn(code, (0, DIRECTORY), output)

    def test_nodes_can_be_added_before_anything_is_appended(self):
        self.fill_mixed(self.cluster.leader(), 5)
        before = self.cluster.wait_converged()
        self.backup(self.cluster.leader())
        other = self.other_cluster()
        self.replace_data(other[1], self.path())
        other[1].restart()
        self.add(other, 2)
        self.assertEqual(other.wait_converged(), before)
        self.assertIn("to=pulling", other[2].log_text())
        for node in other.nodes.values():
            node.stop()
        for node in other.nodes.values():
            node.do("restart")
        self.assertEqual(other.wait_converged(), before)

    def test_empty_backup(self):
        self.backup(self.cluster.leader())
        other = self.other_cluster()
        self.replace_data(other[1], self.path())
        other[1].restart()
        other.wait_writable()
        self.append(self.connect(other[1]), "Filler-1", 3)
        self.add(other, 2)
        other.wait_converged()
        self.assertEqual(len(other.read_all(other[2])), 3)

    def test_old_cluster_and_new_one_do_not_mix(self):
        self.fill_mixed(self.cluster.leader(), 5)
        self.backup(self.cluster.leader())
        node = self.cluster.followers()[0]
        node.stop()
        self.replace_data(node, self.path())
        node.restart()  # as a cluster of its own, at the address of a member of the other
        self.cluster.wait_writable(node)
        self.append(self.connect(node), "Own-1", 2)
        rest = [n for n in self.cluster.nodes.values() if n is not node]
        self.cluster.wait_writable(rest[0])
        self.append(self.connect(rest[0]), "Theirs-1", 2)
        time.sleep(1)
        self.assertEqual([n["id"] for n in node.call("cluster_status")["nodes"]], [node.number])
        self.assertEqual([e for e in self.cluster.read_all(node) if e[4] == "Theirs-1"], [])
        self.assertIn("belongs to another cluster", node.log_text() + rest[0].log_text())


class JoinTest(BackupCase):
    settings = ("log-retained-bytes=1M", "log-trailing-bytes=256K")

    def seed(self, number):
        """A new node whose data is made from the backup."""
        node = self.cluster.add(number)
        node.stop()
        self.replace_data(node, self.path(), "--join")
        return node

    def test_seeded_node_pulls_only_what_is_missing(self):
        ids = self.fill(self.cluster.leader(), 6)
        position = self.backup(self.cluster.followers()[0])["position"]
        ids += self.fill(self.cluster.leader(), 4)
        node = self.seed(4)
        node.restart()
        self.admit(self.cluster, node)
        self.assert_same_everywhere(ids)
        begins = re.findall(r"begins\" head=(\d+) wanted=(\d+)", node.log_text())
        self.assertTrue(begins, "it did not pull")
        self.assertEqual({int(head) >= position for head, _ in begins}, {True})
        node.kill()
        node.restart()
        self.assert_same_everywhere(ids)

    def test_seeded_node_that_lacks_nothing_pulls_nothing(self):
        ids = self.fill(self.cluster.leader(), 4)
        self.backup(self.cluster.leader())
        node = self.seed(4)
        node.restart()
        self.admit(self.cluster, node)
        self.assert_same_everywhere(ids)
        self.assertNotIn("to=pulling", node.log_text())

    def test_id_that_made_the_backup_cannot_join(self):
        leader = self.cluster.leader()
        self.backup(leader)
        code, output = annald(
            "restore", self.path(), "--join", "--data", self.path("data"), "--config", leader.conf
        )
        self.assertEqual(code, USAGE, output)
        self.assertIn("node-id", output)
        self.assertFalse(os.path.exists(self.path("data")))


class WholeLogJoinTest(JoinTest):
    """The leader's log still begins at index 1: what the store has already is passed over."""

    settings = ()

    def test_seeded_node_pulls_only_what_is_missing(self):
        ids = self.fill(self.cluster.leader(), 2)
        self.backup(self.cluster.followers()[0])
        ids += self.fill(self.cluster.leader(), 2)
        node = self.seed(4)
        node.restart()
        self.admit(self.cluster, node)
        self.assert_same_everywhere(ids)
        self.assertNotIn("to=pulling", node.log_text())


class RestoreRefusalTest(BackupCase):
    nodes = 1

    def setUp(self):
        super().setUp()
        self.node = self.cluster[1]
        self.fill_mixed(self.node, 60)
        self.backup(self.node)
        with open(self.path(), "rb") as file:
            self.data = file.read()

    def restore(self, data):
        """Restore from these bytes: exit code and message."""
        with open(self.path("damaged"), "wb") as file:
            file.write(data)
        folder = self.path("restored")
        shutil.rmtree(folder, ignore_errors=True)
        return annald(
            "restore", self.path("damaged"), "--data", folder, "--config", self.node.conf
        )

    def flipped(self, place):
        data = bytearray(self.data)
        data[place] ^= 0x20
        return bytes(data)

    def assert_unusable(self, folder):
        process = self.node.launch(data=folder)
        output, _ = process.communicate(timeout=END_SECONDS)
        self.assertEqual(process.returncode, DIRECTORY, output)
        self.assertIn("not finished", output)
        self.assertIn(folder, output)
        code, output = annald(
            "restore", self.path(), "--data", folder, "--config", self.node.conf
        )
        self.assertEqual(code, DIRECTORY, output)
        self.assertIn("not empty", output)

    def test_damage_in_each_region_is_named(self):
        frames = list(frames_of(self.data))
        self.assertGreater(len(frames), 0)
        first, size = frames[0]
        trailer = len(self.data) - TRAILER_BYTES
        for place, word in (
            (3, "ANNALBK1"), (20, "header"), (50, "header"), (HEADER_BYTES - 1, "header"),
            (first + 2, "frame 1"), (first + 9, "frame 1"), (first + 30, "frame 1"),
            (first + FRAME_HEADER_BYTES + 5, "frame 1"), (first + size - 1, "frame 1"),
            (trailer + 1, "frame"), (trailer + 10, "trailer"), (len(self.data) - 1, "trailer"),
        ):
            with self.subTest(place=place):
                code, output = self.restore(self.flipped(place))
                self.assertEqual(code, DAMAGE, output)
                self.assertIn(word, output)
                self.assertIn(self.path("damaged"), output)
        self.assertEqual(self.restore(self.data)[0], 0)

    def test_truncated_file(self):
        for size in (0, 50, HEADER_BYTES, len(self.data) // 2, len(self.data) - TRAILER_BYTES,
                     len(self.data) - 1):
            with self.subTest(size=size):
                code, output = self.restore(self.data[:size])
                self.assertEqual(code, DAMAGE, output)
                self.assertIn("cut off", output)
        self.assert_unusable(self.path("restored"))

    def test_folder_that_is_not_empty(self):
        folder = self.path("restored")
        os.mkdir(folder)
        with open(os.path.join(folder, "thesis.txt"), "w", encoding="ascii") as file:
            file.write("years of work")
        code, output = annald(
            "restore", self.path(), "--data", folder, "--config", self.node.conf
        )
        self.assertEqual(code, DIRECTORY, output)
        self.assertEqual(os.listdir(folder), ["thesis.txt"])

    def test_killed_in_the_middle_the_folder_says_so(self):
        folder = self.path("restored")
        process = subprocess.Popen(
            [program("annald"), "restore", self.path(), "--data", folder, "--config",
             self.node.conf],
            stdout=subprocess.DEVNULL,
        )
        while not os.path.exists(os.path.join(folder, "store")):
            self.assertIsNone(process.poll(), "it ended before it could be killed")
        process.kill()
        process.wait()
        self.assert_unusable(folder)
        shutil.rmtree(folder)
        code, output = annald(
            "restore", self.path(), "--data", folder, "--config", self.node.conf
        )
        self.assertEqual(code, 0, output)

    def test_usage(self):
        for arguments in (
            (), (self.path(),), ("--data", self.path("x")), (self.path(), "--data"),
            (self.path(), "--data", self.path("x"), "surplus"),
            (self.path(), "--data", self.path("x"), "--no-such-setting", "1"),
        ):
            with self.subTest(arguments=arguments):
                code, output = annald("restore", *arguments)
                self.assertEqual(code, USAGE, output)
                self.assertFalse(os.path.exists(self.path("x")))
        self.assertEqual(annald("restore", "/nonexistent", "--data", self.path("x"))[0], DIRECTORY)


class RecoverTest(BackupCase):
    def recover(self, node, *arguments):
        return annald("recover", "--data", node.data, *arguments)

    def inspect(self, node):
        code, output = self.recover(node, "--inspect")
        self.assertEqual(code, 0, output)
        return dict(line.split(": ", 1) for line in output.splitlines())

    def start_alone(self, node):
        node.restart()
        self.cluster.wait_writable(node)
        self.assertEqual(node.call("ping")["role"], "leader")

    def test_one_node_goes_on_and_others_are_added(self):
        sent = self.fill_mixed(self.cluster.leader())
        position, digest = self.cluster.wait_converged()
        for node in self.cluster.nodes.values():
            node.kill()
        facts = [self.inspect(node) for node in self.cluster.nodes.values()]
        node = self.cluster[3]
        self.assertEqual({fact["cluster"] for fact in facts}, {facts[0]["cluster"]})
        code, output = self.recover(node)
        self.assertEqual(code, USAGE, output)
        self.assertIn("--accept-loss", output)
        self.assertEqual(self.inspect(node), facts[2])
        code, output = self.recover(node, "--accept-loss")
        self.assertEqual(code, 0, output)
        after = self.inspect(node)
        self.assertNotEqual(after["cluster"], facts[2]["cluster"])
        self.assertGreater(int(after["last_term"]), int(facts[2]["term"]))
        self.assertEqual(int(after["head"]), position)
        self.start_alone(node)
        answer = node.call("digest")
        self.assertEqual((answer["position"], answer["hash"]), (position, digest))
        self.assertTrue(node.call("append", sent[3])["duplicate"])
        old = {number: self.cluster.nodes.pop(number) for number in (1, 2)}
        for number in (4, 5):
            self.add(self.cluster, number)
        answer = self.cluster.leader().call("append", {"stream": "New-1", "events": [event()]})
        self.assertEqual(answer["position"], position + 1)
        self.cluster.wait_converged()
        self.assert_old_node_is_refused(old[1])
        node.kill()
        del self.cluster.nodes[3]
        self.cluster.wait_writable(timeout=60)
        self.cluster.wait_converged()
        self.assertEqual(len(self.cluster.read_all(self.cluster[4], system=True)), position + 1)

    def assert_old_node_is_refused(self, old):
        before = self.cluster.leader().call("cluster_status")
        old.restart()
        deadline = time.monotonic() + 20
        while "another cluster" not in old.log_text():
            self.assertLess(time.monotonic(), deadline, "it says nothing of another cluster")
            time.sleep(0.1)
        time.sleep(1)
        self.assertNotEqual(old.call("ping")["role"], "leader")
        after = self.cluster.leader().call("cluster_status")
        self.assertEqual((after["term"], after["leader_id"]), (before["term"], before["leader_id"]))
        self.assertEqual([n["id"] for n in after["nodes"]], [3, 4, 5])
        old.kill()

    def test_what_was_never_agreed_upon_is_kept(self):
        """It may have been acknowledged by others that are gone: nobody can know."""
        leader = self.cluster.leader()
        self.fill(leader, 1)
        before, _ = self.cluster.wait_converged()
        others = [n for n in self.cluster.nodes.values() if n is not leader]
        for node in others:
            node.pause()
        one = event(data=b"only here")
        with self.assertRaises(RpcError) as caught:
            leader.call("append", {"stream": "Only-1", "events": [one], "timeout_ms": 300})
        self.assertEqual(caught.exception.fields.get("outcome"), "unknown")
        leader.kill()
        for node in others:
            node.kill()
        self.assertGreaterEqual(int(self.inspect(leader)["commands_to_apply"]), 1)
        code, output = self.recover(leader, "--accept-loss")
        self.assertEqual(code, 0, output)
        self.start_alone(leader)
        self.assertEqual(leader.call("ping")["head"], before + 1)
        self.assertEqual(leader.call("read_event", {"id": one["id"]})["event"][6], b"only here")

    def test_twice_is_as_good_as_once(self):
        self.fill(self.cluster.leader(), 1)
        before = self.cluster.wait_converged()
        for node in self.cluster.nodes.values():
            node.kill()
        node = self.cluster[2]
        for _ in range(2):
            code, output = self.recover(node, "--accept-loss")
            self.assertEqual(code, 0, output)
        self.start_alone(node)
        answer = node.call("digest")
        self.assertEqual((answer["position"], answer["hash"]), before)

    def test_cut_off_it_blocks_the_start_until_it_is_done_again(self):
        self.fill(self.cluster.leader(), 1)
        for node in self.cluster.nodes.values():
            node.kill()
        node = self.cluster[2]
        with open(os.path.join(node.data, "unfinished"), "w", encoding="ascii") as file:
            file.write("recover\n")
        process = node.launch()
        output, _ = process.communicate(timeout=END_SECONDS)
        self.assertEqual(process.returncode, DIRECTORY, output)
        self.assertIn("annald recover again", output)
        code, output = self.recover(node, "--accept-loss")
        self.assertEqual(code, 0, output)
        self.start_alone(node)

    def test_running_node_is_left_alone(self):
        code, output = self.recover(self.cluster[1], "--accept-loss")
        self.assertEqual(code, DIRECTORY, output)
        self.assertIn("in use", output)
        self.cluster.wait_writable()

    def test_usage(self):
        for arguments in ((), ("--data",), ("--data", "/tmp", "--inspect", "--accept-loss")):
            with self.subTest(arguments=arguments):
                self.assertEqual(annald("recover", *arguments)[0], USAGE)
        code, output = annald("recover", "--data", self.cluster.parent)
        self.assertEqual(code, DIRECTORY, output)
        self.cluster[1].kill()
        code, output = self.recover(self.cluster[1], "--node-id", "2")
        self.assertIn("node 1", output)
        self.assertEqual(code, 5, output)
