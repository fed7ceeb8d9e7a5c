"""A node at work under memcheck, twice on the same data: every kind of request, flushes, a cut of the log, a backup;
the tool against it; then the subcommands of annald that work on a data directory."""

import os
import subprocess

from attempt import Defect
from node_work import Client, Gone, all_calls, command_of, free_base_port, program

CALLS_SECONDS = 600
END_SECONDS = 120
TOOL_SECONDS = 300


class Node:
    """What a Client wants of a process."""

    def __init__(self, command, folder):
        self.output = open(os.path.join(folder, "node.log"), "ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT
        )

    def runs(self):
        return self.process.poll() is None

    def end(self):
        """The exit code."""
        try:
            if self.runs():
                self.process.terminate()
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Defect(f"the node still ran {END_SECONDS} s after SIGTERM") from None
        finally:
            self.output.close()


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    if done.returncode != 0:
        raise Defect(f"{os.path.basename(command[-1])}: ended with {done.returncode}: {done.stderr.strip()}")


def use_tool(memcheck, log, url, folder):
    annal, file = [*memcheck(log), program("annal")], os.path.join(folder, "events.ndjson")
    target = ["--url", url]
    run([*annal, "append", *target, "Tool-1", "--type", "tried", "--data", '{"a": [1, 2.5, null]}'])
    run([*annal, "read", *target, "-o", "json", "Order-1"])
    run([*annal, "status", *target, "-o", "table"])
    run([*annal, "export", *target, file])
    run([*annal, "import", *target, file])
    run([*annal, "backup", *target, os.path.join(folder, "backup")])


def serve(memcheck, log, data, folder, with_tool):
    base = free_base_port()
    node = Node([*memcheck(log), *command_of(data, base)], folder)
    client = Client(node, f"127.0.0.1:{base + 1}", CALLS_SECONDS)
    try:
        all_calls(client, folder)
        if with_tool:
            use_tool(memcheck, log, f"annal://{client.address}?timeout_ms=60000", folder)
    except Gone:
        pass
    finally:
        client.close()
        status = node.end()
    if status != 0:
        raise Defect(f"the node ended with {status}")


def run_all(memcheck, log, folder):
    data, other = os.path.join(folder, "data"), os.path.join(folder, "restored")
    serve(memcheck, log, data, os.path.join(folder, "first"), with_tool=True)
    serve(memcheck, log, data, os.path.join(folder, "second"), with_tool=False)
    annald = [*memcheck(log), program("annald")]
    run([*annald, "verify", data])
    run([*annald, "restore", os.path.join(folder, "first", "backup"), "--data", other, "--peer-advertise", "127.0.0.1:2", "--client-advertise", "127.0.0.1:1"])
    run([*annald, "verify", other])


def work(memcheck, log, scratch):
    folder = os.path.join(scratch, "work")
    for name in ("first", "second"):
        os.makedirs(os.path.join(folder, name))
    try:
        run_all(memcheck, log, folder)
    except (Defect, subprocess.TimeoutExpired) as problem:
        return str(problem)
    return ""
