#!/usr/bin/env python3
"""Counts heap calls of the release binary's workers over keep-alive requests (malloc_count.c).

Ours (the program and the Swift runtime in it) must be none; OpenSSL's are shown beside. What is
ours is listed with its stacks.

usage: allocations.py [--edged PATH] [--requests N]
"""
import argparse, collections, json, mmap, os, shutil, struct, subprocess, sys, tempfile

from clients import start
from proxies import ROOT, Server, Site, free_port

STACKS, DEPTH = 64, 24
HEAD = struct.Struct("8Q")   # magic, armed, calls (ours, OpenSSL's), frees (same), base, stacks
SIZE = HEAD.size + 8 * STACKS * DEPTH


class Counters:
    def __init__(self, path):
        with open(path, "wb") as f:
            f.truncate(SIZE)
        os.chmod(path, 0o666)   # the proxy may run as another user
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), SIZE)

    def read(self):
        names = ("magic", "armed", "ours", "openssl", "ours_freed", "openssl_freed", "base",
                 "stacks")
        return dict(zip(names, HEAD.unpack(self.memory[:HEAD.size])))

    def arm(self, on):
        self.memory[8:16] = struct.pack("Q", on)

    def stacks(self):
        count = min(self.read()["stacks"], STACKS)
        for i in range(count):
            row = self.memory[HEAD.size + 8 * DEPTH * i:HEAD.size + 8 * DEPTH * (i + 1)]
            yield [a for a in struct.unpack(f"{DEPTH}Q", row) if a]


def symbolised(edged, base, stacks):
    """Names of each stack, innermost first; without those of the counter itself."""
    inside = sorted({a - base - 1 for stack in stacks for a in stack if 0 < a - base < 1 << 28})
    done = subprocess.run(["addr2line", "-f", "-e", edged], text=True, capture_output=True,
                          input="\n".join(hex(a) for a in inside)).stdout.split("\n")
    names = subprocess.run(["swift", "demangle", "--compact"], text=True, capture_output=True,
                           input="\n".join(done[0:2 * len(inside):2])).stdout.split("\n")
    table = dict(zip(inside, names))
    return [" < ".join(table[a - base - 1] for a in stack if a - base - 1 in table)
            for stack in stacks]


def measure(edged, requests, tls=True):
    """Per request: {"ours", "openssl"}, and {stack: times} of the first calls that are ours."""
    folder = tempfile.mkdtemp(prefix="edged-heap-")
    servers = []
    try:
        library = compile_c_shared(folder)
        site = Site(folder)
        counters = Counters(site.path("counts"))
        origin, port = free_port(), free_port()
        servers.append(Server("upstream", ["nginx", "-c", site.upstream(origin)], origin, 1, folder))
        os.environ.update(LD_PRELOAD=library, HEAP_COUNT_FILE=site.path("counts"))
        try:
            servers.append(Server("edged", [edged, "-c", site.edged(port, origin)], port, 0, folder))
        finally:
            del os.environ["LD_PRELOAD"]
        if counters.read()["magic"] != 1:
            sys.exit("the counter was not loaded into the proxy")
        words = ["-t"] if tls else []
        with start("load", servers[1], "-s", 300, "-n", requests, "-w", 2, "-b", 100, *words) as client:
            if client.stdout.readline() != "begin\n":
                sys.exit("the load did not start: " + client.stderr.read())
            counters.arm(1)
            before = counters.read()
            line = client.stdout.readline()
            after = counters.read()
            counters.arm(0)
            client.communicate()
        seen = json.loads(line.removeprefix("end "))
        if seen["failed"] or seen["requests"] < requests:
            sys.exit(f"requests failed: {seen}")
        if not before["ours"]:
            sys.exit("nothing was counted at the start: the counter does not see the workers")
        stacks = symbolised(edged, after["base"], list(counters.stacks()))
        return ({name: (after[name] - before[name]) / seen["requests"]
                 for name in ("ours", "openssl")}, collections.Counter(stacks))
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def compile_c_shared(folder):
    target = os.path.join(folder, "malloc_count.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "malloc_count.c")
    subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-o", target, source, "-ldl"], check=True)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--requests", type=int, default=100_000)
    options = parser.parse_args()
    seen, stacks = measure(os.path.abspath(options.edged), options.requests)
    print(f"heap calls per request over {options.requests}: ours {seen['ours']:.4f}, "
          f"OpenSSL's {seen['openssl']:.2f}")
    for stack, times in stacks.most_common():
        print(f"  {times} × {stack}")
    return 1 if round(seen["ours"], 3) else 0


if __name__ == "__main__":
    sys.exit(main())
