#!/usr/bin/env python3
"""How annal does as its store grows: `make bench-scale`.

  store     one store by itself (scale_store): every size × number of streams × kind of ids, one after the other
  cluster   three nodes: filled by batches, measured by `annal bench` at each size, then each node restarted

Results go to a JSON file as they come. With --resume what is there already is not measured again.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))

from annal_rpc import ConnectionLost, NoAnswer, RpcError  # noqa: E402
from cluster import Cluster, program  # noqa: E402

RESULTS = os.path.join(HERE, "results", "scale.json")
STORE_SIZES = [1_000_000, 10_000_000, 50_000_000]
STORE_STREAMS = [10_000, 1_000_000, 10_000_000]
CLUSTER_SIZES = [1_000_000, 10_000_000, 20_000_000]
CLUSTER_STREAMS = 1_000_000
CLUSTER_ROWS = "append-1,append-64,append-256,batch-100"
BYTES_PER_EVENT = 700  # on the disk, what one is taken to need at most
BYTES_LEFT = 15 << 30
FILL_SECONDS = 20
FLUSH_SECONDS = 120
RESTARTS = 5
SERVING_SECONDS = 60


def say(text):
    print(text, file=sys.stderr, flush=True)


def require_room(folder, events, copies):
    free = shutil.disk_usage(folder).free
    wanted = events * copies * BYTES_PER_EVENT + BYTES_LEFT
    if free < wanted:
        sys.exit(
            f"scale.py: {folder} has {free >> 30} GiB free; {events:,} events on {copies} node(s) want "
            f"{wanted >> 30}: give fewer (--sizes, --cluster-sizes) or another --dir"
        )


class Results:
    def __init__(self, path, resume):
        self.path = path
        self.data = {"store": [], "cluster": [], "restart": []}
        if resume and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.data = json.load(file)
        self.data["machine"] = machine()

    def has(self, part, **values):
        return any(all(row.get(name) == value for name, value in values.items()) for row in self.data[part])

    def add(self, part, row):
        row["load"] = os.getloadavg()[0]
        self.data[part].append(row)
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.data, file, indent=1)
        os.replace(self.path + ".new", self.path)


def machine():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "model": model,
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
    }


# ---- the store alone ----


def run_store(options, results, streams, ids, order):
    sizes = [
        size
        for size in options.sizes
        if not results.has("store", events=size, streams=streams, ids=ids, order=order)
    ]
    if not sizes:
        return
    require_room(options.dir, sizes[-1], 1)
    say(f"store: {streams:,} streams, ids {ids}, {order}: up to {sizes[-1]:,} events")
    command = [options.scale_store, "--sizes", ",".join(map(str, sizes)), "--streams", str(streams)]
    command += ["--ids", ids, "--order", order, "--dir", options.dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            row = json.loads(line)
            results.add("store", row)
            say(f"  {row['events']:>12,}: {row['events_per_second']:,} events/s")
    if process.returncode != 0:
        sys.exit(f"scale.py: {' '.join(command)} ended with {process.returncode}")


def run_stores(options, results):
    for ids in options.ids:
        for streams in options.streams:
            run_store(options, results, streams, ids, options.order)


# ---- a cluster ----


def memory_of(pid):
    sizes = {}
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name in ("RssAnon", "RssFile"):
                sizes[name] = int(value.split()[0]) * 1024
    return sizes["RssAnon"], sizes["RssFile"]


def stats(node):
    return node.call("stats", timeout=30)


def bench(cluster, rows, seconds, streams):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [program("annal"), "bench", "--url", cluster.url(), "--cluster-dir", cluster.folder]
        command += ["--rows", rows, "--seconds", str(seconds), "--streams", str(streams), "--json", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"scale.py: {' '.join(command)}: {done.stderr}")
        return json.load(file)["rows"]


def wait_flushed(cluster):
    """Until every node has everything in its tables: what follows pays for nothing before it."""
    deadline = time.monotonic() + FLUSH_SECONDS
    head = cluster.leader().call("ping")["head"]
    while time.monotonic() < deadline:
        if all(stats(node)["durable_position"] >= head for node in cluster.nodes.values()):
            return head
        time.sleep(0.2)
    sys.exit(f"scale.py: not everything is in the tables after {FLUSH_SECONDS} s")


def fill(cluster, size, streams):
    head = wait_flushed(cluster)
    while head < size:
        bench(cluster, "batch-100", FILL_SECONDS, streams)
        head = wait_flushed(cluster)
        say(f"  filled to {head:,}")
    return head


def measure_cluster(cluster, size, options, results):
    head = fill(cluster, size, options.cluster_streams)
    for row in bench(cluster, CLUSTER_ROWS, options.seconds, options.cluster_streams):
        memory = [memory_of(node.pid()) for node in cluster.nodes.values()]
        row.update(
            size=size,
            head=head,
            streams=options.cluster_streams,
            private_bytes=max(each[0] for each in memory),
            mapped_bytes=max(each[1] for each in memory),
        )
        results.add("cluster", row)
        say(f"  {size:>12,}: {row['row']} {row['events_per_second']:,.0f}/s, p99 {row['p99_ms']:.1f} ms")


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serving_seconds(node, head):
    """Start it, and ask until a read is answered with the event that it is asked for. Also its processor time."""
    begin = time.monotonic()
    with open(node.log, "ab") as log:
        command = [program("annald"), "--config", node.conf]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while time.monotonic() - begin < SERVING_SECONDS:
            try:
                node.call("read_all", {"from": head // 2, "limit": 1}, timeout=SERVING_SECONDS)
                return time.monotonic() - begin, processor_seconds(process.pid)
            except (OSError, ConnectionLost, NoAnswer, RpcError):
                time.sleep(0.002)
    finally:
        process.terminate()
        process.wait()
    sys.exit(f"scale.py: node {node.number} serves no reads after {SERVING_SECONDS} s")


def measure_restarts(cluster, size, results):
    """After SIGTERM all is in the tables; after SIGKILL the log since the last flush is applied again."""
    head = wait_flushed(cluster)
    node = cluster.followers()[0]
    for how in ("stop", "kill"):
        seconds = []
        for _ in range(RESTARTS):
            if how == "kill":
                bench(cluster, "append-64", 1, 512)
            node.do(how)
            seconds.append(serving_seconds(node, head))
            node.do("restart")
            cluster.wait_writable(node)
        row = {
            "size": size,
            "head": head,
            "how": how,
            "median_s": statistics.median(each[0] for each in seconds),
            "max_s": max(each[0] for each in seconds),
            "processor_s": statistics.median(each[1] for each in seconds),
        }
        results.add("restart", row)
        say(f"  {size:>12,}: after {how} reads are served within {row['median_s']:.2f} s, {row['processor_s']:.2f} s of processor time")


def run_cluster(options, results):
    sizes = [size for size in options.cluster_sizes if not results.has("restart", size=size, how="kill")]
    if not sizes:
        return
    require_room(options.dir, sizes[-1], 3)
    say(f"cluster: {options.cluster_streams:,} streams, up to {sizes[-1]:,} events")
    cluster = Cluster(3, (), tempfile.mkdtemp(prefix="annal-scale-", dir=options.dir))
    failed = True
    try:
        cluster.start()
        for size in sizes:
            measure_cluster(cluster, size, options, results)
            measure_restarts(cluster, size, results)
        failed = False
    finally:
        cluster.close(failed)


def numbers(text):
    try:
        values = [int(part.replace("_", "")) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or values != sorted(set(values)) or values[0] < 1:
        raise argparse.ArgumentTypeError("ascending numbers with commas")
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=numbers, default=STORE_SIZES, help="events of the store alone")
    parser.add_argument("--streams", type=numbers, default=STORE_STREAMS)
    parser.add_argument("--ids", type=lambda text: text.split(","), default=["v7", "v4"])
    parser.add_argument("--order", choices=("window", "uniform"), default="window")
    parser.add_argument("--cluster-sizes", type=numbers, default=CLUSTER_SIZES)
    parser.add_argument("--cluster-streams", type=int, default=CLUSTER_STREAMS)
    parser.add_argument("--seconds", type=int, default=5, help="of a row of the cluster (5)")
    parser.add_argument("--only", choices=("store", "cluster"))
    parser.add_argument("--resume", action="store_true", help="go on with what the file of results has")
    parser.add_argument("--results", default=RESULTS)
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="on the disk to be measured")
    parser.add_argument("--scale-store", default="build/release/bench/scale_store")
    options = parser.parse_args()
    results = Results(options.results, options.resume)
    if options.only != "cluster":
        run_stores(options, results)
    if options.only != "store":
        run_cluster(options, results)


if __name__ == "__main__":
    main()
