"""The examples of docs/protocol.md are what a node answers, in the order of the page.

    call METHOD {params}        or  notify METHOD [params]
    → {result}                      the answer, or
    ✗ {error}                       its error, then
    ← METHOD [params]               notifications of the subscriptions of this page, in order

All of it is JSON, but for `…`: one value of any kind; last in a map or an array, any further ones. Text
stands for bytes that are UTF-8, "hex:00ff" for others. Every method has an example.
"""

import json
import os
import re
import unittest

from annal_rpc import RpcError, Subscription
from cluster import ROOT, Cluster

ANY = "…"
METHOD = re.compile(r'X\("([^"]+)", method_')
BLOCK = re.compile(r"^```annal\n(.*?)^```$", re.M | re.S)


def parse(text):
    """JSON with … in it."""
    text = re.sub(r"([{,]\s*)…(\s*})", r'\1"…": "…"\2', text)
    text = re.sub(r"([\[,:]\s*)…", r'\1"…"', text)
    return json.loads(text)


def to_wire(value):
    if isinstance(value, dict):
        return {name: to_wire(part) for name, part in value.items()}
    if isinstance(value, list):
        return [to_wire(part) for part in value]
    if isinstance(value, str) and value.startswith("hex:"):
        return bytes.fromhex(value[4:])
    return value


def from_wire(value):
    if isinstance(value, dict):
        return {name: from_wire(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [from_wire(part) for part in value]
    if isinstance(value, bytes):
        try:
            return value.decode() if len(value) != 16 else "hex:" + value.hex()
        except UnicodeDecodeError:
            return "hex:" + value.hex()
    return value


def matches(shown, found):
    if shown == ANY:
        return True
    if isinstance(shown, dict) and isinstance(found, dict):
        names = set(shown) - {ANY}
        complete = ANY in shown or names == set(found)
        return complete and all(name in found and matches(shown[name], found[name]) for name in names)
    if isinstance(shown, list) and isinstance(found, list):
        if shown and shown[-1] == ANY and len(found) >= len(shown) - 1:
            shown, found = shown[:-1], found[: len(shown) - 1]
        return len(shown) == len(found) and all(map(matches, shown, found))
    return type(shown) is type(found) and shown == found


class Page:
    def __init__(self, connection, places):
        self.connection = connection
        self.places = places  # text of the page → what stands for it here
        self.methods = set()

    def read(self, text):
        """Lines of one block: each statement, what follows it, and where it begins."""
        for shown, actual in self.places.items():
            text = text.replace(shown, actual)
        for line in text.splitlines():
            if line.startswith(" "):
                raise AssertionError(f"one line each: {line}")
            if line and not line.startswith("#"):
                kind, _, rest = line.partition(" ")
                yield kind, rest

    def run(self, block):
        answer = None
        for kind, rest in self.read(block):
            if kind in ("call", "notify"):
                method, _, params = rest.partition(" ")
                answer = self.send(kind, method, to_wire(parse(params)))
            elif kind in "→✗":
                self.compare(rest, answer if answer[0] == kind else None, answer)
            elif kind == "←":
                self.receive(*rest.split(" ", 1))
            else:
                raise AssertionError(f"neither a call nor an answer: {kind} {rest}")

    def send(self, kind, method, params):
        if kind == "notify":
            self.connection.notify(method, params)
            return None
        self.methods.add(method)
        try:
            result = self.connection.call(method, params, 30)
        except RpcError as error:
            return "✗", from_wire(error.fields)
        return "→", from_wire(result)

    def compare(self, shown, found, answer):
        if found is None or not matches(parse(shown), found[1]):
            raise AssertionError(
                f"the page shows  {shown}\nthe node answers {answer[0]} {json.dumps(answer[1], ensure_ascii=False)}"
            )

    def receive(self, method, shown):
        parsed = parse(shown)
        name, params = Subscription(self.connection, parsed[0], 0).next()
        if name != method or not matches(parsed, from_wire(params)):
            raise AssertionError(f"the page shows ← {method} {shown}\nthere came {name} {from_wire(params)}")


class ProtocolTest(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(3)
        self.addCleanup(self.cluster.close)
        self.cluster.start()
        self.cluster.add(4)
        self.backup = os.path.join(self.cluster.folder, "orders.annal")

    def page(self):
        with open(os.path.join(ROOT, "docs", "protocol.md"), encoding="utf-8") as file:
            return file.read()

    def places(self):
        spare = self.cluster[4].address
        host, port = spare.rsplit(":", 1)
        return {
            "127.0.0.1:7004": spare,
            "127.0.0.1:7104": f"{host}:{int(port) + 100}",
            "/var/backups/orders.annal": self.backup,
        }

    def test_every_example(self):
        blocks = BLOCK.findall(self.page())
        self.assertTrue(blocks)
        with self.cluster.leader().connect() as connection:
            page = Page(connection, self.places())
            for block in blocks:
                with self.subTest(block=block):
                    page.run(block)
        with open(os.path.join(ROOT, "node", "methods.h"), encoding="utf-8") as file:
            listed = {name for name in METHOD.findall(file.read()) if not name.startswith("$")}
        self.assertEqual(page.methods, listed, "each method has an example that was run")


if __name__ == "__main__":
    unittest.main()
