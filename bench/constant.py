#!/usr/bin/env python3
"""Constant memory: a download and an upload of 10 GiB through TLS, and a client that takes a
download slowly, while the resident memory of all the proxy's processes is sampled twice a second.

Every byte of the slow download is compared, of the fast one a counter in each 16 KiB, and the
upload is counted by the upstream.

Exit status: 0, 1 if something failed or edged grew by more than --most MiB.
"""
import argparse, array, os, shutil, socket, ssl, sys, tempfile, threading, time

from clients import CPU, ask_once, load, program
from compare import PROXY_CPU, command
from proxies import ROOT, Server, Site, cpu_ns, free_port, rollup_kib

PIECE = 64 << 10


class Sampler(threading.Thread):
    """Resident memory of these processes, twice a second; `end` returns the samples in KiB."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids, self.samples, self.over = pids, [], threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            self.samples.append(rollup_kib(self.pids, "Rss"))

    def end(self):
        self.samples.append(rollup_kib(self.pids, "Rss"))
        self.over.set()
        self.join()
        return self.samples


def transfer(server, options, *words):
    seen = load(server, 1800, "-t", "-c", 1, "-n", 1, *words, warm=0)
    if seen["failed"] or seen["requests"] != 1:
        sys.exit(f"{server.name}: {seen.get('error') or 'no answer'}")
    return seen["bytes"]


def download(server, options):
    size = options.gib << 30
    return transfer(server, options, "-p", f"/{size}", "-b", size, "-v")


def upload(server, options):
    return transfer(server, options, "-p", "/up", "-u", options.gib << 30)


def slow(server, options):
    """Reads at --slow MiB/s for --seconds, then turns away."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", server.port), 10)
    with context.wrap_socket(raw, server_hostname="localhost") as connection:
        connection.sendall(f"GET /{options.gib << 30} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reader = connection.makefile("rb", PIECE)
        if b" 200 " not in reader.readline():
            sys.exit(f"{server.name}: no answer")
        while reader.readline() != b"\r\n":
            pass
        begun, got = time.monotonic(), 0
        while time.monotonic() - begun < options.seconds:
            piece = reader.read(PIECE)
            first = got // 8
            if array.array("Q", piece) != array.array("Q", range(first, first + PIECE // 8)):
                sys.exit(f"{server.name}: wrong content after {got} bytes")
            got += len(piece)
            time.sleep(max(0, begun + got / (options.slow * (1 << 20)) - time.monotonic()))
    return got


WORK = {"download": download, "upload": upload, "slow": slow}


def measure(name, what, site, origin, options):
    """Peak above base in MiB, of a fresh proxy that has served one request."""
    port = free_port()
    server = Server(name, command(name, site, port, origin, options), port, PROXY_CPU, site.folder)
    try:
        ask_once(port, path="/100", body=None)
        time.sleep(1)
        pids = server.pids()
        base, spent, begun = rollup_kib(pids, "Rss"), cpu_ns(pids), time.monotonic()
        sampler = Sampler(pids)
        sampler.start()
        count = WORK[what](server, options) / (1 << 30)
        samples, taken = sampler.end(), time.monotonic() - begun
        spent = (cpu_ns(pids) - spent) / 1e9
        time.sleep(2)
        growth = (max(samples) - base) / 1024
        print(f"{name:<9}{what:<9}{count:6.2f} GiB in {taken:6.1f} s, {spent / count:.2f} CPU s/GiB; "
              f"resident: base {base / 1024:.1f} MiB, peak − base {growth:.1f} MiB of "
              f"{len(samples)} samples, 2 s later {(rollup_kib(pids, 'Rss') - base) / 1024:.1f} MiB",
              flush=True)
        return growth
    finally:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--proxies", default="edged", help="separated by commas")
    parser.add_argument("--gib", type=int, default=10, help="size of a transfer")
    parser.add_argument("--slow", type=float, default=4, help="MiB per second of the slow reader")
    parser.add_argument("--seconds", type=float, default=20, help="that the slow reader reads")
    parser.add_argument("--only", choices=WORK)
    parser.add_argument("--most", type=float, default=8, help="MiB of growth")
    options = parser.parse_args()
    options.edged = os.path.abspath(options.edged)
    folder = tempfile.mkdtemp(prefix="edged-constant-")
    upstream, good = None, True
    try:
        site, origin = Site(folder), free_port()
        upstream = Server("upstream", [program("origin"), str(origin)], origin, CPU, folder)
        for what in [options.only] if options.only else WORK:
            for name in options.proxies.split(","):
                growth = measure(name, what, site, origin, options)
                good = good and (name != "edged" or growth <= options.most)
    finally:
        if upstream:
            upstream.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if not good:
        print(f"edged has grown by more than {options.most:g} MiB")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
