"""The commands that work on a node's data while it does not run, and on backups, while a call of them fails: restore,
recover and verify of annald, backup and verify of the tool."""

import os
import shutil
import subprocess
import threading

from attempt import Defect, wait_until
from node_work import RpcError, NodeWork, all_calls, check_whole, command_of, free_base_port, program
from program_work import ClientWork, run, verify

# Of the commands of annald: as a node that starts, but never "damaged" (4) or "of another cluster" (5).
ENDS_OF_COMMANDS = {1, 2, 3, 70, 71}
NODE_SECONDS = 20
DIRECTORY = 3  # the exit code of a node on a folder that a command has not finished


class Template:
    """The data of a node that has worked, and a backup of it: made once, for all of the works below."""

    def __init__(self):
        self.work = None

    def prepare(self, scratch, library):
        if self.work is None:
            self.work = NodeWork("commands", all_calls, template=True)
            self.work.prepare(scratch, library)

    @property
    def acknowledged(self):
        return self.work.acknowledged

    @property
    def data(self):
        return os.path.join(self.work.template, "data")

    @property
    def backup(self):
        return os.path.join(self.work.template, "backup-0")

    @property
    def in_backup(self):
        """all_calls appends five times two events behind it."""
        return dict(sorted(self.acknowledged.items(), key=lambda one: one[1])[:-10])


def where_reached(base):
    return ["--client-advertise", f"127.0.0.1:{base + 1}", "--peer-advertise", f"127.0.0.1:{base + 101}"]


class RestoreWork:
    """Done, the folder is a node with all of the backup. Else no node starts on what is left, or one that has all; and
    once that is removed, the same command does it."""

    name = "restore"

    def __init__(self, template):
        self.template = template

    def prepare(self, scratch, library):
        self.template.prepare(scratch, library)

    def attempt(self, strike, folder, library):
        data, base = os.path.join(folder, "data"), free_base_port()
        command = [program("annald"), "restore", self.template.backup, "--data", data, *where_reached(base)]
        code, process = run(command, strike, folder, library, ENDS_OF_COMMANDS)
        if code != 0 and not self._starts(data, base):
            shutil.rmtree(data, ignore_errors=True)
            again = subprocess.run(command, capture_output=True, text=True, check=False)
            if again.returncode != 0:
                raise Defect(f"cannot be done again: {again.stderr.strip()}")
        check_whole(data, base, self.template.in_backup, library, folder)
        return code, process.report()

    @staticmethod
    def _starts(data, base):
        """Whether it holds all that a node needs; else one must refuse it, or there is nothing."""
        if not os.path.isdir(data) or not os.listdir(data):
            return False
        mark = os.path.join(data, "unfinished")
        if not os.path.exists(mark) or not os.path.getsize(mark):
            return os.path.isdir(os.path.join(data, "raft"))
        done = subprocess.run(command_of(data, base), capture_output=True, text=True, timeout=20, check=False)
        if done.returncode != DIRECTORY or "not finished" not in done.stderr:
            raise Defect(f"a node on what was left ends with {done.returncode}: {done.stderr.strip()}")
        return False


class RecoverWork:
    """Done, or done again, the node has all that was acknowledged."""

    name = "recover"

    def __init__(self, template):
        self.template = template

    def prepare(self, scratch, library):
        self.template.prepare(scratch, library)

    def attempt(self, strike, folder, library):
        data, base = os.path.join(folder, "data"), free_base_port()
        shutil.copytree(self.template.data, data)
        command = [program("annald"), "recover", "--data", data, "--accept-loss", *where_reached(base)]
        command += ["--segment-bytes", "3M", "--max-append", "512K", "--max-event", "256K"]
        code, process = run(command, strike, folder, library, ENDS_OF_COMMANDS)
        if code != 0:
            again = subprocess.run(command, capture_output=True, text=True, check=False)
            if again.returncode != 0:
                raise Defect(f"cannot be done again: {again.stderr.strip()}")
        check_whole(data, base, self.template.acknowledged, library, folder)
        return code, process.report()


class VerifyWork:
    """It says that the data is whole, or that it could not be read; never that it is damaged."""

    def __init__(self, name, template, command, praise):
        self.name, self.template, self.command, self.praise = name, template, command, praise

    def prepare(self, scratch, library):
        self.template.prepare(scratch, library)

    def attempt(self, strike, folder, library):
        code, process = run(self.command(self.template), strike, folder, library, ENDS_OF_COMMANDS)
        output = process.output()
        if "damaged" in output or (code == 0 and self.praise not in output):
            raise Defect(f"exit code {code}, and it says: {output.strip()}")
        verify(self.template.data)
        return code, process.report()


class BackupWork(ClientWork):
    """A file that is there is whole, whatever became of the tool that asked for it. A node makes one at a time."""

    def __init__(self):
        super().__init__("backup", self._command)
        self._one_at_a_time = threading.Lock()

    @staticmethod
    def _command(url, folder):
        return [program("annal"), "backup", "--url", url, os.path.join(folder, "backup")]

    def attempt(self, strike, folder, library):
        path = os.path.join(folder, "backup")
        with self._one_at_a_time:
            code, report = super().attempt(strike, folder, library)
            wait_until(lambda: self._is_idle(path), NODE_SECONDS, "the end of a backup that nobody waits for")
        if code == 0 or os.path.exists(path):
            done = subprocess.run([program("annal"), "verify", path], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise Defect(f"exit code {code}, the backup is not whole: {done.stdout.strip()} {done.stderr.strip()}")
        return code, report

    def _is_idle(self, path):
        """Another backup is taken, so that none is under way."""
        client, other = self.client(), path + "-after"
        client.call("ping")
        try:
            client.connection.call("backup", {"path": other})
        except RpcError as error:
            if error.code != "OVERLOADED":
                raise
            return False
        finally:
            client.close()
        return not os.path.exists(path + ".partial")


def commands():
    template = Template()
    annald, annal = program("annald"), program("annal")
    return [
        RestoreWork(template),
        RecoverWork(template),
        VerifyWork("verify", template, lambda made: [annald, "verify", made.data], "whole"),
        VerifyWork("verify-file", template, lambda made: [annal, "verify", made.backup], '"state":"good"'),
        BackupWork(),
    ]
