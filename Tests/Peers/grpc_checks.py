#!/usr/bin/env python3
"""What a gRPC client of grpcio sees of `grpc_server.py`."""
import json
import os
import queue
import random
import sys
import time

import grpc

import checks
import pattern
from checks import expect
from grpc_server import DETAILS, MESSAGE_MAX, SERVICE
from http_client import H2Client

MIB = 1 << 20


class Env:
    def __init__(self, options):
        self.options = options
        self.checks = options.checks
        settings = [("grpc.max_receive_message_length", MESSAGE_MAX),
                    ("grpc.enable_retries", 0),
                    ("grpc.default_authority", options.name)]
        address = f"127.0.0.1:{options.port}"
        if options.ca:
            with open(options.ca, "rb") as file:
                credentials = grpc.ssl_channel_credentials(file.read())
            settings.append(("grpc.ssl_target_name_override", options.name))
            self.channel = grpc.secure_channel(address, credentials, settings)
        else:
            self.channel = grpc.insecure_channel(address, settings)

    def unary(self, name):
        return self.channel.unary_unary(f"/{SERVICE}/{name}")

    def to_stream(self, name):
        return self.channel.unary_stream(f"/{SERVICE}/{name}")

    def from_stream(self, name):
        return self.channel.stream_unary(f"/{SERVICE}/{name}")

    def both(self, name):
        return self.channel.stream_stream(f"/{SERVICE}/{name}")


def error_of(function):
    """The error that a call must end with."""
    try:
        function()
    except grpc.RpcError as error:
        return error
    raise checks.Failure("the call succeeded")


class Requests:
    """The requests of a stream, one by one as they are put."""

    def __init__(self):
        self.queue = queue.SimpleQueue()

    def __iter__(self):
        return self

    def __next__(self):
        request = self.queue.get()
        if request is None:
            raise StopIteration
        return request


def check_unary(env):
    call = env.unary("Unary")
    for seed, size in enumerate([0, 1, 100, 16_384, 70_000, MIB, 4 * MIB]):
        sent = pattern.body(size, seed)
        expect(call(sent, timeout=20) == sent, "an answer of", size, "bytes is another")


def check_parallel(env):
    """Two hundred calls at once on one connection."""
    call = env.unary("Unary")
    sent = [pattern.body(17 * n, n) for n in range(200)]
    under_way = [call.future(one, timeout=20) for one in sent]
    for one, reply in zip(sent, under_way):
        expect(reply.result() == one, "an answer is another call's")


def check_client_stream(env):
    pieces = [pattern.body(size, seed) for seed, size in enumerate([5, 0, MIB, 20, 300_000])]
    reply, call = env.from_stream("ClientStream").with_call(iter(pieces), timeout=20)
    expect(reply == b"".join(pieces), "other content")
    expect(("x-count", "5") in list(call.trailing_metadata()), call.trailing_metadata())


def check_server_stream(env):
    stream = env.to_stream("ServerStream")
    for count, size in ((0, 0), (1000, 10), (8, MIB)):
        found = list(stream(b"%d %d" % (count, size), timeout=20))
        expect(len(found) == count, len(found), "messages instead of", count)
        for index, one in enumerate(found):
            expect(one == bytes([index & 255]) * size, "message", index, "is another")


def check_bidirectional(env):
    """In step: each message must come back before the next one is sent."""
    requests = Requests()
    replies = env.both("Bidirectional")(requests, timeout=30)
    for seed, size in enumerate([0, 1, 1000, 65_536, MIB] * 10):
        sent = pattern.body(size, seed)
        requests.queue.put(sent)
        expect(next(replies) == sent, "message", seed, "is another")
    requests.queue.put(None)
    expect(next(replies, None) is None, "a message too many")
    expect(replies.code() == grpc.StatusCode.OK, replies.code())


def check_metadata(env):
    sent = [("x-text", "some text, with commas"), ("x-raw-bin", bytes(range(256))),
            ("x-twice", "a"), ("x-twice", "b")]
    reply, call = env.unary("Metadata").with_call(b"", metadata=sent, timeout=5)
    ends = {"initial": call.initial_metadata(), "trailing": call.trailing_metadata()}
    for name, found in ends.items():
        pairs = [(k, v) for k, v in found if k.startswith("x-") and k in dict(sent)]
        expect(sorted(map(str, pairs)) == sorted(map(str, sent)), name, pairs)
    expect("x-twice" in json.loads(reply), reply)


def check_errors(env):
    error = error_of(lambda: env.unary("Fail")(b"", timeout=5))
    expect(error.code() == grpc.StatusCode.NOT_FOUND, error.code())
    expect(error.details() == DETAILS, repr(error.details()))
    trailing = dict(error.trailing_metadata())
    expect(trailing.get("x-why") == "because", trailing)
    expect(trailing.get("x-raw-bin") == b"\x00\xff\x01", trailing)
    seen = []
    stream = env.to_stream("FailLate")(b"", timeout=5)
    error = error_of(lambda: seen.extend(stream) or [seen.append(m) for m in stream])
    expect(error.code() == grpc.StatusCode.DATA_LOSS, error.code())
    expect(error.details() == "after two", error.details())
    error = error_of(lambda: env.unary("NoSuchMethod")(b"", timeout=5))
    expect(error.code() == grpc.StatusCode.UNIMPLEMENTED, error.code())


