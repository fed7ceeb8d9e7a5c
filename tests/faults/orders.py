"""What the suite says to the process between the nodes, be it the proxy (links.py) or the switch (fabric.py).

Orders are lines of JSON, each answered by one. Several faults may act on the same links at the same time: each says
what it wants there, and takes back no more than that.
"""

import collections
import json
import subprocess
import sys
import threading


def together(states):
    """What is asked of one direction by all who ask: the worse of it."""
    result = {}
    for state in states:
        for name, value in state.items():
            if name == "ports":
                result[name] = sorted({*value, *result.get(name, ())})
            elif name == "rate" and result.get(name):
                result[name] = min(value, result[name]) if value else result[name]
            else:
                result[name] = max(value, result.get(name, value))
    return result


class Wires:
    def __init__(self, script, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.lock = threading.Lock()  # an order and its answer belong together; over `asked`, too
        self.asked = collections.defaultdict(dict)  # (from, to) -> {who asks: state}

    def order(self, **order):
        with self.lock:
            return self.tell(order)

    def tell(self, order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def set(self, pairs, by=None, **state):
        """`by`: who asks for it. Without a state: that one asks for nothing any more."""
        with self.lock:
            for pair in pairs:
                self.asked[pair].pop(by, None)
                if state:
                    self.asked[pair][by] = state
            self.tell({"set": [[*pair, together(self.asked[pair].values())] for pair in pairs]})

    def counts(self, pairs):
        """What was done to these directions so far, by what it was."""
        total = collections.Counter()
        for source, target, counts in self.order():
            if (source, target) in pairs:
                total.update(counts)
        return total

    def close(self):
        if self.process.stdin.closed:
            return
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
