"""HTTP clients that hide nothing: HTTP/1.1 by hand, HTTP/2 with the h2 library.

Both know interim answers, trailers, uploads that go on while an answer comes, and how an answer
ended. `start` takes the same words for both:

    fields    further fields, as pairs
    body      bytes, or None for a request without content
    length    False: the request does not say how long its content is
    trailers  fields behind the content
    more      the content is not over: `put` and `finish` follow
"""
import struct

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from checks import Failure, expect
from wire import Call, Client, Wire


class Cut(Exception):
    """The connection ended inside an answer."""


class H1Client(Client):
    """One request at a time."""

    def __init__(self, target):
        self.name = target.name
        self.wire = Wire(target, "http/1.1")
        self.buffer = bytearray()
        self.call = None
        self.parser = None

    def start(self, method, path, fields=(), body=None, length=True, trailers=(), more=False):
        expect(self.call is None or self.call.ending == "end", "the connection is busy")
        call = self.call = Call(method)
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.name}"]
        lines += [f"{name}: {value}" for name, value in fields]
        call.is_chunked = more or bool(trailers) or (body is not None and not length)
        if call.is_chunked:
            lines.append("Transfer-Encoding: chunked")
            if trailers:
                lines.append("Trailer: " + ", ".join(name for name, _ in trailers))
        elif body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.wire.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        self.parser = self.parse(call)
        self.put(call, body or b"")
        if not more:
            self.finish(call, trailers)
        return call

    def put(self, call, data):
        if call.is_chunked and data:
            self.wire.send(b"%x\r\n" % len(data) + data + b"\r\n")
        else:
            self.wire.send(data)

    def finish(self, call, trailers=()):
        if call.is_chunked:
            text = "0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers) + "\r\n"
            self.wire.send(text.encode("latin-1"))

    def abandon(self, call):
        """The client gives up: there is no other way than to end the connection."""
        self.wire.reset()

    def turn(self, seconds):
        self.buffer += self.wire.turn(seconds)
        if self.call.ending:
            return
        try:
            next(self.parser)
        except StopIteration:
            self.call.ending = "end"
            # An early answer: the rest of the upload interests nobody.
            self.wire.out.clear()
        except Cut:
            self.call.ending = "cut"

    # A coroutine that is resumed whenever there may be more.

    def parse(self, call):
        while True:
            head = (yield from self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            version, status = head[0].split(" ")[:2]
            expect(version == "HTTP/1.1", "status line", head[0])
            fields = [self.pair(line) for line in head[1:]]
            if not 100 <= int(status) < 200 or int(status) == 101:
                break
            call.interim.append((int(status), fields))
        call.status, call.fields = int(status), fields
        length = call.field("content-length")
        if call.method == "HEAD" or call.status in (204, 304, 101):
            return
        if (call.field("transfer-encoding") or "").lower() == "chunked":
            yield from self.chunks(call)
        elif length is not None:
            yield from self.take(call, int(length))
        else:
            while not self.wire.ending:
                self.shift(call, len(self.buffer))
                yield
            expect(self.wire.ending == "closed", "an answer without length ended by a reset")
            self.shift(call, len(self.buffer))

    def chunks(self, call):
        while size := int((yield from self.until(b"\r\n")).split(b";")[0], 16):
            yield from self.take(call, size)
            end = yield from self.until(b"\r\n")
            expect(not end, "a chunk ends with", end)
        while line := (yield from self.until(b"\r\n")).decode("latin-1"):
            call.trailers.append(self.pair(line))

    def shift(self, call, count):
        call.body += self.buffer[:count]
        del self.buffer[:count]

    def take(self, call, size):
        while size:
            count = min(size, len(self.buffer))
            self.shift(call, count)
            size -= count
            if size:
                yield from self.wait()

    def until(self, mark):
        while (place := self.buffer.find(mark)) < 0:
            yield from self.wait()
        found = bytes(self.buffer[:place])
        del self.buffer[:place + len(mark)]
        return found

    def wait(self):
        if self.wire.ending:
            raise Cut
        yield

    @staticmethod
    def pair(line):
        name, value = line.split(":", 1)
        return name.lower(), value.strip()


def text(pairs):
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]


