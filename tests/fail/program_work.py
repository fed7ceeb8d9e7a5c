"""Programs at work while a call of them fails: the store by itself, libannal by itself, the tool."""

import json
import os
import subprocess

from attempt import Defect, Process
from node_work import Client, command_of, few_calls, free_base_port, program

RUN_SECONDS = 30
# Of the programs here: 0 done, 1 refused or failed, 2 an argument that is of no use, 3 not reached, 70 out of memory.
ENDS = {1, 2, 3, 70}


def run(command, strike, folder, library, ends=frozenset(ENDS)):
    process = Process(command, strike, library, folder)
    try:
        process.wait(RUN_SECONDS, "the program")
        return process.check_code(ends), process
    finally:
        process.kill()


def verify(data):
    done = subprocess.run([program("annald"), "verify", data], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Defect(f"annald verify: {done.stdout.strip()} {done.stderr.strip()}")
    return done.stdout


class StoreWork:
    """What was flushed is there, the store is whole, and takes more."""

    name = "store"

    def prepare(self, scratch, library):
        pass

    def attempt(self, strike, folder, library):
        command = [program("store_work"), os.path.join(folder, "data")]
        os.mkdir(os.path.join(folder, "data"))
        code, process = run(command, strike, folder, library)
        flushed = [int(line.split()[1]) for line in process.output().splitlines() if line.startswith("flushed ")]
        backup = os.path.join(folder, "data", "backup")
        if (code == 0) != os.path.exists(backup):
            raise Defect(f"exit code {code}, and a backup is {'there' if code else 'not there'}")
        for left in (backup, backup + ".partial"):
            if os.path.exists(left):
                os.unlink(left)
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        if again.returncode != 0:
            raise Defect(f"does not open afterwards: {again.stderr.strip()}")
        first = int(again.stdout.split()[1])
        if flushed and first <= flushed[-1]:
            raise Defect(f"position {flushed[-1]} was flushed, afterwards the first flush is of {first}")
        verify(os.path.join(folder, "data"))
        return code, process.report()


class ClientWork:
    """A program that talks to a node which nothing happens to."""

    def __init__(self, name, command, check=None):
        self.name, self.command, self.check = name, command, check
        self.node = None

    def prepare(self, scratch, library):
        """The node is there until the loops end."""
        folder, base = os.path.join(scratch, "node-" + self.name), free_base_port()
        os.makedirs(folder)
        self.node = Process(command_of(os.path.join(folder, "data"), base), None, library, folder)
        self.address = f"127.0.0.1:{base + 1}"
        client = self.client()
        few_calls(client, folder)
        client.close()

    def client(self):
        return Client(self.node, self.address)

    def attempt(self, strike, folder, library):
        url = f"annal://{self.address}"
        code, process = run(self.command(url, folder), strike, folder, library)
        if self.check is not None:
            self.check(code, folder, process.output(), self)
        if not self.node.runs():
            raise Defect("the node ended")
        return code, process.report()

    def close(self):
        if self.node is not None:
            self.node.end()


def check_export(code, folder, output, work):
    path = os.path.join(folder, "events.ndjson")
    if code == 0:
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
        if len(lines) < 6 or not lines[-1].endswith("\n"):
            raise Defect(f"exit code 0, but the export has {len(lines)} lines")


def stream_of(folder):
    """One for each attempt."""
    return f"In-{os.path.basename(folder)}"


def write_events(folder):
    path = os.path.join(folder, "events.ndjson")
    with open(path, "w", encoding="utf-8") as file:
        for number in range(5):
            file.write('{"stream": "%s", "type": "came", "data": {"number": %d}}\n' % (stream_of(folder), number))
    return path


def check_import(code, folder, output, work):
    """All of the file is there, once and in order; or, when it failed, a beginning of it."""
    client = work.client()
    answer = client.call("read_all", {"query": [{"streams": [stream_of(folder)]}]})
    client.close()
    found = [json.loads(bytes(one[6])) for one in answer["events"]]
    wanted = [{"number": number} for number in range(5)]
    if found != wanted[: len(found)] or (code == 0 and found != wanted):
        raise Defect(f"exit code {code}, and {found} are there: {output.strip()}")


def programs():
    annal = program("annal")
    return [
        StoreWork(),
        ClientWork("libannal", lambda url, folder: [program("orders"), url]),
        ClientWork(
            "append",
            lambda url, folder: [annal, "append", "--url", url, "Tool-1", "--type", "tried", "--data", '{"a": [1, 2.5, null, "x"]}'],
        ),
        ClientWork("read", lambda url, folder: [annal, "read", "--url", url, "-o", "json", "--all"]),
        ClientWork("status", lambda url, folder: [annal, "status", "--url", url, "-o", "table"]),
        ClientWork(
            "export",
            lambda url, folder: [annal, "export", "--url", url, os.path.join(folder, "events.ndjson")],
            check_export,
        ),
        ClientWork(
            "import", lambda url, folder: [annal, "import", "--url", url, write_events(folder)], check_import
        ),
    ]
