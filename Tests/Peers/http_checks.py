#!/usr/bin/env python3
"""What must pass between a client and `http_upstream.py`, whichever version each of them speaks."""
import itertools
import json
import sys
import time

import checks
import pattern
from checks import Failure, expect
from http_client import H1Client, H2Client

MIB = 1 << 20
SIZES = [0, 1, 1000, 16383, 16384, 16385, 65535, 65536, MIB, 5 * MIB + 3]


class Env:
    def __init__(self, options):
        self.options = options
        self.checks = options.checks
        self.keys = (f"k{time.monotonic_ns()}-{n}" for n in itertools.count())

    @property
    def is_h2(self):
        return self.options.client == "h2"

    def client(self):
        return (H2Client if self.is_h2 else H1Client)(self.options)

    def waits_for_state(self, key, state, other=None, seconds=5):
        """Asks the upstream, on a connection of its own, until it says so; `other` goes on."""
        client, deadline = self.client(), time.monotonic() + seconds
        while True:
            found = client.ask("GET", f"/state/{key}").body.decode()
            if found == state:
                return
            expect(time.monotonic() < deadline, "the upstream says", found, "instead of", state)
            if other:
                other.turn(0.02)
            else:
                time.sleep(0.02)

    def was_cut(self, call):
        """Whether the client could see that this answer is not whole."""
        if not self.is_h2 or self.options.direct:
            return call.ending != "end"
        return call.ending.startswith("reset")


def same(call, size, seed=0, status=200):
    expect(call.status == status, call)
    expect(bytes(call.body) == pattern.body(size, seed), "other content than was sent:", call)


def report(call):
    expect(call.status == 200, call)
    return json.loads(call.body)


def check_get(env):
    client = env.client()
    for seed, size in enumerate(SIZES):
        call = client.ask("GET", f"/size/{size}?seed={seed}")
        same(call, size, seed)
        expect(call.field("content-length") == str(size), call)
        expect(call.field("x-seed") == str(seed), call)
        same(client.ask("GET", f"/size/{size}?seed={seed}&length=no"), size, seed)


def check_head(env):
    client = env.client()
    for size in (0, 70_000):
        call = client.ask("HEAD", f"/size/{size}")
        expect(call.status == 200 and not call.body, call)
        expect(call.field("content-length") == str(size), call)
        same(client.ask("GET", "/size/100?seed=5"), 100, 5)


def check_post(env):
    client = env.client()
    for seed, size in enumerate(SIZES):
        body = pattern.body(size, seed)
        for length in (True, False):
            seen = report(client.ask("POST", "/echo", body=body, length=length))
            expect(seen["method"] == "POST" and seen["size"] == size, seen, "sent", size)
            expect(seen["sha256"] == pattern.digest(body), "size", size, "came as another content")
            # An HTTP/1.1 upload of known length says so; what has none must not claim one.
            said = dict(seen["fields"]).get("content-length")
            if length or env.is_h2 is False:
                expect(not length or said == str(size), "length", size, "came as", said)
            else:
                expect(said is None or said == str(size), "no length came as", said)


def check_methods(env):
    client = env.client()
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"):
        body = None if method in ("DELETE", "OPTIONS") else b"content"
        seen = report(client.ask(method, "/echo/%2e%2e/a;b?q=%00&q=1", body=body))
        expect(seen["method"] == method, seen)
        expect(seen["target"] == "/echo/%2e%2e/a;b?q=%00&q=1", seen)
        expect(seen["size"] == len(body or b""), seen)


def check_trailers(env):
    client = env.client()
    for size in (0, 10, 300_000):
        data = pattern.body(size, 9)
        te = [("te", "trailers")]
        if not env.is_h2:
            te.append(("connection", "te"))
        seen = report(client.ask(
            "POST", "/echo", body=data, length=False, trailers=[("x-sum", "12ab"), ("x-two", "b")]))
        expect(seen["sha256"] == pattern.digest(data), seen)
        expect(seen["trailers"] == [["x-sum", "12ab"], ["x-two", "b"]], "the request's", seen)
        call = client.ask("GET", f"/trailers/{size}", fields=te)
        same(call, size)
        expect(call.trailers == [("x-check", pattern.digest(bytes(call.body)))],
               "the answer's:", call.trailers)


