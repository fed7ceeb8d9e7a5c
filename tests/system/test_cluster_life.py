"""Nodes that stop, stay away, lose their data, come back, join and leave; and what a node refuses to
start on."""

import glob
import os
import random
import shutil
import signal
import subprocess
import time

from annal_rpc import ConnectionLost, NoAnswer, RpcError, event
from case import OwnCase
from cluster import NODES_MAX, Cluster, ClusterError

KIB, MIB = 1 << 10, 1 << 20
# So little log that a node which was away for a moment needs the records themselves.
SMALL_LOG = ("log-retained-bytes=1M", "log-trailing-bytes=256K")
END_SECONDS = 30


class LifeCase(OwnCase):
    def fill(self, node, megabytes, stream="Filler-1"):
        """Append that much through the node; returns the ids."""
        ids = []
        with node.connect() as connection:
            for _ in range(megabytes * 4):
                events = [event(data=os.urandom(4 * KIB)) for _ in range(64)]
                connection.call(
                    "append", {"stream": stream, "events": events, "timeout_ms": 30000}, 40
                )
                ids += [one["id"] for one in events]
        return ids

    def assert_same_everywhere(self, ids, timeout=120, nodes=None):
        self.cluster.wait_converged(timeout, nodes)
        for node in nodes or self.cluster.nodes.values():
            events = self.cluster.read_all(node)
            self.assertEqual([e[3] for e in events if e[4].startswith("Filler")], ids)

    def cluster_call(self, method, params, timeout=60):
        """A call that may have to wait for a leader, or for another change of members to end. An answer
        that the outcome is unknown is no failure: the caller looks what became of it."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self.cluster.leader().call(method, params, 30)
            except (OSError, ConnectionLost, NoAnswer, RpcError) as error:
                if isinstance(error, RpcError) and error.fields.get("outcome") == "unknown":
                    return None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def wait_role(self, number, role, timeout=90):
        deadline = time.monotonic() + timeout
        nodes = []
        while time.monotonic() < deadline:
            nodes = self.cluster_call("cluster_status", {})["nodes"]
            if {n["id"]: n["role"] for n in nodes}.get(number) == role:
                return
            time.sleep(0.1)
        self.fail(f"node {number} is no {role} after {timeout} s: {nodes}")


class StopTest(LifeCase):
    def launched(self, node):
        """The node, stopped and started again as a child of this process."""
        node.stop()
        process = node.launch()
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.wait_answers(node)
        return process

    def wait_answers(self, node):
        deadline = time.monotonic() + 30
        while True:
            try:
                return node.call("ping")
            except (OSError, ConnectionLost):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def test_sigterm_ends_a_follower_with_0(self):
        process = self.launched(self.cluster.followers()[0])
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(END_SECONDS), 0)
        self.cluster.wait_writable()

    def test_sigterm_on_the_leader_moves_leadership(self):
        leader = self.cluster.leader()
        process = self.launched(leader)
        deadline = time.monotonic() + 60
        while self.cluster[leader.number].call("ping")["role"] != "leader":
            self.assertLess(time.monotonic(), deadline, "leadership never went to the node asked for")
            try:
                self.cluster_call("cluster_transfer", {"id": leader.number})
            except RpcError:
                pass
            time.sleep(0.2)
        connection = self.connect(self.cluster.nodes[leader.number % 3 + 1])
        self.append(connection, "Filler-1", 3)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(END_SECONDS), 0)
        self.assertIsNot(self.cluster.leader(), leader)
        answer, _ = self.append(connection, "Filler-1", 1)
        self.assertEqual(answer["version"], 4)

    def test_sigint_ends_it_with_0_too(self):
        process = self.launched(self.cluster.followers()[0])
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(END_SECONDS), 0)

    def test_transfer_to_each_node_in_turn(self):
        for number in self.cluster.nodes:
            deadline = time.monotonic() + 60
            while self.cluster.leader().number != number:
                self.assertLess(time.monotonic(), deadline)
                self.cluster_call("cluster_transfer", {"id": number})
                time.sleep(0.2)
            self.append(self.connect(), self.new_stream())

    def test_whole_cluster_restarts_with_its_data(self):
        ids = self.fill(self.cluster[1], 2)
        before = self.cluster.wait_converged()
        for way in ("stop", "kill"):
            with self.subTest(way):
                if way == "stop":
                    self.cluster.stop()
                else:
                    for node in self.cluster.nodes.values():
                        node.kill()
                self.cluster.start()
                self.assertEqual(self.cluster.wait_converged(), before)
                self.assert_same_everywhere(ids)


class CatchUpTest(LifeCase):
    settings = SMALL_LOG

    def test_node_that_was_away_for_long(self):
        away = self.cluster.followers()[0]
        ids = self.fill(self.cluster.leader(), 1)
        away.kill()
        ids += self.fill(self.cluster.leader(), 12)
        away.restart()
        self.assert_same_everywhere(ids)
        ids += self.fill(away, 1)
        self.assert_same_everywhere(ids)

    def test_node_killed_again_and_again_while_it_catches_up(self):
        away = self.cluster.followers()[0]
        away.kill()
        ids = self.fill(self.cluster.leader(), 24)
        chance = random.Random(1)
        for _ in range(6):
            away.restart()
            time.sleep(chance.uniform(0.02, 0.6))
            away.kill()
        away.restart()
        self.assert_same_everywhere(ids)

    def test_writes_go_on_while_it_catches_up(self):
        away = self.cluster.followers()[0]
        away.kill()
        ids = self.fill(self.cluster.leader(), 12)
        away.restart()
        for _ in range(4):
            ids += self.fill(self.cluster.leader(), 1)
        self.assert_same_everywhere(ids)

    def test_peer_that_it_learns_from_dies_meanwhile(self):
        away, other = self.cluster.followers()
        away.kill()
        ids = self.fill(self.cluster.leader(), 16)
        away.restart()
        time.sleep(0.3)
        other.kill()
        time.sleep(1)
        other.restart()
        self.assert_same_everywhere(ids)

    def test_frozen_node_catches_up(self):
        away = self.cluster.followers()[0]
        away.pause()
        ids = self.fill(self.cluster.leader(), 12)
        away.resume()
        self.assert_same_everywhere(ids)


class MembersTest(LifeCase):
    settings = SMALL_LOG

    def add(self, number):
        node = self.cluster.add(number)
        self.cluster_call(
            "cluster_add",
            {"id": number, "peer_address": node.peer_address, "client_address": node.address,
             "role": "voter"},
        )
        self.wait_role(number, "voter")
        return node

    def test_wiped_node_comes_back_under_a_new_id(self):
        ids = self.fill(self.cluster.leader(), 4)
        lost = self.cluster.followers()[0]
        lost.kill()
        lost.wipe()
        self.cluster_call("cluster_remove", {"id": lost.number})
        del self.cluster.nodes[lost.number]
        self.add(4)
        status = self.cluster_call("cluster_status", {})
        self.assertEqual(
            sorted(n["id"] for n in status["nodes"]), sorted(self.cluster.nodes)
        )
        self.assert_same_everywhere(ids)
        ids += self.fill(self.cluster[4], 1)
        self.assert_same_everywhere(ids)

    def test_new_node_counts_for_the_majority(self):
        ids = self.fill(self.cluster.leader(), 1)
        for number in (4, 5):
            self.add(number)
        self.cluster.wait_converged()
        for number in (1, 2):
            self.cluster[number].kill()
            del self.cluster.nodes[number]
        self.cluster.wait_writable(timeout=60)
        ids += self.fill(self.cluster[4], 1)
        self.assert_same_everywhere(ids)

    def test_removed_leader_gives_way(self):
        ids = self.fill(self.cluster.leader(), 1)
        leader = self.cluster.leader()
        self.cluster_call("cluster_remove", {"id": leader.number})
        del self.cluster.nodes[leader.number]
        self.cluster.wait_writable(timeout=60)
        ids += self.fill(self.cluster.leader(), 1)
        self.assert_same_everywhere(ids)

    def test_one_call_removes_the_leader_whichever_node_is_asked(self):
        for asked, number in (("the leader", 4), ("a follower", 5), ("the leader", 6)):
            with self.subTest(asked=asked):
                self.add(number)
                leader = self.cluster.leader()
                node = leader if asked == "the leader" else self.cluster.followers()[0]
                result = node.call("cluster_remove", {"id": leader.number, "timeout_ms": 20000}, 30)
                self.assertEqual(result, {})
                del self.cluster.nodes[leader.number]
                status = self.cluster.leader().call("cluster_status", {})
                self.assertEqual(
                    sorted(n["id"] for n in status["nodes"]), sorted(self.cluster.nodes)
                )

    def test_one_call_hands_over_to_a_voter_that_has_just_come(self):
        for number in (4, 5):
            with self.subTest(number=number):
                self.add(number)
                for asked in (self.cluster.leader(), self.cluster.followers()[0]):
                    result = asked.call(
                        "cluster_transfer", {"id": number, "timeout_ms": 20000}, 30
                    )
                    self.assertEqual(result, {})
                    self.assertEqual(self.cluster.leader().number, number)

    def test_change_right_after_a_transfer_waits_for_the_new_leader(self):
        for turn in range(12):
            follower = self.cluster.followers()[turn % 2]
            with self.subTest(turn=turn):
                follower.call("cluster_transfer", {"id": follower.number}, 10)
                for node in (follower, self.cluster[1 + turn % 3]):
                    self.assertEqual(node.call("cluster_assign", {"id": 1, "role": "voter"}, 10), {})

    def test_members_survive_a_restart(self):
        self.add(4)
        self.cluster.stop()
        self.cluster.start()
        status = self.cluster_call("cluster_status", {})
        self.assertEqual(sorted(n["id"] for n in status["nodes"]), [1, 2, 3, 4])
        self.cluster.wait_converged()

    def test_bad_changes_are_refused(self):
        leader = self.cluster.leader()
        connection = self.connect(leader)
        for method, params in (
            ("cluster_remove", {"id": 99}),
            ("cluster_remove", {}),
            ("cluster_transfer", {"id": 99}),
            ("cluster_add", {"id": leader.number, "peer_address": "127.0.0.1:1",
                             "client_address": "127.0.0.1:2"}),
            ("cluster_add", {"id": 0, "peer_address": "127.0.0.1:1",
                             "client_address": "127.0.0.1:2"}),
            ("cluster_add", {"id": 4, "peer_address": "nonsense", "client_address": "127.0.0.1:2"}),
            ("cluster_add", {"id": 4}),
            ("cluster_assign", {"id": 1, "role": "king"}),
        ):
            with self.subTest(method=method, **params):
                with self.assertRaises(RpcError) as caught:
                    connection.call(method, params)
                self.assertIn(caught.exception.code, ("INVALID_ARGUMENT", "NOT_FOUND"))
        status = connection.call("cluster_status")
        self.assertEqual(sorted(n["id"] for n in status["nodes"]), [1, 2, 3])
        self.cluster.wait_writable()


def snapshot_of(folder):
    """Every file below with its bytes, but for locks, which name who took them last."""
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "**"), recursive=True)):
        if os.path.isfile(path) and not os.path.basename(path).startswith("lock"):
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


class RefusalCase(LifeCase):
    def assert_refuses(self, node, *flags, says=(), **options):
        """annald ends by itself with a code that is not 0, one line that a person understands, and not
        by a signal."""
        process = node.launch(*flags, **options)
        try:
            output, _ = process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            self.fail(f"it runs all the same: {output[:2000]}")
        self.assertGreater(process.returncode, 0, output)
        lines = [line for line in output.strip().split("\n") if line]
        errors = [line for line in lines if " info " not in line and " debug " not in line]
        self.assertEqual(len(errors), 1, f"one clear line was due:\n{output}")
        for word in says:
            self.assertIn(word, errors[0])
        self.assertNotIn("backtrace", output.lower())
        return errors[0]


class RefusedStartTest(RefusalCase):
    def test_second_process_on_the_same_data(self):
        node = self.cluster[1]
        port = self.cluster.base_port + NODES_MAX
        self.assert_refuses(
            node, "--client-listen", f"127.0.0.1:{port}", "--peer-listen", f"127.0.0.1:{port + 100}",
            says=[node.data],
        )
        self.append(self.connect(node), self.new_stream())

    def test_port_in_use(self):
        node = self.cluster.followers()[0]
        node.stop()
        before = snapshot_of(node.data)
        other = self.cluster.leader()
        for flag, address in (
            ("--client-listen", other.address), ("--peer-listen", other.peer_address)
        ):
            self.assert_refuses(node, flag, address, says=[address.split(":")[1]])
        self.assertEqual(snapshot_of(node.data).keys(), before.keys())
        node.restart()
        self.cluster.wait_converged()

    def test_folder_that_cannot_be_made(self):
        node = self.cluster.followers()[0]
        node.stop()
        for folder in ("/proc/annal-data", os.path.join(node.conf, "data")):
            self.assert_refuses(node, data=folder, says=[folder])

    def test_folder_of_something_else(self):
        node = self.cluster.followers()[0]
        node.stop()
        folder = os.path.join(self.cluster.parent, "foreign")
        os.makedirs(folder)
        with open(os.path.join(folder, "thesis.txt"), "w", encoding="utf-8") as file:
            file.write("years of work")
        before = snapshot_of(folder)
        self.assert_refuses(node, data=folder, says=[folder])
        self.assertEqual(snapshot_of(folder), before)

    def test_data_of_another_node(self):
        one, two = self.cluster.followers()
        one.stop()
        two.stop()
        before = snapshot_of(two.data)
        self.assert_refuses(one, data=two.data, says=[two.data, str(two.number)])
        self.assertTrue(snapshot_of(two.data) == before, "its data was touched")

    def test_data_of_another_cluster(self):
        node = self.cluster.followers()[0]
        node.stop()
        before = snapshot_of(node.data)
        self.assert_refuses(node, "--cluster-name", "other", says=["other", "local"])
        self.assertTrue(snapshot_of(node.data) == before, "its data was touched")

    def test_unknown_setting(self):
        node = self.cluster.followers()[0]
        node.stop()
        self.assert_refuses(node, "--client-lisen", "127.0.0.1:1", says=["client-lisen"])

    def test_configuration_that_is_not_there(self):
        node = self.cluster.followers()[0]
        node.stop()
        self.assert_refuses(node, conf="/nonexistent/annald.conf", says=["/nonexistent/annald.conf"])

    def test_configuration_with_an_error_names_file_and_line(self):
        node = self.cluster.followers()[0]
        node.stop()
        bad = os.path.join(self.cluster.parent, "bad.conf")
        shutil.copy(node.conf, bad)
        with open(bad, "a", encoding="utf-8") as file:
            file.write("\n[store]\nno-such-setting = 5\n")
        with open(bad, encoding="utf-8") as file:
            line = len(file.read().split("\n")) - 1
        self.assert_refuses(node, conf=bad, says=[bad, str(line), "no-such-setting"])


class DamageTest(RefusalCase):
    """A flipped bit on disk: the node says what is damaged, and neither serves nor votes."""

    def setUp(self):
        super().setUp()
        self.ids = self.fill(self.cluster.leader(), 2)
        self.node = self.cluster.followers()[0]
        self.cluster.wait_converged()

    def flip(self, path, offset):
        with open(path, "r+b") as file:
            file.seek(offset)
            byte = file.read(1)
            self.assertEqual(len(byte), 1, f"{path} has no byte {offset}")
            file.seek(offset)
            file.write(bytes([byte[0] ^ 0x10]))

    def files(self, pattern):
        found = sorted(glob.glob(os.path.join(self.node.data, "**", pattern), recursive=True))
        self.assertTrue(found, f"no {pattern} below {self.node.data}")
        return found

    def written_part(self, path):
        """Offset in the middle of what is not zero."""
        with open(path, "rb") as file:
            data = file.read().rstrip(b"\0")
        return len(data) // 2

    def test_raft_log(self):
        self.node.kill()
        with_entries = [p for p in self.files("open-*") if self.written_part(p) > 1000]
        closed = glob.glob(os.path.join(self.node.data, "**", "0*-0*"), recursive=True)
        self.assertTrue(with_entries + closed, "there is no log to damage")
        path = (with_entries + closed)[0]
        self.flip(path, self.written_part(path))
        self.assert_refuses(self.node)
        self.cluster.wait_writable(self.cluster.leader())

    def test_end_of_the_raft_log(self):
        self.node.kill()
        path = [p for p in self.files("open-*") if self.written_part(p) > 1000][0]
        self.flip(path, self.written_part(path) * 2 - 64)
        self.assert_refuses(self.node)

    def test_store(self):
        self.node.stop()  # what was applied is flushed
        path = self.files("data.mdb")[0]
        with open(path, "rb") as file:
            data = file.read()
        places = [data.find(id) for id in self.ids if data.find(id) >= 0]
        self.assertTrue(places, "no event is in the store")
        self.flip(path, places[len(places) // 2] + 1000)  # in the data behind the id
        try:
            self.node.restart()
        except ClusterError:  # refused at the start
            self.assertRegex(self.node.log_text().lower(), "damage|checksum")
        else:
            self.assert_damage_is_not_served()

    def assert_damage_is_not_served(self):
        good = {e[3]: e for e in self.cluster.read_all(self.cluster.leader())}
        try:
            found = self.cluster.read_all(self.node)
        except (OSError, ConnectionLost, NoAnswer, RpcError):
            self.assertRegex(self.node.log_text().lower(), "damage|checksum")
        else:
            self.assertEqual([one for one in found if one != good[one[3]]], [])
            self.fail("the damage was not noticed")

    def test_empty_folder_under_an_old_id(self):
        """Its vote is forgotten: it must not come back as a voter by itself."""
        self.node.kill()
        self.node.wipe()
        other = [n for n in self.cluster.followers() if n is not self.node][0]
        try:
            self.node.restart()
        except ClusterError:  # refused at the start: the safest answer
            return
        leader = self.cluster.leader()
        other.kill()
        with self.assertRaises(ClusterError, msg="writes go on with the vote of an empty node"):
            self.cluster.wait_writable(leader, timeout=10)


class OtherClusterTest(LifeCase):
    def test_nodes_of_two_clusters_do_not_mix(self):
        """A node told to join the members of another cluster neither joins nor disturbs it."""
        other = Cluster(1)
        self.addCleanup(other.close)
        other.start()
        stranger = other[1]
        stranger.stop()
        members = ",".join(
            f"{n.number}={n.peer_address}/{n.address}" for n in self.cluster.nodes.values()
        )
        process = stranger.launch("--initial-members", members, "--cluster-name", "other")
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        before = self.cluster[1].call("cluster_status")
        for _ in range(20):
            self.append(self.connect(), self.new_stream())
            time.sleep(0.1)
        after = self.cluster[1].call("cluster_status")
        self.assertEqual((after["term"], after["leader_id"]), (before["term"], before["leader_id"]))