class H2Client(Client):
    """Any number of requests at a time. What the h2 library holds to be wrong raises."""

    def __init__(self, target):
        self.name = target.name
        self.scheme = "https" if target.ca else "http"
        self.wire = Wire(target, "h2")
        self.calls = {}
        self.goaways = []
        self.input = b""
        self.settled = False
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.wire.send(self.h2.data_to_send())

    def start(self, method, path, fields=(), body=None, length=True, trailers=(), more=False,
              acknowledges=True):
        """acknowledges: False leaves the stream's window as it is, not the connection's."""
        head = [(":method", method), (":scheme", self.scheme), (":authority", self.name),
                (":path", path), *fields]
        if body is not None and length and not more:
            head.append(("content-length", str(len(body))))
        return self.begin(method, head, body, trailers, more, acknowledges)

    def begin(self, method, head, body=None, trailers=(), more=False, acknowledges=True):
        """The same with a head of the caller's own."""
        if not self.settled:
            self.run(lambda: self.settled, "SETTINGS of the server")
        # The library does not wait for room among the streams by itself.
        self.run(lambda: self.h2.open_outbound_streams < self.streams_max, "room for a stream")
        call = Call(method)
        call.acknowledges = acknowledges
        call.id = self.h2.get_next_available_stream_id()
        self.calls[call.id] = call
        is_empty = body is None and not trailers and not more
        self.h2.send_headers(call.id, head, end_stream=is_empty)
        if is_empty:
            call.is_closed = True
        else:
            call.is_closed = False
            self.put(call, body or b"")
            if not more:
                self.finish(call, trailers)
        self.pump()
        return call

    @property
    def streams_max(self):
        return self.h2.remote_settings.max_concurrent_streams

    def put(self, call, data):
        call.out += data
        self.pump()

    def finish(self, call, trailers=()):
        call.is_finished, call.out_trailers = True, trailers
        self.pump()

    def abandon(self, call):
        self.h2.reset_stream(call.id, h2.errors.ErrorCodes.CANCEL)
        call.ending = "abandoned"
        self.pump()

    def pump(self):
        """Frames for what windows allow."""
        for call in self.calls.values():
            if call.is_closed or call.ending:
                continue
            while call.out:
                room = min(self.h2.local_flow_control_window(call.id),
                           self.h2.max_outbound_frame_size, len(call.out))
                if room <= 0:
                    break
                is_last = call.is_finished and not call.out_trailers and room == len(call.out)
                self.h2.send_data(call.id, bytes(call.out[:room]), end_stream=is_last)
                del call.out[:room]
                call.is_closed = is_last
            if call.is_finished and not call.out and not call.is_closed:
                if call.out_trailers:
                    self.h2.send_headers(call.id, call.out_trailers, end_stream=True)
                else:
                    self.h2.end_stream(call.id)
                call.is_closed = True
        self.wire.send(self.h2.data_to_send())

    def turn(self, seconds):
        data = self.wire.turn(seconds)
        if data:
            try:
                for event in self.h2.receive_data(self.without_goaways(data)):
                    self.handle(event)
            except h2.exceptions.ProtocolError as error:
                raise Failure(f"RFC 9113 was violated: {error!r}") from error
            self.pump()
        if self.wire.ending:
            for call in self.calls.values():
                call.ending = call.ending or "cut"
            if not self.settled:
                raise Failure("the connection ended before the server's SETTINGS")

    def without_goaways(self, data):
        """Whole frames but for GOAWAY, behind which the library would take no other frame."""
        self.input += data
        place, kept = 0, []
        while len(self.input) >= place + 9:
            size = int.from_bytes(self.input[place:place + 3], "big")
            if len(self.input) < place + 9 + size:
                break
            frame = self.input[place:place + 9 + size]
            place += len(frame)
            if frame[3] != 7:
                kept.append(frame)
                continue
            last, code = struct.unpack(">LL", frame[9:17])
            self.goaways.append(last)
            expect(code == 0, "GOAWAY with error", code, frame[17:])
        self.input = self.input[place:]
        return b"".join(kept)

    def handle(self, event):
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settled = True
        call = self.calls.get(getattr(event, "stream_id", None))
        if call is None:
            return
        if isinstance(event, h2.events.InformationalResponseReceived):
            fields = text(event.headers)
            call.interim.append((int(dict(fields)[":status"]), fields[1:]))
        elif isinstance(event, h2.events.ResponseReceived):
            fields = text(event.headers)
            expect(fields[0][0] == ":status", "the head begins with", fields[0])
            call.status, call.fields = int(fields[0][1]), fields[1:]
        elif isinstance(event, h2.events.DataReceived):
            call.body += event.data
            if event.flow_controlled_length:
                self.acknowledge(call, event.flow_controlled_length)
        elif isinstance(event, h2.events.TrailersReceived):
            call.trailers += text(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            call.ending = call.ending or "end"
        elif isinstance(event, h2.events.StreamReset):
            call.ending = call.ending or f"reset {int(event.error_code)}"

    def acknowledge(self, call, count):
        if not call.acknowledges:
            self.h2.increment_flow_control_window(count)
            return
        try:
            self.h2.acknowledge_received_data(count, call.id)
        except h2.exceptions.StreamClosedError:
            self.h2.increment_flow_control_window(count)
