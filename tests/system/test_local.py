"""cluster/local.sh: what it says, and that it never touches a process that is not its own."""

import os
import subprocess
import tempfile
import time

from case import OwnCase, SharedCase
from cluster import SCRIPT, free_base_port, is_free


class Script(SharedCase):
    def script(self, *arguments, **environment):
        """(exit code, what it printed)"""
        done = subprocess.run(
            [SCRIPT, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        return done.returncode, done.stdout

    def in_cluster(self, *arguments):
        return self.script(*arguments, "--dir", self.cluster.folder)

    def new_folder(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name


class UsageTest(Script):
    def test_help(self):
        code, text = self.script("--help")
        self.assertEqual(code, 0)
        for command in ("start", "stop", "status", "kill", "pause", "resume", "restart", "add", "wipe"):
            self.assertIn(command, text)

    def test_wrong_usage(self):
        for arguments, word in (
            ([], "Usage"),
            (["begin"], "begin"),
            (["start", "--nodes", "0"], "--nodes"),
            (["start", "--nodes", "ten"], "ten"),
            (["start", "--base-port", "80"], "--base-port"),
            (["start", "--colour", "blue"], "--colour"),
            (["start", "--dir"], "--dir"),
            (["start", "5"], "5"),
            (["start", "--set", "novalue"], "novalue"),
        ):
            with self.subTest(arguments):
                code, text = self.script(*arguments)
                self.assertEqual(code, 2, text)
                self.assertIn(word, text)

    def test_wrong_nodes(self):
        for arguments, wanted in ((["kill"], 2), (["kill", "x"], 2), (["kill", "0"], 2), (["kill", "8"], 3)):
            with self.subTest(arguments):
                self.assertEqual(self.in_cluster(*arguments)[0], wanted)

    def test_no_cluster(self):
        folder = os.path.join(self.new_folder(), "none")
        for command in ("stop", "status", "url"):
            code, text = self.script(command, "--dir", folder)
            self.assertEqual(code, 3)
            self.assertIn(folder, text)

    def test_missing_programs(self):
        folder = self.new_folder()
        code, text = self.script("start", "--dir", folder + "/c", ANNAL_BIN_DIR=folder)
        self.assertEqual(code, 1)
        self.assertIn(folder, text)
        self.assertFalse(os.path.exists(folder + "/c"))

    def test_port_in_use(self):
        folder = os.path.join(self.new_folder(), "c")
        base = str(self.cluster.base_port)
        code, text = self.script("start", "--dir", folder, "--base-port", base)
        self.assertEqual(code, 1)
        self.assertIn(str(self.cluster.base_port + 1), text)
        self.assertFalse(os.path.exists(folder))

    def test_folder_of_something_else(self):
        folder = self.new_folder()
        with open(os.path.join(folder, "thesis.txt"), "w", encoding="utf-8") as file:
            file.write("years of work")
        code, text = self.script("start", "--dir", folder, "--base-port", str(free_base_port()))
        self.assertEqual(code, 1)
        self.assertIn(folder, text)
        self.assertEqual(os.listdir(folder), ["thesis.txt"])


class RunningTest(Script):
    def test_start_of_a_running_cluster_changes_nothing(self):
        before = {number: node.pid() for number, node in self.cluster.nodes.items()}
        code, text = self.in_cluster("start")
        self.assertEqual((code, text.strip()), (0, self.cluster.url()))
        self.assertEqual({number: node.pid() for number, node in self.cluster.nodes.items()}, before)

    def test_other_size_or_port_is_refused(self):
        for option, value in (("--nodes", "5"), ("--base-port", "9000")):
            code, text = self.in_cluster("start", option, value)
            self.assertEqual(code, 2, text)

    def test_status(self):
        code, text = self.in_cluster("status")
        self.assertEqual(code, 0, text)
        for node in self.cluster.nodes.values():
            self.assertIn(node.address, text)
            self.assertIn(str(node.pid()), text)

    def test_data_of_a_running_node_is_not_wiped(self):
        before = os.listdir(self.cluster[1].data)
        code, text = self.in_cluster("wipe", "1")
        self.assertEqual(code, 1)
        self.assertIn("runs", text)
        self.assertEqual(os.listdir(self.cluster[1].data), before)

    def test_existing_node_is_not_added(self):
        self.assertEqual(self.in_cluster("add", "2")[0], 1)


class StrikeTest(OwnCase):
    def state(self, node):
        with open(f"/proc/{node.pid()}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rsplit(")", 1)[1].split()[0]

    def test_kill_pause_resume_restart(self):
        node = self.cluster[2]
        first = node.pid()
        node.pause()
        self.assertEqual(self.state(node), "T")
        self.assertIn("paused", subprocess.run(
            [SCRIPT, "status", "--dir", self.cluster.folder], stdout=subprocess.PIPE, text=True,
            check=False).stdout)
        node.resume()
        self.assertIn(self.state(node), "SRD")
        node.kill()
        self.assertIsNone(node.pid())
        self.assertTrue(is_free(int(node.address.split(":")[1])))
        node.restart()
        second = node.pid()
        self.assertNotEqual(first, second)
        node.restart()
        self.assertNotEqual(second, node.pid())
        self.cluster.wait_converged()

    def test_frozen_node_can_be_stopped(self):
        self.cluster[1].pause()
        self.cluster.stop()
        self.assertEqual(self.cluster.running(), [])

    def test_stranger_under_a_reused_pid_is_left_alone(self):
        node = self.cluster[3]
        node.stop()
        stranger = subprocess.Popen(["sleep", "600"])
        self.addCleanup(stranger.wait)
        self.addCleanup(stranger.kill)
        with open(os.path.join(node.folder, "annald.pid"), "w", encoding="ascii") as file:
            file.write(f"{stranger.pid}\n")
        done = subprocess.run(
            [SCRIPT, "kill", "3", "--dir", self.cluster.folder], stderr=subprocess.PIPE, check=False
        )
        self.assertEqual(done.returncode, 3)
        self.cluster.stop()
        time.sleep(0.1)
        self.assertIsNone(stranger.poll())
