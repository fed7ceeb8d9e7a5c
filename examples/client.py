#!/usr/bin/python3
"""A whole annal client: python3 client.py [HOST [PORT]]"""
import itertools, socket, sys, uuid
import msgpack


class Annal:
    def __init__(self, host="127.0.0.1", port=7001):
        self.socket = socket.create_connection((host, port), timeout=10)
        self.unpacker = msgpack.Unpacker()
        self.ids = itertools.count()

    def call(self, method, **params):
        msgid = next(self.ids)
        self.socket.sendall(msgpack.packb([0, msgid, method, [params]]))
        while True:
            for message in self.unpacker:
                if message[0] == 1 and message[1] == msgid:
                    if message[2] is not None:
                        raise RuntimeError(message[2])
                    return message[3]
            self.unpacker.feed(self.socket.recv(65536) or sys.exit("connection lost"))


annal = Annal(*[kind(text) for kind, text in zip((str, int), sys.argv[1:])])
stream = f"Order-{uuid.uuid4()}"
event = {"id": uuid.uuid4().bytes, "type": "OrderPlaced", "data": b'{"amount": 42}'}
done = annal.call("append", stream=stream, expected_version="no_stream", events=[event])
print(done)
read = annal.call("read_stream", stream=stream, consistency={"at_least": done["position"]})
for position, version, created, id, name, type, data, metadata, tags in read["events"]:
    print(position, version, type, data)
