"""A cluster whose nodes run behind the library of this suite, and behind its proxy or in its network of packets. Still started and struck by
cluster/local.sh: it finds a script in the place of annald, which adds to the environment."""

import mmap
import os
import shlex
import struct
import time

from cluster import Cluster, program
from fabric import PREFIX, Fabric
from links import Links

NODES_MAX = 20  # members and those that replace them
# Slots of the control page: see interpose.h.
FAIL_ERRNO, FAIL_KINDS, FAIL_AFTER, DELAY_US, FREE_BYTES = range(5)
REALTIME_NS, CLOCK_SEQUENCE, CLOCK_RATE_PPM, CLOCK_REAL_NS, CLOCK_SHOWN_NS = range(5, 10)
FAILED_WRITES, FAILED_LOG, FAILED_SYNCS, FAILED_ALLOCATIONS, DELAYED, FREE_ASKED = range(32, 38)
REALTIME_ASKED, MONOTONIC_ASKED, REROUTED, WRITES, SYNCS, LOG_WRITES, EXIT = range(38, 45)
WRITE, LOG, SYNC, ALLOCATE = 1, 2, 4, 8
PAGE_BYTES = 512

# Small, so that segments roll, snapshots are taken and records pulled all the time.
SETTINGS = (
    "segment-bytes=4M", "max-append=1M", "max-event=512K", "log-retained-bytes=8M",
    "log-trailing-bytes=4M", "tail-bytes=4M", "disk-free-bytes=64M",
)


class Control:
    """The page by which a node's library takes orders, and in which it counts."""

    def __init__(self, path):
        with open(path, "w+b") as file:
            file.truncate(PAGE_BYTES)
            self.page = mmap.mmap(file.fileno(), PAGE_BYTES)

    def get(self, slot):
        return struct.unpack_from("<q", self.page, slot * 8)[0]

    def set(self, slot, value):
        struct.pack_into("<q", self.page, slot * 8, value)

    def fail(self, kinds, error, after=0):
        self.set(FAIL_KINDS, kinds)
        self.set(FAIL_AFTER, after)
        self.set(FAIL_ERRNO, error)

    def failures(self):
        return sum(self.get(slot) for slot in (FAILED_WRITES, FAILED_LOG, FAILED_SYNCS, FAILED_ALLOCATIONS))

    def set_clock_rate(self, ppm):
        """CLOCK_MONOTONIC goes on from what it shows now, at another rate."""
        now = time.monotonic_ns()
        shown = self.get(CLOCK_SHOWN_NS)
        if shown:
            passed = now - self.get(CLOCK_REAL_NS)
            now_shown = shown + passed + passed * self.get(CLOCK_RATE_PPM) // 1000000
        else:
            now_shown = now
        self.set(CLOCK_SEQUENCE, self.get(CLOCK_SEQUENCE) + 1)
        self.set(CLOCK_RATE_PPM, ppm)
        self.set(CLOCK_REAL_NS, now)
        self.set(CLOCK_SHOWN_NS, now_shown)
        self.set(CLOCK_SEQUENCE, self.get(CLOCK_SEQUENCE) + 1)
        return now_shown - now

    def exit_code(self):
        """None: it was ended by a signal, or runs."""
        code = self.get(EXIT)
        return code - 1 if code else None


class FaultCluster(Cluster):
    """`packets`: each node has a namespace of its own, whether the cell strikes links or not."""

    def __init__(self, nodes, folder, interpose, with_links=False, with_journal=False, packets=False):
        super().__init__(nodes, SETTINGS, folder, hosts=PREFIX if packets else None)
        self.interpose = interpose
        self.with_journal = with_journal
        self.packets = packets
        self.links = Fabric(NODES_MAX) if packets else Links() if with_links else None
        self.controls = {}
        self.routes = {}
        self.next_number = nodes + 1
        self.make_programs()
        if self.links is not None and not packets:
            self.make_routes()
        for number in range(1, NODES_MAX + 1):
            self.make_environment(number)

    def make_programs(self):
        """A folder in the place of ANNAL_BIN_DIR."""
        folder = os.path.join(self.parent, "bin")
        os.makedirs(folder)
        os.symlink(os.path.abspath(program("annal")), os.path.join(folder, "annal"))
        script = os.path.join(folder, "annald")
        with open(script, "w", encoding="utf-8") as file:
            file.write(
                "#!/bin/sh\n"
                f'. {shlex.quote(self.parent)}/"$(basename "$(dirname "$2")").env"\n'
                f"exec $FAULT_INSIDE {shlex.quote(os.path.abspath(program('annald')))} \"$@\"\n"
            )
        os.chmod(script, 0o755)
        self.environment = {**os.environ, "ANNAL_BIN_DIR": folder}

    def make_routes(self):
        wanted = []
        for source in range(1, NODES_MAX + 1):
            for target in range(1, NODES_MAX + 1):
                if source != target:
                    wanted += [(source, target, self.base_port + shift + target) for shift in (0, 100)]
        for (source, _, port), stand_in in zip(wanted, self.links.listen(wanted)):
            self.routes.setdefault(source, []).append(f"{port}:{stand_in}")

    def make_environment(self, number):
        control = os.path.join(self.parent, f"node-{number}.control")
        self.controls[number] = Control(control)
        values = {
            "FAULT_CONTROL": control,
            "FAULT_FOLDER": os.path.join(self.folder, f"node-{number}", "data"),
            "LD_PRELOAD": os.path.abspath(self.interpose),
        }
        if self.with_journal:
            values["FAULT_JOURNAL"] = self.journal(number)
        if self.packets:
            values["FAULT_INSIDE"] = " ".join(self.links.command(number))
        elif self.links is not None:
            values["FAULT_ROUTES"] = ",".join(self.routes[number])
        with open(os.path.join(self.parent, f"node-{number}.env"), "w", encoding="utf-8") as file:
            for name, value in values.items():
                file.write(f"export {name}={shlex.quote(value)}\n")

    def journal(self, number):
        folder = os.path.join(self.parent, "journals")
        os.makedirs(folder, exist_ok=True)
        return os.path.join(folder, f"node-{number}")

    def add_new(self):
        """A node with a number of its own that is no member yet; None when there are no more numbers."""
        if self.next_number > NODES_MAX:
            return None
        number = self.next_number
        self.next_number += 1
        return self.add(number)

    def forget(self, number):
        """A node that is no member any more, and is not to come back."""
        node = self.nodes.pop(number)
        node.do("stop")
        return node

    def close(self, failed=False):
        try:
            super().close(failed)
        finally:
            if self.links is not None:
                self.links.close()
