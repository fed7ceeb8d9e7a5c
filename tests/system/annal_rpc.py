"""A client of annal's wire protocol for tests: msgpack-rpc over python3-msgpack and a socket, sharing no
code with the server.

One thread of a connection reads; any thread may call. Answers may come in any order. Notifications of a
subscription are queued for it from the first one on, all others in `notifications`.
"""

import collections
import os
import queue
import socket
import threading

import msgpack

REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2
OF_SUBSCRIPTIONS = ("events", "caught_up", "fell_behind", "checkpoint", "dropped")
# Fields of an event in a result.
POSITION, VERSION, CREATED, ID, STREAM, TYPE, DATA, METADATA, TAGS = range(9)


class RpcError(Exception):
    """The node answered with an error."""

    def __init__(self, fields):
        super().__init__(f"{fields.get('code')}: {fields.get('message')}")
        self.fields = fields
        self.code = fields.get("code")


class ConnectionLost(Exception):
    """The connection ended before the answer came: the outcome is unknown."""


class NoAnswer(Exception):
    """The connection stands, but no answer came in time: the outcome is unknown."""


class Pending:
    """A request under way."""

    def __init__(self):
        self.done = threading.Event()
        self.error = None
        self.result = None
        self.lost = None

    def wait(self, timeout=10):
        if not self.done.wait(timeout):
            raise NoAnswer(f"no answer within {timeout} s")
        if self.lost is not None:
            raise ConnectionLost(self.lost)
        if self.error is not None:
            raise RpcError(self.error)
        return self.result


def packed(message):
    return msgpack.packb(message, use_bin_type=True, unicode_errors="surrogateescape")


def new_id():
    return os.urandom(16)


def event(type="happened", data=b"", id=None, **more):
    """An event to append, with an id of its own unless one is given."""
    return {"type": type, "data": data, "id": id if id is not None else new_id(), **more}


class Connection:
    def __init__(self, address, connect_timeout=5):
        host, port = address.rsplit(":", 1)
        self.address = address
        self.socket = socket.create_connection((host, int(port)), timeout=connect_timeout)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.notifications = queue.Queue()
        self._of_subscription = collections.defaultdict(queue.Queue)
        self._pending = {}
        self._next_msgid = 0
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._lost = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- sending ----

    def send_raw(self, data):
        """Any bytes. Raises ConnectionLost when the node no longer takes them."""
        try:
            with self._send_lock:
                self.socket.sendall(data)
        except OSError as error:
            raise ConnectionLost(f"{self.address}: {error}") from error

    def begin(self, method, params=None, raw_params=None):
        """Send a request and return it as Pending. raw_params: the array of params as it is."""
        pending = Pending()
        with self._lock:
            if self._lost is not None:
                raise ConnectionLost(self._lost)
            msgid = self._next_msgid
            self._next_msgid = (msgid + 1) & 0xFFFFFFFF
            self._pending[msgid] = pending
        array = raw_params if raw_params is not None else [params or {}]
        self.send_raw(packed([REQUEST, msgid, method, array]))
        return pending

    def expect(self, msgid):
        """Pending for a request that is sent by hand."""
        with self._lock:
            self._pending[msgid] = pending = Pending()
        return pending

    def call(self, method, params=None, timeout=10, raw_params=None):
        return self.begin(method, params, raw_params).wait(timeout)

    def notify(self, method, params):
        self.send_raw(packed([NOTIFICATION, method, params]))

    # ---- receiving ----

    def _read(self):
        unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=False,
            unicode_errors="surrogateescape",
            max_buffer_size=256 << 20,
        )
        reason = "closed by the node"
        try:
            while True:
                data = self.socket.recv(1 << 18)
                if not data:
                    break
                unpacker.feed(data)
                for message in unpacker:
                    self._dispatch(message)
        except OSError as error:
            reason = str(error)
        except Exception as error:  # a node that sends nonsense must fail the test, not hang it
            reason = f"the node sent what is not MessagePack-RPC: {error!r}"
        self._end(f"{self.address}: {reason}")

    def _dispatch(self, message):
        if message[0] == RESPONSE:
            _, msgid, error, result = message
            with self._lock:
                pending = self._pending.pop(msgid, None)
            if pending is None:  # to bytes that were sent by hand
                return
            pending.error, pending.result = error, result
            pending.done.set()
        elif message[0] == NOTIFICATION:
            _, method, params = message
            if method in OF_SUBSCRIPTIONS:
                self._queue_of(params[0]).put((method, params))
            else:
                self.notifications.put((method, params))
        else:
            raise ValueError(f"message of kind {message[0]!r}")

    def _queue_of(self, subscription):
        with self._lock:
            return self._of_subscription[subscription]

    def _end(self, reason):
        with self._lock:
            self._lost = reason
            pending, self._pending = self._pending, {}
            queues = list(self._of_subscription.values()) + [self.notifications]
        for request in pending.values():
            request.lost = reason
            request.done.set()
        for one in queues:
            one.put(None)

    def is_lost(self):
        return self._lost

    def wait_lost(self, timeout=10):
        """True when the node closed the connection in time."""
        self._reader.join(timeout)
        return not self._reader.is_alive()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._reader.join(5)
        self.socket.close()

    # ---- subscriptions ----

    def subscribe(self, timeout=10, **params):
        answer = self.call("subscribe", params, timeout)
        return Subscription(self, answer["subscription"], answer["head"])


class Subscription:
    def __init__(self, connection, number, head):
        self.connection = connection
        self.number = number
        self.head = head
        self._queue = connection._queue_of(number)

    def next(self, timeout=10):
        """The next notification as (method, params). NoAnswer when none comes in time."""
        try:
            item = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise NoAnswer(f"no notification within {timeout} s") from None
        if item is None:
            self._queue.put(None)  # whoever asks again is told again
            raise ConnectionLost(self.connection.is_lost())
        return item

    def events(self, count, timeout=10):
        """The next `count` events, exactly; other notifications between them are passed over."""
        found = []
        while len(found) < count:
            method, params = self.next(timeout)
            if method == "events":
                found += params[1]
            elif method == "dropped":
                raise RpcError(params[1])
        if len(found) > count:
            raise AssertionError(f"{len(found)} events came where {count} were due: {found[count:]}")
        return found

    def until_caught_up(self, timeout=10):
        """(events before it, position) of the next caught_up."""
        found = []
        while True:
            method, params = self.next(timeout)
            if method == "events":
                found += params[1]
            elif method == "caught_up":
                return found, params[1]
            elif method == "dropped":
                raise RpcError(params[1])

    def credit(self, count):
        self.connection.notify("credit", [self.number, count])

    def unsubscribe(self):
        return self.connection.call("unsubscribe", {"subscription": self.number})