def check_hints(env):
    client = env.client()
    for _ in range(2):
        call = client.ask("GET", "/hints")
        expect(call.status == 200 and call.body == b"hinted", call)
        expect([status for status, _ in call.interim] == [103], call.interim)
        links = [value for name, value in call.interim[0][1] if name == "link"]
        expect(links == ["</a.css>; rel=preload", "</b.js>; rel=preload"], links)


def check_early(env):
    """The answer comes whole although the upload was not read; other streams go on."""
    client = env.client()
    call = client.ask("POST", "/early/413", body=pattern.body(20 * MIB))
    expect(call.status == 413 and call.body == b"no, thanks", call)
    if env.is_h2:
        same(client.ask("GET", "/size/10"), 10)


def check_cut(env):
    """An answer that the upstream did not end is never ended for the client."""
    for way, length in itertools.product(("abort", "truncate"), ("yes", "no")):
        client = env.client()
        call = client.start("GET", f"/{way}/100000?length={length}")
        client.run(lambda: call.ending, f"the end of /{way}")
        expect(call.status == 200, way, length, call)
        expect(env.was_cut(call), way, f"length={length}", call)
        expect(pattern.body(100_000).startswith(bytes(call.body)), "other content:", call)
        if env.is_h2 and not env.options.direct:
            same(client.ask("GET", "/size/10"), 10)


def check_silent_abort(env):
    """A reset in place of an answer is a 502 for what may do harm twice."""
    client = env.client()
    call = client.ask("POST", "/silent-abort", body=b"x")
    expect(call.status == 502, call)
    same(client.ask("GET", "/size/10"), 10)


def check_client_reset(env):
    """The upstream learns that the client is gone, before, in and behind the upload."""
    survivor = env.client()
    for path, more in (("wait", False), ("drip", False), ("wait", True)):
        key, client = next(env.keys), env.client()
        call = client.start("POST", f"/{path}/{key}", body=b"some", more=more)
        if path == "drip":
            client.run(lambda: len(call.body) > 3, "the first of a dripping answer")
        else:
            client.turn(0)
        env.waits_for_state(key, "open", client)
        client.abandon(call)
        if env.is_h2:
            same(client.ask("GET", "/size/10"), 10)
        try:
            env.waits_for_state(key, "gone")
        except Failure as failure:
            raise Failure(f"/{path}, more={more}: {failure}") from None
    same(survivor.ask("GET", "/size/10"), 10)


def check_fields(env):
    """Heads that need CONTINUATION frames, both ways; fields that must stay several."""
    client = env.client()
    for size in (100, 20_000, 40_000):
        value = "r" * size
        seen = report(client.ask("GET", "/echo", fields=[("x-large", value)]))
        expect(dict(seen["fields"])["x-large"] == value, "a request's field of", size)
        call = client.ask("GET", f"/fields/{size}")
        expect(call.field("x-large") == "v" * size, "an answer's field of", size)
        cookies = [value for name, value in call.fields if name == "set-cookie"]
        expect(cookies == ["a=1", "b=2"], cookies)


def check_cookies(env):
    """RFC 9113 §8.2.3: crumbs are one field again where the other side speaks HTTP/1.1."""
    client = env.client()
    crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]
    fields = crumbs if env.is_h2 else [("cookie", "a=1; b=2; c=3")]
    seen = report(client.ask("GET", "/echo", fields=fields))
    found = [value for name, value in seen["fields"] if name == "cookie"]
    expect("; ".join(found) == "a=1; b=2; c=3", found)
    if seen["version"] == "1.1":
        expect(len(found) == 1, found)


def check_host(env):
    """There is one host, and nothing that belonged to the client's hop."""
    fields = [] if env.is_h2 else [("connection", "x-hop, keep-alive"), ("x-hop", "1")]
    seen = report(env.client().ask("GET", "/echo", fields=fields))
    names = [name for name, _ in seen["fields"]]
    hosts = [value for name, value in seen["fields"] if name in ("host", ":authority")]
    expect(hosts and set(hosts) == {env.options.name}, hosts)
    expect(names.count("host") <= 1, names)
    expect("x-hop" not in names, names)
    if seen["version"] == "2":
        expect(not {"connection", "keep-alive", "transfer-encoding", "upgrade"} & set(names), names)
        scheme = [value for name, value in seen["fields"] if name == ":scheme"]
        expect(scheme in (["http"], ["https"]), scheme)


