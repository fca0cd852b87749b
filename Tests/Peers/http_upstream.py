#!/usr/bin/env python3
"""An upstream that speaks HTTP/1.1 and HTTP/2 on one port and does what its requests ask for.

Over TLS ALPN decides, in plaintext the first bytes do. Prints `listening PORT`.

    /size/N?seed=S&length=no   N bytes of the pattern; length=no: it does not say how many
    /echo                      JSON: the request as it came, its content as SHA-256
    /mirror                    the request's content, as it comes
    /trailers/N                N bytes, and their SHA-256 in the trailer x-check
    /hints                     103 with two links, then 200
    /early/STATUS              that status at once; the request's content is not read
    /abort/N  /truncate/N      a reset, or an end, behind N of 2 N bytes; length=no as above
    /silent-abort              a reset instead of an answer
    /wait/KEY                  no answer
    /drip/KEY                  a byte every 20 ms, without end
    /deaf/KEY                  no answer, and the request's content is not read
    /fields/N                  an answer with a field of N bytes
    /refused/KEY?times=N       the first N requests for KEY are refused before they are looked at
    /state/KEY                 `unknown`, `open` or `gone`: what has become of the request for KEY
    /count                     JSON: connections and requests so far, by version
"""
import argparse
import asyncio
import collections
import json
import signal
import socket
import ssl
import struct
import sys
from urllib.parse import parse_qsl, urlsplit

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hyperframe.frame

import pattern

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#: So many bytes are given back to the sender's window at once.
ACKNOWLEDGED = 1 << 14


class Gone(Exception):
    """The other side has ended the request."""


class H1Exchange:
    version = "1.1"

    def __init__(self, reader, writer, head):
        self.reader, self.writer = reader, writer
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = lines[0].split(" ")
        self.fields = [self.pair(line) for line in lines[1:] if line]
        known = dict(self.fields)
        self.length = int(known.get("content-length", 0))
        self.is_chunked = known.get("transfer-encoding", "").lower() == "chunked"
        self.has_read = self.length == 0 and not self.is_chunked
        self.trailers = []
        self.keeps = True
        self.chunks_answer = False

    @staticmethod
    def pair(line):
        name, value = line.split(":", 1)
        return name.lower(), value.strip()

    async def read(self):
        """The next piece of the content; empty at its end."""
        if self.has_read:
            return b""
        try:
            if self.is_chunked:
                return await self.read_chunk()
            data = await self.reader.read(min(self.length, 1 << 16))
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Gone from error
        if not data:
            raise Gone
        self.length -= len(data)
        self.has_read = self.length == 0
        return data

    async def read_chunk(self):
        size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size:
            return (await self.reader.readexactly(size + 2))[:-2]
        while line := (await self.reader.readuntil(b"\r\n")).strip():
            self.trailers.append(self.pair(line.decode("latin-1")))
        self.has_read = True
        return b""

    async def send(self, data):
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError as error:
            raise Gone from error

    async def interim(self, status, fields):
        await self.head(status, fields)

    async def begin(self, status, fields=(), length=None):
        fields = list(fields)
        if length is not None:
            fields.append(("content-length", str(length)))
        elif self.method != "HEAD":
            fields.append(("transfer-encoding", "chunked"))
            self.chunks_answer = True
        if not self.has_read:
            fields.append(("connection", "close"))
        await self.head(status, fields)

    async def head(self, status, fields):
        lines = [f"HTTP/1.1 {status} Peer"] + [f"{name}: {value}" for name, value in fields]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def write(self, data):
        if self.method == "HEAD" or not data:
            return
        await self.send(b"%x\r\n" % len(data) + data + b"\r\n" if self.chunks_answer else data)

    async def end(self, trailers=()):
        if self.chunks_answer:
            text = "0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers) + "\r\n"
            await self.send(text.encode("latin-1"))
        if not self.has_read:
            await self.linger()

    async def linger(self):
        """Nothing more is sent, but what comes is taken for a while: no reset eats the answer."""
        self.keeps = False
        if self.writer.can_write_eof():
            self.writer.write_eof()
        try:
            async with asyncio.timeout(2):
                while await self.reader.read(1 << 16):
                    pass
        except (OSError, TimeoutError):
            pass

    def abort(self):
        self.keeps = False
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def truncate(self):
        self.keeps = False
        self.writer.close()

    async def gone(self):
        """Returns when the other side has ended the request."""
        try:
            while await self.reader.read(1 << 16):
                pass
        except OSError:
            pass


