"""The rows of the comparison: what is done, what is counted, what must be reached.

A row's `measure` makes one run against one server and returns what the client saw and what it
cost: `user` and `system` in µs, and `per`, the units of work by which they are divided for the
row's first figure. Other figures are returned by name. Gates and goals are ratios to HAProxy in the
same round where `against` is "haproxy", else bounds of the figure itself.
"""
import os, time
from dataclasses import dataclass, field
from typing import Callable

from clients import Held, ask_once, held_requests, load, wrk
from proxies import STREAM_MODULE, Site, private_kib, rollup_kib
from routed import PassthroughSite, RoutingSite


@dataclass
class Figure:
    name: str
    unit: str
    gate: float | None = None
    goal: float | None = None
    against: str = "haproxy"


@dataclass
class Row:
    name: str
    title: str
    figures: list
    measure: Callable
    site: dict = field(default_factory=dict)
    kind: type = Site
    #: nginx, or a program of this folder.
    upstream: str = "nginx"
    #: Proxies that can't do what the row is about.
    without: tuple = ()
    #: Also run with a site that differs so, see `compared`.
    other: dict = field(default_factory=dict)
    #: The figures of what was seen with `site` and with `other`: {name: value}, and `error` if a
    #: run proves nothing.
    compared: Callable | None = None
    rounds_max: int = 99
    #: May be measured in slices, the proxies taking turns.
    sliced: bool = True
    cipher: str = "TLSv1.3 TLS_AES_128_GCM_SHA256"


def per_request(run):
    def measure(server, options, seconds, warm):
        seen = run(server, options, seconds, warm)
        if not seen["failed"]:
            seen["per"] = seen["requests"]
        return seen
    return measure


def per_gib(*words, client="load"):
    def measure(server, options, seconds, warm):
        seen = load(server, seconds, *words, warm=warm, client=client)
        if not seen["failed"]:
            # GiB, times the µs of a second
            seen["per"] = seen["bytes"] / (1 << 30) * 1e6
        return seen
    return measure


def keep_alive(tls=True):
    def run(server, options, seconds, warm):
        if options.client == "wrk":
            return wrk(server, seconds, tls=tls)
        return load(server, seconds, *(["-t"] if tls else []), "-b", 100, warm=warm)
    return run


def log_cost(proxy, site, plain, logged):
    """What the log adds, if its lines are there."""
    with open(site.access_log(proxy), "rb") as f:
        lines = sum(1 for _ in f)
    if lines < logged["requests"]:
        return {"error": f"{lines} lines in the log for {logged['requests']} requests"}
    return {"log": logged["log"] - plain["log"]}


def limiter_cost(proxy, site, plain, limited):
    return {"limiter": limited["limiter"] - plain["limiter"]}


def passed_on(measure):
    """The run of a row about passing TLS on, if it is passed on."""
    def checked(server, options, seconds, warm):
        if fault := server.site.fault(server.port):
            return {"failed": 1, "error": fault}
        return measure(server, options, seconds, warm)
    return checked


def routed(server, options, seconds, warm):
    return load(server, seconds, "-t", "-b", 100, "-p", "/api/v1/items", "-N", server.site.hosts,
                warm=warm)


def routing_cost(proxy, site, few, many):
    return {"routing": many["routing"] / few["routing"], "routing-many": many["routing"]}


def quiet(server, options, seconds, warm):
    seen = load(server, max(seconds, 1), "-t", "-c", 32, "-b", 100, "-R", 2000, warm=warm)
    if not seen["failed"]:
        seen["per"] = seen["requests"]
        seen["quiet-p50"] = seen["p50"]
        if seen["lag"] > 100_000:
            seen["failed"], seen["error"] = 1, f"the client lagged {seen['lag'] / 1e3:.0f} ms"
    return seen


def idle(server, options, seconds, warm):
    """Connections that have made one request and stay, and what is left when they have gone."""
    count = options.idle
    ask_once(server.port)
    time.sleep(0.3)
    before = private_kib(server.pids())
    with Held("load", server, count, "-t", "-b", 100) as clients:
        if clients.error:
            return {"failed": 1, "error": clients.error}
        time.sleep(0.5)
        held = private_kib(server.pids()) - before
        clients.release()
        time.sleep(1.5)
        kept = private_kib(server.pids()) - before
    return {"failed": 0, "idle-memory": held / count, "idle-kept": max(kept, 0) / 1024}


