#!/usr/bin/env python3
"""What a WebSocket client sees of `websocket_server.py`.

Over HTTP/1.1 the client is the websockets library's; over HTTP/2 (RFC 8441) the h2 library opens
the stream, and the websockets library makes the frames in it.
"""
import asyncio
import os
import random
import socket
import ssl
import sys
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import OP_BINARY, OP_CLOSE, OP_CONT, OP_TEXT
from websockets.protocol import OPEN, Protocol, Side

import checks
from checks import expect
from http_client import H2Client

SIZE_MAX = 16 << 20


LOOP = asyncio.new_event_loop()


def wait(awaitable, seconds=10):
    async def within():
        return await asyncio.wait_for(awaitable, seconds)
    return LOOP.run_until_complete(within())


class H1Socket:
    """The library's asyncio client: its other one uses a TLS connection from two threads."""

    def __init__(self, options, path, subprotocols=None):
        context, scheme = None, "ws"
        if options.ca:
            context, scheme = ssl.create_default_context(cafile=options.ca), "wss"
            context.set_alpn_protocols(["http/1.1"])
        raw = socket.create_connection(("127.0.0.1", options.port), 5)
        raw.setblocking(False)
        self.status = 101

        async def open():
            self.socket = await connect(
                f"{scheme}://{options.name}{path}", sock=raw, ssl=context,
                subprotocols=subprotocols, max_size=SIZE_MAX, close_timeout=5)
        try:
            wait(open())
        except InvalidStatus as error:
            self.status = error.response.status_code

    @property
    def subprotocol(self):
        return self.socket.subprotocol

    def send(self, message):
        wait(self.socket.send(message))

    def receive(self, seconds=10):
        """The next message, or None when it has been closed."""
        try:
            return wait(self.socket.recv(), seconds)
        except ConnectionClosed:
            return None

    def ping(self):
        async def both():
            await (await self.socket.ping(b"p"))
        wait(both(), 5)

    def close(self, code, reason):
        wait(self.socket.close(code, reason))
        return self.ended

    def leave(self):
        """Without a word."""
        self.socket.transport.abort()
        wait(self.socket.wait_closed())

    @property
    def ended(self):
        return self.socket.close_code, self.socket.close_reason