class H2Exchange:
    version = "2"

    def __init__(self, connection, stream, fields):
        self.connection, self.stream = connection, stream
        pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in fields]
        known = dict(pairs)
        self.method, self.target = known[":method"], known.get(":path", "")
        self.fields = pairs
        self.pieces = asyncio.Queue()
        self.trailers = []
        self.reset = asyncio.Event()
        self.has_read = False
        self.keeps = True
        self.taken_count = 0

    async def read(self):
        if self.has_read:
            return b""
        piece = await self.pieces.get()
        if piece is None:
            if self.reset.is_set():
                raise Gone
            self.has_read = True
            return b""
        data, count = piece
        self.taken_count += count
        if self.taken_count >= ACKNOWLEDGED:
            self.connection.open_window(self.taken_count, self.stream)
            self.taken_count = 0
        return data or await self.read()

    async def interim(self, status, fields):
        self.connection.send_head(self, [(":status", str(status)), *fields])

    async def begin(self, status, fields=(), length=None):
        fields = [(":status", str(status)), *fields]
        if length is not None:
            fields.append(("content-length", str(length)))
        self.connection.send_head(self, fields)

    async def write(self, data):
        if self.method != "HEAD":
            await self.connection.send_data(self, data)

    async def end(self, trailers=()):
        if trailers:
            self.connection.send_head(self, list(trailers), end=True)
        else:
            self.connection.end(self)
        if self.connection.is_half_open(self.stream):
            # RFC 9113 §8.1: the answer is whole, and the rest of the request is not wanted.
            self.connection.stop(self, h2.errors.ErrorCodes.NO_ERROR)

    def abort(self):
        self.connection.stop(self, h2.errors.ErrorCodes.INTERNAL_ERROR)

    def refuse(self):
        self.connection.stop(self, h2.errors.ErrorCodes.REFUSED_STREAM)

    def truncate(self):
        self.connection.writer.close()

    async def gone(self):
        await self.reset.wait()


