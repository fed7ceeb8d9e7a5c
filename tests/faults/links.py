#!/usr/bin/env python3
"""A proxy between the nodes, a process of its own: every connection from one node to another goes through it
and can be held, delayed, slowed down, cut or refused, each direction by itself. Needs no privileges.

Started by Links. Orders are lines of JSON on standard input, each answered by one line.
"""

import asyncio
import collections
import json
import os
import random
import sys
import time

from orders import Wires

CHUNK = 65536
AHEAD_BYTES = 4 << 20  # that may wait in one direction of a connection


class Link:
    """One direction between two nodes."""

    def __init__(self):
        self.open = asyncio.Event()
        self.counts = collections.Counter()
        self.set({})

    def set(self, state):
        self.delay = state.get("delay", 0)  # seconds
        self.jitter = state.get("jitter", 0)
        self.cut = state.get("cut", 0)  # probability for each chunk
        self.rate = state.get("rate", 0)  # bytes a second; 0: any
        self.refuse = state.get("refuse", False)  # end connections, and take none
        if state.get("hold"):
            self.open.clear()
        else:
            self.open.set()


class Proxy:
    def __init__(self):
        self.links = collections.defaultdict(Link)
        self.connections = set()  # (from, to, writer, writer)
        self.random = random.Random(0)

    async def listen(self, source, target, port):
        async def serve(reader, writer):
            await self.serve(source, target, port, reader, writer)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        return server.sockets[0].getsockname()[1]

    async def serve(self, source, target, port, reader, writer):
        there, back = self.links[source, target], self.links[target, source]
        if there.refuse or back.refuse:
            there.counts["refused"] += 1
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        connection = (source, target, writer, far_writer)
        self.connections.add(connection)
        pumps = [
            asyncio.ensure_future(self.pump(reader, far_writer, there)),
            asyncio.ensure_future(self.pump(far_reader, writer, back)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            writer.transport.abort()
            far_writer.transport.abort()
            self.connections.discard(connection)

    async def pump(self, reader, writer, link):
        """Reading and writing apart: so a delay delays, but does not slow down."""
        queue, room = asyncio.Queue(), [AHEAD_BYTES]
        freed = asyncio.Event()
        sender = asyncio.ensure_future(self.send(queue, writer, link, room, freed))
        try:
            while not sender.done():
                data = await reader.read(CHUNK)
                if not data:
                    await queue.put(None)
                    await sender
                    return
                if link.cut and self.random.random() < link.cut:
                    link.counts["cut"] += 1
                    return
                wait = link.delay + self.random.random() * link.jitter
                link.counts["delayed"] += wait > 0
                await queue.put((time.monotonic() + wait, data))
                room[0] -= len(data)
                while room[0] <= 0:
                    freed.clear()
                    await freed.wait()
        except OSError:
            pass
        finally:
            sender.cancel()

    async def send(self, queue, writer, link, room, freed):
        try:
            while True:
                item = await queue.get()
                if item is None:
                    return
                due, data = item
                if due > time.monotonic():
                    await asyncio.sleep(due - time.monotonic())
                if not link.open.is_set():
                    link.counts["held"] += 1
                    await link.open.wait()
                writer.write(data)
                await writer.drain()
                if link.rate:
                    link.counts["slowed"] += 1
                    await asyncio.sleep(len(data) / link.rate)
                room[0] += len(data)
                freed.set()
        except OSError:
            pass

    async def obey(self, order):
        if "listen" in order:
            return [await self.listen(*one) for one in order["listen"]]
        if "set" in order:
            for source, target, state in order["set"]:
                self.set(source, target, state)
            return True
        links = list(self.links.items())
        return [[source, target, dict(link.counts)] for (source, target), link in links]

    def set(self, source, target, state):
        link = self.links[source, target]
        link.set(state)
        if not state.get("refuse"):
            return
        for one in list(self.connections):
            if one[:2] in ((source, target), (target, source)):
                link.counts["reset"] += 1
                one[2].transport.abort()
                one[3].transport.abort()


async def run():
    proxy = Proxy()
    loop = asyncio.get_running_loop()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        if not line:
            return
        print(json.dumps(await proxy.obey(json.loads(line))), flush=True)


class Links(Wires):
    """The proxy, seen from the suite."""

    def __init__(self):
        super().__init__(__file__)

    def listen(self, wanted):
        """`wanted`: (from, to, port of the node `to`). The ports that stand for these."""
        return self.order(listen=wanted)


if __name__ == "__main__":
    asyncio.run(run())
    sys.stdout.flush()
    os._exit(0)  # connections that are held would keep it