class H2Socket:
    def __init__(self, options, path, subprotocols=None, client=None):
        self.client = client or H2Client(options)
        head = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"),
                (":authority", options.name), (":path", path), ("sec-websocket-version", "13"),
                ("origin", f"https://{options.name}")]
        if subprotocols:
            head.append(("sec-websocket-protocol", ", ".join(subprotocols)))
        self.client.run(lambda: self.client.settled, "SETTINGS")
        allowed = self.client.h2.remote_settings.enable_connect_protocol
        expect(allowed == 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL is", allowed)
        self.call = self.client.begin("CONNECT", head, more=True)
        self.client.run(lambda: self.call.status or self.call.ending, "the answer to CONNECT")
        expect(self.call.status, "CONNECT:", self.call)
        self.status = 101 if self.call.status == 200 else self.call.status
        self.protocol = Protocol(Side.CLIENT, state=OPEN, max_size=SIZE_MAX)
        self.taken = 0
        self.frames = []
        self.pongs = 0

    @property
    def subprotocol(self):
        return self.call.field("sec-websocket-protocol")

    def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                self.client.put(self.call, data)
            elif not self.call.is_finished:
                self.client.finish(self.call)

    def turn(self, condition, what, seconds=10):
        def step():
            data = bytes(self.call.body[self.taken:])
            if data:
                # What has been parsed is not kept: a long stream would be copied again and again.
                self.call.body.clear()
                self.taken = 0
                self.protocol.receive_data(data)
                self.frames += self.protocol.events_received()
                self.flush()
            return condition()
        self.client.run(step, what, seconds)

    def send(self, message):
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self.flush()

    def receive(self, seconds=10):
        pieces, first = [], None
        while True:
            self.turn(lambda: self.frames or self.call.ending, "a message", seconds)
            if not self.frames:
                return None
            frame = self.frames.pop(0)
            if frame.opcode == OP_CLOSE:
                return None
            if frame.opcode not in (OP_TEXT, OP_BINARY, OP_CONT):
                self.pongs += 1
                continue
            first = first or frame.opcode
            pieces.append(bytes(frame.data))
            if frame.fin:
                data = b"".join(pieces)
                return data.decode() if first == OP_TEXT else data

    def ping(self):
        self.protocol.send_ping(b"p")
        self.flush()
        self.turn(lambda: self.frames, "a pong", 5)
        self.frames.pop(0)

    def close(self, code, reason):
        self.protocol.send_close(code, reason)
        self.flush()
        self.turn(lambda: self.protocol.close_rcvd, "the close frame")
        return self.ended

    def leave(self):
        self.client.abandon(self.call)
        self.client.turn(0)

    @property
    def ended(self):
        received = self.protocol.close_rcvd
        return (received.code, received.reason) if received else (1006, "")


class Env:
    def __init__(self, options):
        self.options = options
        self.checks = options.checks

    def open(self, path, subprotocols=None):
        kind = H2Socket if self.options.client == "h2" else H1Socket
        socket = kind(self.options, path, subprotocols)
        expect(socket.status == 101, path, "was answered by", socket.status)
        return socket


def messages(count, seed):
    """Text and binary of random sizes, most of them small."""
    generator = random.Random(seed)
    for _ in range(count):
        size = generator.randrange(1 << generator.randrange(2, 17))
        if generator.random() < 0.5:
            yield "".join(generator.choices("abcäö€ 0", k=size // 2))
        else:
            yield generator.randbytes(size)


def check_echo(env):
    """A thousand messages, eight under way at a time."""
    socket, waiting, count = env.open("/echo"), [], 0
    for message in messages(1000, 7):
        socket.send(message)
        waiting.append(message)
        if len(waiting) == 8:
            expect(socket.receive() == waiting.pop(0), "message", count, "is another")
            count += 1
    for message in waiting:
        expect(socket.receive() == message, "message", count, "is another")
        count += 1
    expect(count == 1000, count)
    socket.close(1000, "")


def check_large(env):
    socket = env.open("/echo")
    for size in (0, 125, 126, 65_535, 65_536, 1 << 20, 4 << 20):
        message = random.Random(size).randbytes(size)
        socket.send(message)
        expect(socket.receive() == message, "a message of", size, "is another")
    socket.ping()
    socket.close(1000, "")


def check_many(env):
    """Twenty at a time; over HTTP/2 on one connection."""
    client = H2Client(env.options) if env.options.client == "h2" else None
    if client:
        sockets = [H2Socket(env.options, "/echo", client=client) for _ in range(20)]
        expect({socket.status for socket in sockets} == {101}, "not all were opened")
    else:
        sockets = [env.open("/echo") for _ in range(20)]
    for turn in range(20):
        for index, socket in enumerate(sockets):
            socket.send(f"{turn} of {index}")
        for index, socket in enumerate(sockets):
            expect(socket.receive() == f"{turn} of {index}", "a message of another")
    for socket in sockets:
        socket.close(1000, "")


def check_client_closes(env):
    socket = env.open("/echo")
    socket.send("one")
    expect(socket.receive() == "one", "no echo")
    expect(socket.close(4001, "bye") == (4001, "bye"), socket.ended)
    deadline = time.monotonic() + 5
    while (seen := env.open("/last").receive()) != "4001 bye":
        expect(time.monotonic() < deadline, "the server saw", seen)


def check_server_closes(env):
    for code in (1000, 1001, 4002):
        socket = env.open(f"/close/{code}")
        socket.send("x")
        expect(socket.receive() is None, "a message")
        expect(socket.ended == (code, "closed by the server"), socket.ended)


def check_drop(env):
    """A server that is gone without a word is not taken for one that has closed."""
    socket = env.open("/drop")
    socket.send("x")
    expect(socket.receive(5) is None, "a message")
    expect(socket.ended[0] == 1006, socket.ended)
    if env.options.client == "h2":
        # RFC 8441 §5: a connection that breaks is a reset, one that ends may be an END_STREAM.
        socket.client.run(lambda: socket.call.ending, "the end of the stream", 5)


def check_subprotocol(env):
    socket = env.open("/echo", ["other", "peers"])
    expect(socket.subprotocol == "peers", socket.subprotocol)
    socket.close(1000, "")


def check_head(env):
    """RFC 8441 §5: the fields that prove a handshake by Upgrade are not part of this one."""
    socket = env.open("/echo")
    for name in ("sec-websocket-accept", "upgrade", "connection"):
        expect(socket.call.field(name) is None, name, "in", socket.call.fields)
    socket.close(1000, "")


def check_refused(env):
    kind = H2Socket if env.options.client == "h2" else H1Socket
    socket = kind(env.options, "/refuse")
    expect(socket.status == 403, socket.status)


def check_client_gone(env):
    """Who leaves without a word ends the server's side as well."""
    socket = env.open("/echo")
    socket.send("one")
    expect(socket.receive() == "one", "no echo")
    socket.leave()
    deadline = time.monotonic() + 5
    while (seen := env.open("/last").receive()) != "1006 ":
        expect(time.monotonic() < deadline, "the server saw", seen)


def check_across(env):
    """Messages until a file is there; at least a thousand."""
    socket, count, generator = env.open("/echo"), 0, random.Random(3)
    while count < 1000 or not os.path.exists(env.options.until):
        message = generator.randbytes(generator.randrange(3000))
        socket.send(message)
        expect(socket.receive() == message, "message", count, "is another")
        count += 1
        if count == 50:
            print("open", flush=True)
    expect(socket.close(4003, "done") == (4003, "done"), socket.ended)
    print("messages", count, flush=True)


def main():
    parser = checks.parser(__doc__)
    parser.add_argument("--client", choices=["h1", "h2"], required=True)
    parser.add_argument("--until", help="for `across`: the file that ends it")
    return checks.run(globals(), Env(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
