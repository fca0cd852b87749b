#!/usr/bin/env python3
"""A gRPC server of grpcio with methods on bytes, all under `/peers.Echo/`.

    Unary, ClientStream, ServerStream, Bidirectional   what was sent, in one message or in several
    Metadata      the request's metadata as initial and as trailing metadata
    Fail          an error at once: a head that is the trailers too
    FailLate      two messages, then an error
    Hold          no answer; Cancelled tells how many of them were cancelled
    Cancelled

Prints `listening PORT`.
"""
import argparse
import json
import signal
import sys
import threading
from concurrent import futures

import grpc

SERVICE = "peers.Echo"
MESSAGE_MAX = 16 << 20
DETAILS = "nicht gefunden: 50 % für „alle“\n"


class Echo:
    def __init__(self):
        self.lock = threading.Lock()
        self.cancelled = 0

    def unary(self, request, context):
        return request

    def client_stream(self, requests, context):
        pieces = list(requests)
        context.set_trailing_metadata([("x-count", str(len(pieces)))])
        return b"".join(pieces)

    def server_stream(self, request, context):
        """`COUNT SIZE` asks for that many messages of that size."""
        count, size = (int(word) for word in request.split())
        for index in range(count):
            yield bytes([index & 255]) * size

    def bidirectional(self, requests, context):
        yield from requests

    def metadata(self, request, context):
        mine = [(k, v) for k, v in context.invocation_metadata() if k.startswith("x-")]
        context.send_initial_metadata(mine)
        context.set_trailing_metadata(mine + [("x-peer", context.peer().split(":")[0])])
        return json.dumps([k for k, _ in context.invocation_metadata()]).encode()

    def fail(self, request, context):
        context.set_trailing_metadata([("x-why", "because"), ("x-raw-bin", b"\x00\xff\x01")])
        context.abort(grpc.StatusCode.NOT_FOUND, DETAILS)

    def fail_late(self, request, context):
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.DATA_LOSS, "after two")

    def hold(self, request, context):
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(20)
        with self.lock:
            self.cancelled += 1
        return b"late"

    def count(self, request, context):
        with self.lock:
            return str(self.cancelled).encode()


def handlers(echo):
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    return grpc.method_handlers_generic_handler(SERVICE, {
        "Unary": unary(echo.unary),
        "ClientStream": grpc.stream_unary_rpc_method_handler(echo.client_stream),
        "ServerStream": stream(echo.server_stream),
        "Bidirectional": grpc.stream_stream_rpc_method_handler(echo.bidirectional),
        "Metadata": unary(echo.metadata),
        "Fail": unary(echo.fail),
        "FailLate": stream(echo.fail_late),
        "Hold": unary(echo.hold),
        "Cancelled": unary(echo.count),
    })


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", help="file with certificate and key: TLS")
    options = parser.parse_args()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=32),
        options=[("grpc.max_receive_message_length", MESSAGE_MAX), ("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers(Echo()),))
    address = f"127.0.0.1:{options.port}"
    if options.certificate:
        with open(options.certificate, "rb") as file:
            both = file.read()
        credentials = grpc.ssl_server_credentials([(both, both)])
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()
    print("listening", port, flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop(0).wait(5)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    sys.exit(main())