def held_streams(name, streams, limit):
    """Memory per connection whose streams all have a request that the upstream does not answer.

    A stream takes two descriptors of the upstream's and the proxy's: `limit` connections are what
    20,000 allow.
    """
    def measure(server, options, seconds, warm):
        time.sleep(0.3)
        before = private_kib(server.pids())
        with Held("h2client", server, limit, "-t", "-m", streams, "-p", "/hold") as clients:
            if clients.error:
                return {"failed": 1, "error": clients.error}
            waited = time.monotonic() + 30
            while (there := held_requests(options.origin)) != limit * streams:
                if time.monotonic() > waited:
                    return {"failed": 1, "error": f"{there} requests have arrived"}
                time.sleep(0.1)
            time.sleep(0.5)
            held = private_kib(server.pids()) - before
            if not clients.release():
                return {"failed": 1, "error": "a stream was ended"}
            time.sleep(1.5)
            kept = private_kib(server.pids()) - before
        return {"failed": 0, name: held / limit, name + "-kept": max(kept, 0) / 1024}
    return measure


def rest(server, options, seconds, warm):
    time.sleep(1.5)
    return {"failed": 0, "rest": rollup_kib(server.pids(), "Pss") / 1024,
            "rest-dirty": rollup_kib(server.pids(), "Private_Dirty") / 1024}


def request_row(name, title, gate, goal, run, unit="µs/request", **more):
    return Row(name, title, [Figure(name, unit, gate, goal)], per_request(run), **more)


def bulk_row(name, title, gate, goal, *words, **more):
    return Row(name, title, [Figure(name, "s/GiB", gate, goal)], per_gib(*words), **more)


def h2(*words):
    def run(server, options, seconds, warm):
        return load(server, seconds, "-t", *words, warm=warm, client="h2client")
    return run


def h2_memory_row(streams, limit):
    name = f"h2-memory-{streams}"
    return Row(name, f"HTTP/2 connection with {streams} open, {limit} connections → h1; "
               "kept 1.5 s after they closed",
               [Figure(name, "KiB/connection", 0.85, 0.50), Figure(name + "-kept", "MiB kept")],
               held_streams(name, streams, limit), site={"h2": True}, upstream="origin",
               rounds_max=3, sliced=False)


def connections(*words):
    def run(server, options, seconds, warm):
        return load(server, seconds, "-x", "-b", 100, *words, warm=warm)
    return run


#: nginx passes connections on by a module of its own.
WITHOUT_STREAM = () if os.path.exists(STREAM_MODULE) else ("nginx",)