def check_upstream_version(env):
    """The upstream is spoken to as it should be."""
    seen = report(env.client().ask("GET", "/echo"))
    expect(seen["version"] == env.options.upstream, "the upstream saw", seen["version"])


# What only HTTP/2 clients can do.

def check_siblings(env):
    """An answer that nobody takes and an upload that nobody reads hold up no other stream."""
    client = env.client()
    stalled = client.start("GET", f"/size/{8 * MIB}", acknowledges=False)
    client.run(lambda: len(stalled.body) >= 60_000, "the first of a large answer")
    key = next(env.keys)
    deaf = client.start("POST", f"/deaf/{key}", body=pattern.body(4 * MIB))
    env.waits_for_state(key, "open", client)
    for seed in range(20):
        same(client.ask("GET", f"/size/30000?seed={seed}"), 30_000, seed)
        body = pattern.body(200_000, seed)
        seen = report(client.ask("POST", "/echo", body=body))
        expect(seen["sha256"] == pattern.digest(body), "an upload came as another")
    expect(not stalled.ending and not deaf.ending, stalled, deaf)
    expect(len(stalled.body) <= 65_535, "more than the window:", len(stalled.body))
    # It goes on as soon as there is room.
    stalled.acknowledges = True
    client.h2.increment_flow_control_window(8 * MIB, stalled.id)
    client.pump()
    client.run(lambda: stalled.ending, "the rest of the large answer", 20)
    same(stalled, 8 * MIB)
    client.abandon(deaf)


def check_many(env):
    """A hundred streams at once, each with its own answer."""
    client = env.client()
    calls = [(seed, client.start("GET", f"/size/{seed * 997}?seed={seed}")) for seed in range(100)]
    client.run(lambda: all(call.ending for _, call in calls), "a hundred answers", 30)
    for seed, call in calls:
        expect(call.ending == "end", call)
        same(call, seed * 997, seed)


def check_mirror(env):
    """Both directions at once, in step and without (HTTP/2 to HTTP/2 only)."""
    client = env.client()
    call = client.start("POST", "/mirror", more=True)
    sent = bytearray()
    for seed in range(50):
        piece = pattern.body(1000 + 37 * seed, seed)
        sent += piece
        client.put(call, piece)
        client.run(lambda: len(call.body) >= len(sent), f"the echo of piece {seed}")
    rest = pattern.body(3 * MIB, 99)
    client.put(call, rest)
    client.finish(call)
    client.run(lambda: call.ending, "the end of the echo", 20)
    expect(call.ending == "end" and bytes(call.body) == bytes(sent + rest), call)


def check_refused(env):
    """RFC 9113 §8.7: what was refused was not looked at, and is asked again."""
    client = env.client()
    for method, body in (("GET", None), ("POST", b"small"), ("POST", pattern.body(8_000))):
        key = next(env.keys)
        seen = report(client.ask(method, f"/refused/{key}?times=2", body=body))
        expect(seen["sha256"] == pattern.digest(body or b""), seen)


def check_drain(env):
    """A stream that is open when the proxy stops ends well; the others are turned away."""
    client, body = env.client(), pattern.body(200_000)
    call = client.start("POST", "/echo", body=body[:100_000], more=True)
    env.waits_for_state("none", "unknown", client)
    print("open", flush=True)
    client.run(lambda: client.goaways, "GOAWAY")
    client.put(call, body[100_000:])
    client.finish(call)
    client.run(lambda: call.ending, "the answer")
    expect(call.ending == "end", call)
    expect(report(call)["sha256"] == pattern.digest(body), "other content")
    client.run(lambda: client.wire.ending, "the end of the connection")
    expect(client.goaways[-1] >= call.id, "GOAWAY for", client.goaways)


def main():
    parser = checks.parser(__doc__)
    parser.add_argument("--client", choices=["h1", "h2"], required=True)
    parser.add_argument("--direct", action="store_true", help="nothing stands between the two")
    parser.add_argument("--upstream", choices=["1.1", "2"], help="what it should be asked in")
    return checks.run(globals(), Env(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
