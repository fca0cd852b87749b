"""A connection of a client, plaintext or TLS, that neither blocks nor hides how it ended."""
import select
import socket
import ssl
import struct
import time

from checks import Failure, expect

PIECE = 1 << 16


class Wire:
    """`out` waits to be sent. `ending` is None while it is open, then `closed` or `reset`."""

    def __init__(self, target, alpn):
        self.out = bytearray()
        self.ending = None
        raw = socket.create_connection(("127.0.0.1", target.port), 5)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.ca:
            context = ssl.create_default_context(cafile=target.ca)
            context.set_alpn_protocols([alpn])
            raw = context.wrap_socket(raw, server_hostname=target.name)
            chosen = raw.selected_alpn_protocol()
            expect(chosen == alpn, "ALPN:", chosen, "instead of", alpn)
        raw.setblocking(False)
        self.socket = raw

    def send(self, data):
        self.out += data

    def turn(self, seconds):
        """Moves what can be moved, else waits for at most `seconds`. Returns what was received."""
        moved = self.flush()
        received = self.receive()
        if not moved and not received and not self.ending:
            both = [self.socket]
            select.select(both, both if self.out else [], [], max(seconds, 0))
        return received

    def flush(self):
        if not self.out:
            return False
        try:
            count = self.socket.send(memoryview(self.out)[:PIECE].tobytes())
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return False
        except OSError:
            # What has been received before still counts.
            self.out.clear()
            return False
        del self.out[:count]
        return count > 0

    def receive(self):
        if self.ending:
            return b""
        try:
            data = self.socket.recv(PIECE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError:
            self.ending = "reset"
            return b""
        if not data:
            self.ending = "closed"
        return data

    def close(self):
        self.socket.close()

    def reset(self):
        """RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Call:
    """A request under way and what is known of its answer.

    `ending` is None until the answer is over: then `end` if it was whole, `cut` if its connection
    ended, `reset CODE` if its stream did.
    """

    def __init__(self, method):
        self.method = method
        self.out = bytearray()
        self.is_finished = False
        self.out_trailers = ()
        self.interim = []
        self.status = None
        self.fields = []
        self.body = bytearray()
        self.trailers = []
        self.ending = None

    def field(self, name):
        """The values of a field, joined; None without any."""
        found = [value for key, value in self.fields if key == name]
        return ", ".join(found) if found else None

    def __str__(self):
        return (f"{self.method}: status {self.status}, {len(self.body)} bytes, "
                f"ending {self.ending}, fields {self.fields}")


class Client:
    """What both versions have in common."""

    def run(self, condition, what, seconds=10):
        """Turns until `condition()` holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure(f"{what}: not within {seconds} s")
            self.turn(left)

    def ask(self, method, path, seconds=20, **words):
        """A whole exchange; fails if the answer is not complete."""
        call = self.start(method, path, **words)
        self.run(lambda: call.ending, f"{method} {path}: {call}", seconds)
        expect(call.ending == "end", path, call)
        return call