ROWS = [
    request_row("h1-offload", "HTTP/1.1 keep-alive, TLS 1.3 → plaintext, 64 connections",
                0.75, 0.60, keep_alive()),
    request_row("h1-bridge", "the same → TLS, verified", 0.80, 0.65, keep_alive(),
                site={"bridge": True}),
    request_row("handshake", "full handshake + 1 request, P-256", 0.80, 0.70,
                connections("-t", "-c", 32), unit="µs/connection"),
    request_row("handshake-rsa", "full handshake + 1 request, RSA-2048", 0.92, 0.84,
                connections("-t", "-c", 32), unit="µs/connection", site={"key": "rsa"}),
    request_row("resumed", "resumed handshake + 1 request, P-256", 0.83, 0.75,
                connections("-t", "-r", "-c", 32), unit="µs/connection"),
    bulk_row("download-16k", "download 16 KiB × 32 connections", None, None,
             "-t", "-c", 32, "-p", "/16k", "-b", 16 << 10, "-v"),
    bulk_row("download-1m", "download 1 MiB × 16 connections", 0.75, 0.60,
             "-t", "-c", 16, "-p", "/1m", "-b", 1 << 20, "-v"),
    bulk_row("download-100m", "download 100 MiB × 4 connections", 0.80, 0.68,
             "-t", "-c", 4, "-p", "/100m", "-b", 100 << 20, "-v"),
    bulk_row("upload-10m", "upload 10 MiB × 8 connections", 0.80, 0.70,
             "-t", "-c", 8, "-p", "/up", "-u", 10 << 20, upstream="origin"),
    bulk_row("tcp-bulk", "TCP listener: 100 MiB × 4 connections", 0.75, 0.55,
             "-c", 4, "-p", "/100m", "-b", 100 << 20, "-v", site={"tcp": True}, cipher=""),
    request_row("tcp-connection", "TCP listener: connection + exchange of 100 bytes", 0.95, 0.88,
                connections("-c", 64), unit="µs/connection", site={"tcp": True}, cipher=""),
    request_row("tcp-exchange", "TCP listener: exchange of 100 bytes, 64 connections", 0.90, 0.78,
                keep_alive(tls=False), unit="µs/exchange", site={"tcp": True}, cipher=""),
    Row("passthrough-100m", "TLS passed on by its SNI: download 100 MiB × 4 connections",
        [Figure("passthrough-100m", "s/GiB", 0.75, 0.55)],
        passed_on(per_gib("-t", "-c", 4, "-p", "/100m", "-b", 100 << 20, "-v")),
        kind=PassthroughSite, without=WITHOUT_STREAM),
    Row("passthrough", "TLS passed on by its SNI: download 1 MiB × 16 connections",
        [Figure("passthrough", "s/GiB", 0.75, 0.55)],
        passed_on(per_gib("-t", "-c", 16, "-p", "/1m", "-b", 1 << 20, "-v")),
        kind=PassthroughSite, without=WITHOUT_STREAM),
    request_row("passthrough-connection", "TLS passed on by its SNI: connection + 1 request",
                0.95, 0.88, passed_on(connections("-t", "-c", 32)), unit="µs/connection",
                kind=PassthroughSite, without=WITHOUT_STREAM),
    Row("routing", "requests to any of 10,000 sites, a tenth with a path: to those to 10",
        [Figure("routing", "× that of 10", 1.05, 1.0, against="none"),
         Figure("routing-many", "µs/request", 0.75, 0.60)],
        per_request(routed), kind=RoutingSite, site={"hosts": 10}, other={"hosts": 10_000},
        compared=routing_cost),
    request_row("h2-h1", "HTTP/2, 16 connections × 32 streams → plaintext h1", 0.75, 0.60,
                h2("-c", 16, "-m", 32, "-b", 100), site={"h2": True}),
    request_row("h2-h2", "the same → plaintext h2", None, None,
                h2("-c", 16, "-m", 32, "-b", 100), site={"h2": True, "upstream_h2": True},
                upstream="h2origin", without=("nginx",)),
    request_row("h2-small", "HTTP/2, 1 connection × 100 streams → plaintext h1", None, None,
                h2("-c", 1, "-m", 100, "-b", 100), site={"h2": True}),
    request_row("grpc-unary", "gRPC unary, messages of 100 bytes, 16 × 32 → plaintext h2",
                None, None, h2("-c", 16, "-m", 32, "-g", 100, "-p", "/bench.Echo/Unary"),
                site={"h2": True, "upstream_h2": True}, upstream="h2origin"),
    Row("h2-download-1m", "download 1 MiB over HTTP/2, 4 connections × 8 streams",
        [Figure("h2-download-1m", "s/GiB", 0.95, 0.80)],
        per_gib("-t", "-c", 4, "-m", 8, "-p", "/1m", "-b", 1 << 20, "-v", client="h2client"),
        site={"h2": True}),
    h2_memory_row(1, 1000),
    h2_memory_row(32, 250),
    Row("quiet", "quiet: 2,000 requests/s, open loop, 32 connections",
        [Figure("quiet-cpu", "µs/request", 1.0, 0.70), Figure("quiet-p50", "µs", 1.0, 0.85)],
        quiet),
    Row("log", "what the access log adds to h1-offload",
        [Figure("log", "µs/request", 1.5, 0.5, against="none")],
        per_request(keep_alive()), other={"log": True}, compared=log_cost),
    Row("limiter", "what a rate limit per client adds to h1-offload",
        [Figure("limiter", "µs/request", 1.0, 0.4, against="none")],
        per_request(keep_alive()), other={"limits": True}, compared=limiter_cost),
    Row("idle", "idle TLS connections after one request each; kept 1.5 s after they closed",
        [Figure("idle-memory", "KiB/connection", 0.95, 0.87),
         Figure("idle-kept", "MiB kept", 0.50, 0.10)],
        idle, rounds_max=3, sliced=False),
    Row("rest", "at rest, all processes",
        [Figure("rest", "MiB PSS", 16, 8, against="none"),
         Figure("rest-dirty", "MiB private dirty", against="none")],
        rest, rounds_max=3, sliced=False),
]
