#!/usr/bin/env python3
"""A WebSocket server of the websockets library. Prints `listening PORT`.

    /echo          every message comes back as it was
    /close/CODE    closes with CODE and `closed by the server` behind the first message
    /last          a message with code and reason that the last client closed /echo with
    /refuse        403 instead of a WebSocket
    /drop          ends the connection behind the first message, without a close frame
"""
import argparse
import asyncio
import signal
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError

ended = ["none"]


async def handle(socket):
    words = socket.request.path.strip("/").split("/")
    if words[0] == "echo":
        try:
            async for message in socket:
                await socket.send(message)
        except ConnectionClosedError:
            pass
        finally:
            ended[0] = f"{socket.close_code} {socket.close_reason}"
    elif words[0] == "close":
        await socket.recv()
        await socket.close(int(words[1]), "closed by the server")
    elif words[0] == "last":
        await socket.send(ended[0])
    elif words[0] == "drop":
        await socket.recv()
        socket.transport.abort()


def choose(connection, offered):
    return "peers" if "peers" in offered else None


def refuse(connection, request):
    if request.path == "/refuse":
        return connection.respond(403, "not you\n")
    return None


async def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate", help="file with certificate and key: TLS")
    parser.add_argument("--alpn", default="http/1.1", help="what is agreed to over TLS")
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
        context.set_alpn_protocols(options.alpn.split(","))
    async with serve(handle, "127.0.0.1", options.port, ssl=context, process_request=refuse,
                     select_subprotocol=choose, max_size=16 << 20) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