class H2Server:
    """One connection. `goaway`: after that many requests no more are taken on it."""

    def __init__(self, reader, writer, app):
        self.reader, self.writer, self.app = reader, writer, app
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.exchanges = {}
        self.tasks = set()
        self.has_room = asyncio.Event()
        self.last_stream = 0
        self.is_leaving = False
        self.request_count = 0
        self.received_count = 0

    async def run(self, first):
        self.h2.initiate_connection()
        self.flush()
        data = first
        try:
            while data:
                for event in self.h2.receive_data(data):
                    self.handle(event)
                self.flush()
                await self.writer.drain()
                data = await self.reader.read(1 << 16)
        except (OSError, ssl.SSLError):
            pass
        except h2.exceptions.ProtocolError as error:
            print(json.dumps({"event": "violation", "what": repr(error)}), flush=True)
            self.flush()
        for exchange in list(self.exchanges.values()):
            self.ended(exchange)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=5)

    def flush(self):
        data = self.h2.data_to_send()
        if data and not self.writer.is_closing():
            self.writer.write(data)

    def handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            return self.request(event)
        if isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            self.has_room.set()
        exchange = self.exchanges.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.DataReceived):
            # The stream's window follows the reader, the connection's does not: a request that
            # nobody reads must not hold up others.
            self.received_count += event.flow_controlled_length
            if self.received_count >= ACKNOWLEDGED:
                self.open_window(self.received_count)
                self.received_count = 0
            if exchange is not None:
                exchange.pieces.put_nowait((event.data, event.flow_controlled_length))
        elif exchange is None:
            return
        elif isinstance(event, h2.events.TrailersReceived):
            exchange.trailers += [
                (n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            exchange.pieces.put_nowait(None)
        elif isinstance(event, h2.events.StreamReset):
            self.ended(exchange)

    def request(self, event):
        if self.is_leaving and event.stream_id > self.last_stream:
            return
        self.last_stream = event.stream_id
        self.request_count += 1
        exchange = H2Exchange(self, event.stream_id, event.headers)
        self.exchanges[event.stream_id] = exchange
        task = asyncio.create_task(self.serve(exchange))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if self.app.options.goaway and self.request_count == self.app.options.goaway:
            # By hand: the library takes nothing more on a connection it has said this on.
            self.is_leaving = True
            frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=self.last_stream, error_code=0)
            self.flush()
            self.writer.write(frame.serialize())
            self.app.goaways += 1

    async def serve(self, exchange):
        try:
            await self.app.answer(exchange)
        except (Gone, h2.exceptions.StreamClosedError, h2.exceptions.ProtocolError, OSError):
            pass
        self.exchanges.pop(exchange.stream, None)
        if self.is_leaving and not self.exchanges:
            # The other side closes, now that nothing is left to wait for; else we do.
            asyncio.get_running_loop().call_later(2, self.writer.close)

    def ended(self, exchange):
        exchange.reset.set()
        exchange.pieces.put_nowait(None)
        self.has_room.set()

    def open_window(self, count, stream=None):
        try:
            self.h2.increment_flow_control_window(count, stream)
        except h2.exceptions.ProtocolError:
            pass  # The stream is over.
        self.flush()

    def is_half_open(self, stream):
        return stream in self.h2.streams and not self.h2.streams[stream].closed

    def check(self, exchange):
        if exchange.reset.is_set() or self.writer.is_closing():
            raise Gone

    def send_head(self, exchange, fields, end=False):
        self.check(exchange)
        self.h2.send_headers(exchange.stream, fields, end_stream=end)
        self.flush()

    async def send_data(self, exchange, data):
        start = 0
        while start < len(data):
            self.check(exchange)
            room = min(self.h2.local_flow_control_window(exchange.stream),
                       self.h2.max_outbound_frame_size, len(data) - start)
            if room <= 0:
                self.has_room.clear()
                await self.has_room.wait()
                continue
            self.h2.send_data(exchange.stream, data[start:start + room])
            start += room
            self.flush()
            await self.writer.drain()

    def end(self, exchange):
        self.check(exchange)
        self.h2.end_stream(exchange.stream)
        self.flush()

    def stop(self, exchange, code):
        self.h2.reset_stream(exchange.stream, code)
        self.flush()


class App:
    """What is the same for both versions."""

    def __init__(self, options):
        self.options = options
        self.states = {}
        self.refusals = collections.Counter()
        self.connections = collections.Counter()
        self.requests = collections.Counter()
        self.goaways = 0

    async def connection(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head == PREFACE[:len(head)]:
                self.connections["2"] += 1
                await H2Server(reader, writer, self).run(head)
                return
            self.connections["1.1"] += 1
            while True:
                exchange = H1Exchange(reader, writer, head)
                await self.answer(exchange)
                while exchange.keeps and await exchange.read():
                    pass
                if not exchange.keeps:
                    break
                head = await reader.readuntil(b"\r\n\r\n")
        except (Gone, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, x):
        self.requests[x.version] += 1
        parts = urlsplit(x.target)
        words = parts.path.strip("/").split("/")
        query = dict(parse_qsl(parts.query))
        handler = getattr(self, "do_" + words[0].replace("-", "_"), None)
        if handler is None:
            await self.whole(x, 404, b"no such thing\n")
        else:
            await handler(x, words[1] if len(words) > 1 else "", query)

    async def whole(self, x, status, content, fields=()):
        await x.begin(status, fields, len(content))
        await x.write(content)
        await x.end()

    async def content(self, x):
        pieces = []
        while piece := await x.read():
            pieces.append(piece)
        return b"".join(pieces)

    async def do_size(self, x, word, query):
        size, seed = int(word), int(query.get("seed", 0))
        fields = [("x-seed", str(seed))]
        await x.begin(200, fields, None if query.get("length") == "no" else size)
        for start in range(0, size, 1 << 20):
            await x.write(pattern.part(start, min(size, start + (1 << 20)), seed))
        await x.end()

    async def do_echo(self, x, word, query):
        content = await self.content(x)
        report = {
            "method": x.method, "target": x.target, "version": x.version, "fields": x.fields,
            "size": len(content), "sha256": pattern.digest(content), "trailers": x.trailers}
        await self.whole(x, 200, json.dumps(report).encode())

    async def do_mirror(self, x, word, query):
        await x.begin(200)
        while piece := await x.read():
            await x.write(piece)
        await x.end()

    async def do_trailers(self, x, word, query):
        data = pattern.body(int(word))
        await x.begin(200, [("trailer", "x-check")])
        await x.write(data)
        await x.end([("x-check", pattern.digest(data))])

    async def do_hints(self, x, word, query):
        await x.interim(103, [("link", "</a.css>; rel=preload"), ("link", "</b.js>; rel=preload")])
        await asyncio.sleep(0.05)
        await self.whole(x, 200, b"hinted")

    async def do_early(self, x, word, query):
        await self.whole(x, int(word), b"no, thanks")

    async def half(self, x, word, query):
        size = int(word)
        await x.begin(200, (), None if query.get("length") == "no" else 2 * size)
        await x.write(pattern.body(size))
        # Long enough for all of it to be on its way to the client.
        await asyncio.sleep(0.2)

    async def do_abort(self, x, word, query):
        await self.half(x, word, query)
        x.abort()

    async def do_truncate(self, x, word, query):
        await self.half(x, word, query)
        x.truncate()

    async def do_silent_abort(self, x, word, query):
        x.abort()

    async def do_wait(self, x, word, query):
        self.states[word] = "open"
        try:
            await self.content(x)
            await x.gone()
        finally:
            self.states[word] = "gone"
        x.keeps = False

    async def do_drip(self, x, word, query):
        self.states[word] = "open"
        left = asyncio.create_task(x.gone())
        try:
            await x.begin(200)
            while not left.done():
                await x.write(b".")
                await asyncio.wait([left], timeout=0.02)
        except Gone:
            pass
        left.cancel()
        self.states[word] = "gone"
        x.keeps = False

    async def do_deaf(self, x, word, query):
        self.states[word] = "open"
        if isinstance(x, H1Exchange):
            await asyncio.sleep(20)
        else:
            await x.gone()
        self.states[word] = "gone"
        x.keeps = False

    async def do_fields(self, x, word, query):
        await self.whole(x, 200, b"ok", [("x-large", "v" * int(word)), ("set-cookie", "a=1"),
                                         ("set-cookie", "b=2")])

    async def do_refused(self, x, word, query):
        self.refusals[word] += 1
        if self.refusals[word] <= int(query.get("times", 1)):
            x.refuse()
            return
        await self.do_echo(x, word, query)

    async def do_state(self, x, word, query):
        await self.whole(x, 200, self.states.get(word, "unknown").encode())

    async def do_count(self, x, word, query):
        report = {"connections": self.connections, "requests": self.requests,
                  "goaways": self.goaways}
        await self.whole(x, 200, json.dumps(report).encode())


async def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", help="file with certificate and key: TLS")
    parser.add_argument("--alpn", default="h2,http/1.1", help="what is spoken over TLS")
    parser.add_argument("--goaway", type=int, default=0,
                        help="a GOAWAY after so many requests on an HTTP/2 connection")
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
        context.set_alpn_protocols(options.alpn.split(","))
    app = App(options)
    server = await asyncio.start_server(
        app.connection, "127.0.0.1", options.port, ssl=context, backlog=512, limit=1 << 17)
    print("listening", server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