def check_late_messages(env):
    """What came before an error has come."""
    stream, seen = env.to_stream("FailLate")(b"", timeout=5), []
    error_of(lambda: [seen.append(message) for message in stream])
    expect(seen == [b"one", b"two"], seen)


def waits_for_cancelled(env, count):
    deadline = time.monotonic() + 5
    while (found := int(env.unary("Cancelled")(b"", timeout=5))) < count:
        expect(time.monotonic() < deadline, found, "were cancelled instead of", count)
        time.sleep(0.02)


def check_deadline(env):
    """The client's deadline ends the call on the server too."""
    before = int(env.unary("Cancelled")(b"", timeout=5))
    begun = time.monotonic()
    error = error_of(lambda: env.unary("Hold")(b"", timeout=0.3))
    expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.code(), error.details())
    expect(time.monotonic() - begun < 2, "it took", time.monotonic() - begun)
    waits_for_cancelled(env, before + 1)


def check_cancel(env):
    before = int(env.unary("Cancelled")(b"", timeout=5))
    call = env.unary("Hold").future(b"", timeout=20)
    time.sleep(0.2)
    call.cancel()
    waits_for_cancelled(env, before + 1)
    # In the middle of a stream, with messages under way in both directions.
    requests = Requests()
    replies = env.both("Bidirectional")(requests, timeout=20)
    for seed in range(5):
        requests.queue.put(pattern.body(100_000, seed))
    next(replies)
    replies.cancel()
    expect(error_of(lambda: list(replies)).code() == grpc.StatusCode.CANCELLED, "not cancelled")
    requests.queue.put(None)
    expect(env.unary("Unary")(b"on", timeout=5) == b"on", "the connection is not usable")


def check_unavailable(env):
    """For servers that are not there."""
    for _ in range(3):
        error = error_of(lambda: env.unary("Unary")(b"x", timeout=5))
        expect(error.code() == grpc.StatusCode.UNAVAILABLE, error.code(), error.details())
    error = error_of(lambda: list(env.to_stream("ServerStream")(b"1 1", timeout=5)))
    expect(error.code() == grpc.StatusCode.UNAVAILABLE, error.code(), error.details())


def check_response_timeout(env):
    """For a proxy that waits less long for an answer than the client."""
    begun = time.monotonic()
    error = error_of(lambda: env.unary("Hold")(b"", timeout=15))
    expect(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error.code(), error.details())
    expect(time.monotonic() - begun < 5, "only after", time.monotonic() - begun, "s")
    expect(env.unary("Unary")(b"on", timeout=5) == b"on", "the connection is not usable")


def raw_call(env, method, message=b""):
    client = H2Client(env.options)
    body = b"\0" + len(message).to_bytes(4, "big") + message
    return client.ask("POST", f"/{SERVICE}/{method}", body=body, length=False, fields=[
        ("content-type", "application/grpc"), ("te", "trailers")])


def check_trailers_only(env):
    """An error at once is one HEADERS frame with END_STREAM, and passes as one."""
    call = raw_call(env, "Fail")
    expect(call.status == 200 and call.field("grpc-status") == "5", call)
    expect(not call.body and not call.trailers, call, call.trailers)
    expect(call.field("x-why") == "because", call)
    call = raw_call(env, "Unary", b"hello")
    expect(call.field("grpc-status") is None, call)
    expect(("grpc-status", "0") in call.trailers, call, call.trailers)
    expect(call.body == b"\0\0\0\0\5hello", call)


def check_proxy_error(env):
    """An error of the proxy's own is an answer that every gRPC client understands."""
    call = raw_call(env, "Unary", b"hello")
    expect(call.status == 200, call)
    expect((call.field("content-type") or "").startswith("application/grpc"), call)
    expect(call.field("grpc-status") == "14" and not call.body, call)


def check_across(env):
    """A stream in step until a file is there; at least 200 messages."""
    requests, generator, count = Requests(), random.Random(1), 0
    replies = env.both("Bidirectional")(requests, timeout=60)
    while count < 200 or not os.path.exists(env.options.until):
        sent = generator.randbytes(generator.randrange(5000))
        requests.queue.put(sent)
        expect(next(replies) == sent, "message", count, "is another")
        count += 1
        if count == 20:
            print("open", flush=True)
        time.sleep(0.002)
    requests.queue.put(None)
    expect(next(replies, None) is None and replies.code() == grpc.StatusCode.OK, replies.code())
    print("messages", count, flush=True)


def main():
    parser = checks.parser(__doc__)
    parser.add_argument("--until", help="for `across`: the file that ends it")
    return checks.run(globals(), Env(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
