#!/usr/bin/env python3
"""Memory of the nodes at full load: `make soak SECONDS=600`.

Three nodes take as many appends as they can. Meanwhile a follower is frozen in short turns, one subscriber
of everything does not read, another one reads slowly, and everything is read again and again. The private
memory of each node is printed at intervals. The run fails when it is more than the node's gauge
`memory_bound_bytes`, when it grows (the mean of the last third of the run against that of the third
before), or when the load did not come about.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

from annal_rpc import ConnectionLost, NoAnswer, RpcError, packed  # noqa: E402
from cluster import Cluster, program  # noqa: E402

MIB = 1 << 20
BYTES_LEFT = 15 << 30
SAMPLE_SECONDS = 5
FROZEN_SECONDS, AWAKE_SECONDS = 1.5, 4
SLOW_BYTES, SLOW_PAUSE = 16 << 10, 0.25
GROWTH_RATIO, GROWTH_BYTES = 1.10, 32 * MIB  # of the mean, from the second third to the last
APPENDS_PER_SECOND_MIN = 1000


class Task(threading.Thread):
    """Does something again and again until it is told to stop; a failure of it fails the run."""

    def __init__(self, cluster):
        super().__init__(daemon=True, name=type(self).__name__)
        self.cluster = cluster
        self.stopping = threading.Event()
        self.problem = None
        self.turns = 0

    def run(self):
        try:
            while not self.stopping.is_set():
                self.turn()
                self.turns += 1
        except Exception as error:  # it is told at the end
            self.problem = f"{self.name}: {error!r}"

    def end(self):
        self.stopping.set()
        self.join(60)


class Bench(Task):
    """A row of `annal bench`, the client in C."""

    row = None
    refused = 0  # turns that a frozen node may have ended

    def turn(self):
        command = [program("annal"), "bench", "--url", self.cluster.url(), "--rows", self.row, "--seconds", "10"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not self.stopping.wait(0.1):
                pass
            process.terminate()
            said = process.stderr.read()
        if process.returncode not in (0, -signal.SIGTERM):
            self.refused += 1
            self.said = said


class Appends(Bench):
    row = "append-256"


class Reads(Bench):
    row = "read-all"


class Freezer(Task):
    """A follower that stops in short turns."""

    def turn(self):
        node = self.cluster.followers()[0]
        pid = node.pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            self.stopping.wait(FROZEN_SECONDS)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.stopping.wait(AWAKE_SECONDS)


class Subscriber(Task):
    """Of everything from the start; begins again when the node has cut it off."""

    bytes_read = 0

    def __init__(self, cluster, number):
        super().__init__(cluster)
        self.node = cluster[number]

    def turn(self):
        host, port = self.node.address.rsplit(":", 1)
        try:
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(packed([0, 1, "subscribe", [{"query": "all", "after": 0}]]))
                connection.settimeout(0.1)
                self.follow(connection)
        except OSError:
            self.stopping.wait(1)  # cut off, or the node is frozen: again


class Deaf(Subscriber):
    """Reads nothing; a node that cuts it off is looked at by the error on its socket."""

    def follow(self, connection):
        while not self.stopping.wait(0.5):
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return
            connection.send(packed([0, 2, "ping", [{}]]))


class Slow(Subscriber):
    def follow(self, connection):
        while not self.stopping.wait(SLOW_PAUSE):
            try:
                data = connection.recv(SLOW_BYTES)
            except TimeoutError:
                continue
            if not data:
                return
            self.bytes_read += len(data)


# ---- what the nodes take ----


def memory_of(pid):
    sizes = {}
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in ("RssAnon", "RssFile"):
                sizes[name] = int(value.split()[0]) * 1024
    return sizes


def sample(cluster, started):
    taken = {"seconds": time.monotonic() - started, "nodes": {}}
    for number, node in cluster.nodes.items():
        each = memory_of(node.pid())
        try:
            stats = node.call("stats", timeout=1)
            for name in ("head", "tail_bytes", "log_bytes", "unsent_bytes", "memory_bound_bytes", "connections"):
                each[name] = stats[name]
        except (OSError, ConnectionLost, NoAnswer, RpcError):
            pass  # frozen
        taken["nodes"][number] = each
    return taken


def print_head(cluster):
    parts = "".join(f"  node {number}: private mapped   tail unsent" for number in cluster.nodes)
    print(f"{'s':>5} {'events':>12}{parts}   (MiB)", flush=True)


def print_sample(taken):
    head = max((node.get("head", 0) for node in taken["nodes"].values()), default=0)
    cells = ""
    for node in taken["nodes"].values():
        cells += f"{'':8}{node['RssAnon'] / MIB:>8.0f} {node['RssFile'] / MIB:>6.0f}"
        cells += "".join(
            f" {node[name] / MIB:>6.0f}" if name in node else "      –" for name in ("tail_bytes", "unsent_bytes")
        )
    print(f"{taken['seconds']:>5.0f} {head:>12,}{cells}", flush=True)


# ---- the verdict ----


def private_between(samples, number, first, last):
    end = samples[-1]["seconds"]
    return [
        taken["nodes"][number]["RssAnon"] for taken in samples if first * end < taken["seconds"] <= last * end
    ]


def judge_node(samples, number):
    every = [taken["nodes"][number] for taken in samples]
    bounds = [each["memory_bound_bytes"] for each in every if "memory_bound_bytes" in each]
    most = max(each["RssAnon"] for each in every)
    middle = statistics.mean(private_between(samples, number, 1 / 3, 2 / 3))
    last = statistics.mean(private_between(samples, number, 2 / 3, 1))
    print(
        f"node {number}: at most {most / MIB:.0f} MiB of {bounds[0] / MIB:.0f} allowed; in the mean {middle / MIB:.0f} "
        f"in the second third, {last / MIB:.0f} in the last"
    )
    if most > bounds[0]:
        yield f"node {number} took {most / MIB:.0f} MiB, its settings allow {bounds[0] / MIB:.0f}"
    if last > middle * GROWTH_RATIO + GROWTH_BYTES:
        yield f"node {number} grows: {middle / MIB:.0f} MiB, then {last / MIB:.0f}"


def judge(samples, tasks):
    problems = [task.problem for task in tasks if task.problem]
    for number in samples[0]["nodes"]:
        problems += judge_node(samples, number)
    heads = [max(node.get("head", 0) for node in taken["nodes"].values()) for taken in samples]
    rate = (heads[-1] - heads[0]) / (samples[-1]["seconds"] - samples[0]["seconds"])
    did = ", ".join(f"{task.name} {task.turns}" for task in tasks)
    print(f"{heads[-1]:,} events, {rate:,.0f}/s; turns: {did}")
    if rate < APPENDS_PER_SECOND_MIN:
        problems.append(f"only {rate:.0f} appends a second: that is no load")
    for task in tasks:
        if isinstance(task, Bench) and task.refused > task.turns / 2:
            problems.append(f"{task.name}: {task.refused} of {task.turns} turns failed: {task.said}")
        if isinstance(task, Slow) and task.bytes_read == 0:
            problems.append("the slow subscriber got nothing")
        if isinstance(task, Freezer) and task.turns < 2:
            problems.append("the follower was hardly ever frozen")
    return problems


def draw(samples, path):
    if not shutil.which("gnuplot"):
        sys.exit("soak.py: gnuplot is missing: apt-get install gnuplot-nox")
    script = ["set terminal svg size 640,360 dynamic font 'sans-serif,11' background '#ffffff'"]
    script += [f"set output '{path}'", "set title 'Private memory of the nodes at full load'"]
    script += ["set xlabel 's'", "set ylabel 'MiB'", "set yrange [0:*]", "set grid", "set key outside right"]
    for number in samples[0]["nodes"]:
        script.append(f"$node{number} << END")
        script += [f"{taken['seconds']:.0f} {taken['nodes'][number]['RssAnon'] / MIB:.1f}" for taken in samples]
        script.append("END")
    lines = ", ".join(f"$node{number} with lines lw 2 title 'node {number}'" for number in samples[0]["nodes"])
    done = subprocess.run(["gnuplot"], input="\n".join([*script, "plot " + lines]), text=True, check=False)
    if done.returncode != 0:
        sys.exit("soak.py: gnuplot failed")


def watch(cluster, seconds, tasks):
    started = time.monotonic()
    samples = []
    print_head(cluster)
    while not samples or samples[-1]["seconds"] < seconds:
        if any(task.problem for task in tasks):
            break
        if shutil.disk_usage(cluster.folder).free < BYTES_LEFT:
            sys.exit(f"soak.py: less than {BYTES_LEFT >> 30} GiB are free: fewer SECONDS, or another TMPDIR")
        samples.append(sample(cluster, started))
        print_sample(samples[-1])
        time.sleep(min(SAMPLE_SECONDS, seconds / 12))
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--plot", metavar="FILE", help="draw the memory over time (SVG, by gnuplot)")
    parser.add_argument("--json", metavar="FILE", help="keep the samples")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the nodes")
    parser.add_argument("--dir", default=tempfile.gettempdir())
    options = parser.parse_args()
    cluster = Cluster(3, options.set, tempfile.mkdtemp(prefix="annal-soak-", dir=options.dir))
    tasks, problems = [], ["it was cut off"]
    try:
        cluster.start()
        leader = cluster.leader().number
        steady = cluster.followers()[1].number
        print(f"node {leader} leads and has the deaf subscriber, node {steady} has the slow one, the third is frozen in turns")
        tasks = [Appends(cluster), Reads(cluster), Freezer(cluster), Deaf(cluster, leader), Slow(cluster, steady)]
        for task in tasks:
            task.start()
        samples = watch(cluster, options.seconds, tasks)
        for task in tasks:
            task.end()
        if options.json:
            with open(options.json, "w", encoding="utf-8") as file:
                json.dump(samples, file)
        if options.plot:
            draw(samples, options.plot)
        problems = judge(samples, tasks)
    finally:
        for task in tasks:
            task.end()
        cluster.close(bool(problems))
    for problem in problems:
        print(f"FAILED: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
