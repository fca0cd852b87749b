#!/usr/bin/env python3
"""100,000 requests through each combination of HTTP/1.1 and HTTP/2, with random sizes (most small,
up to 1 MiB) both ways and random aborts by client and upstream; every byte is compared.

Afterwards nothing may be left: no connection, no request, no descriptor, no chunk of buffer, and no
memory beyond what the same load had needed for its warm-up. Upstreams of HTTP/2 say GOAWAY every
5,000 requests, which no request may notice.

usage: soak_http2.py [--edged PATH] [--requests N] [--only h1-h2,...] [--seed N]
"""
import argparse, json, os, random, shutil, socket, subprocess, sys, tempfile, time

from proxies import HERE, ROOT, Server, Site, free_port, rollup_kib
from soak import admin

COMBINATIONS = ["h1-h1", "h1-h2", "h2-h1", "h2-h2"]
#: At rest these are what they were before the first request.
GAUGES = ["edged_connections_open", "edged_requests_active", "edged_requests_waiting",
          "edged_upstream_connections_open", "edged_upstream_connections_idle", "edged_chunk_bytes"]
#: How much the proxy may have grown since the warm-up, which is shorter: tables of slots and heaps
#: reach their greatest size late (h1-h2 grew 3.1 MiB in 100,000 requests, 4.1 MiB in 300,000).
#: What leaks, leaks per request: 50 bytes of each would be seen.
GROWTH_KIB = 5120
GOAWAY_AFTER = 5000
#: Aborts are what this is about: the limits that end whoever aborts too much are out of the way.
LIMITS = ("http2: { resets: 1000000, pings: 1000000, settings: 1000000, priorities: 1000000, "
          "window_updates: 1000000, empty_data: 1000000, unknown_frames: 1000000 }")


def build(folder):
    for name, libraries in (("churn_client", ["-lnghttp2", "-lssl", "-lcrypto"]),
                            ("churn_upstream", ["-lnghttp2"])):
        subprocess.run(["gcc", "-O2", "-Wall", "-o", os.path.join(folder, name),
                        os.path.join(HERE, name + ".c"), *libraries], check=True)


def configuration(site, combination, port, origin):
    client, upstream = combination.split("-")
    protocol = "    protocol: h2\n" if upstream == "h2" else ""
    return site.write("edged.yaml", f"""version: 1
workers: 2
listeners:
  - {{ name: https, address: 127.0.0.1, port: {port}, protocol: tls }}
certificates: {{ directory: certs, default: localhost }}
sites:
  - {{ hosts: localhost, upstream: app }}
upstreams:
  app:
    servers: ["127.0.0.1:{origin}"]
{protocol}    timeouts: {{ keep_alive: 1s, response: 20s }}
timeouts: {{ drain: 5s }}
admin: {{ socket: admin.sock }}
{LIMITS if client == "h2" else ""}
""")


def gauges(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(path)
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := s.recv(65536):
            data += piece
    lines = (line.split() for line in data.decode().splitlines() if not line.startswith("#"))
    found = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[0] in GAUGES}
    assert len(found) == len(GAUGES), f"metrics: {found}"
    return found


class State:
    """What a proxy holds when nobody asks anything of it."""

    def __init__(self, path, pid):
        self.gauges = gauges(path)
        self.descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        self.resident = rollup_kib([pid], "Rss")

    def differences(self, base):
        found = [f"{name} {base.gauges[name]} → {value}" for name, value in self.gauges.items()
                 if value != base.gauges[name]]
        if self.descriptors != base.descriptors:
            found.append(f"descriptors {base.descriptors} → {self.descriptors}")
        return found


def rest(path, pid, base):
    """The state as soon as it is that of `base`, else that after 15 s."""
    deadline = time.monotonic() + 15
    while True:
        state = State(path, pid)
        if not state.differences(base) or time.monotonic() > deadline:
            return state
        time.sleep(0.1)


def load(folder, client, port, requests, seed):
    command = [os.path.join(folder, "churn_client"), client, str(port), "localhost", str(requests),
               "8" if client == "h2" else "64", "16", str(seed)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=600)
    return json.loads(done.stdout)


def run(combination, options, folder):
    client = combination.split("-")[0]
    site = Site(folder)
    port, origin = free_port(), free_port()
    servers = []
    try:
        servers.append(Server(f"upstream-{combination}", [
            os.path.join(folder, "churn_upstream"), str(origin), str(GOAWAY_AFTER)],
            origin, "0-1", folder))
        servers.append(Server(f"edged-{combination}", [
            os.path.abspath(options.edged), "-c", configuration(site, combination, port, origin)],
            port, "0-1", folder))
        path = site.path("admin.sock")
        time.sleep(1)
        pid = admin(path)["pid"]
        base = State(path, pid)
        problems = []
        warm = load(folder, client, port, options.requests // 5, options.seed)
        if admin(path)["pid"] != pid:
            with open(servers[1].log.name) as file:
                print(f"{combination}: FAILED: the proxy was replaced\n" + file.read()[-6000:])
            return False
        warmed = rest(path, pid, base)
        report = load(folder, client, port, options.requests, options.seed + 1)
        after = rest(path, pid, base)
        problems += after.differences(base)
        if after.resident - warmed.resident > GROWTH_KIB:
            problems.append(f"resident {warmed.resident} → {after.resident} KiB")
        if admin(path)["pid"] != pid:
            problems.append("the proxy was replaced")
        for name, one in (("warm-up", warm), ("run", report)):
            if one["failed"]:
                problems.append(f"{name}: {one['failed']} wrong, first: {one['first']}")
        servers[0].stop()
        with open(servers[0].log.name) as file:
            lines = file.read().strip().splitlines()
        seen = json.loads(lines[-1])
        if seen["bad"]:
            problems.append(f"upstream: {seen['bad']} wrong, first: {seen['first']}")
        print(f"{combination}: {report['requests']} requests in {report['seconds']} s, "
              f"{report['up_mib']} MiB up, {report['down_mib']} MiB down; {report['early']} early, "
              f"{report['cut']} cut, {report['dead']} dead ({report['bad_gateways']} × 502), "
              f"{report['left']} left by the client; {seen['goaways']} GOAWAY, "
              f"{seen['h1']} + {seen['h2']} connections to the upstream; "
              f"resident {base.resident} → {warmed.resident} → {after.resident} KiB, "
              f"descriptors {base.descriptors} → {after.descriptors}", flush=True)
        if problems:
            print(f"{combination}: FAILED\n  " + "\n  ".join(problems), flush=True)
            with open(servers[1].log.name) as file:
                print(file.read()[-3000:])
        return not problems
    finally:
        for server in reversed(servers):
            server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--only", default=",".join(COMBINATIONS))
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="edged-soak-http2-")
    try:
        build(folder)
        results = [run(combination, options, folder) for combination in options.only.split(",")]
        return 0 if all(results) else 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
