#!/usr/bin/env python3
"""Thousands of idle TLS connections, while another client is served: what they cost it, what they
cost in memory and descriptors, and what is left when they have gone.

The other client makes requests on a schedule (open loop, latency from when a request was due):
before the idle connections come, while they are there, and after they have gone. Rounds begin with
a fresh proxy each. The proxy has one CPU, everything else another.

Exit status: 0, 1 if a request failed or edged missed one of these:
  p50 with idle connections ≤ 1.25 × without, p99 ≤ 1.5 × or 0.5 ms more (medians of all rounds)
  memory per idle connection ≤ 16 KiB; kept 3 s after they have gone ≤ 8 MiB
  no descriptor more than before
"""
import argparse, os, shutil, statistics, sys, tempfile, time

from clients import CPU, Held, ask_once, load
from compare import PROXY_CPU, command
from proxies import ROOT, Server, Site, descriptors, free_port, private_kib


def served(server, options):
    """p50 and p99 of the other client, µs, and its worst lag, ms: medians of slices, since one
    moment in which others have the CPU is most of a p99."""
    slices = []
    for _ in range(options.slices):
        seen = load(server, 1, "-t", "-c", 32, "-b", 100, "-R", options.rate, warm=0.2)
        if seen["failed"]:
            sys.exit(f"{server.name}: {seen['failed']} requests failed: {seen['error']}")
        slices.append((seen["p50"], seen["p99"], seen["lag"] / 1e3))
    return tuple(statistics.median(values) for values in zip(*slices))


def one_round(name, site, origin, options):
    port = free_port()
    server = Server(name, command(name, site, port, origin, options), port, PROXY_CPU, site.folder)
    try:
        ask_once(port)
        time.sleep(0.5)
        fresh = descriptors(server.pids(), origin)
        seen = {"before": served(server, options)}
        base = private_kib(server.pids())
        with Held("load", server, options.idle, "-t", "-b", 100) as clients:
            if clients.error:
                sys.exit(f"{name}: {clients.error}")
            time.sleep(0.5)
            seen["held"] = (private_kib(server.pids()) - base) / options.idle
            seen["open"] = descriptors(server.pids(), origin) - fresh
            seen["with"] = served(server, options)
            clients.release()
            for wait, moment in ((1.5, "1.5"), (1.5, "3")):
                time.sleep(wait)
                seen["kept " + moment] = (private_kib(server.pids()) - base) / 1024
            seen["left"] = descriptors(server.pids(), origin) - fresh
        seen["after"] = served(server, options)
        return seen
    finally:
        server.stop()


def show(name, seen):
    times = "  ".join(f"{moment} p50 {seen[moment][0]:.0f} p99 {seen[moment][1]:.0f} µs "
                      f"(lag {seen[moment][2]:.1f} ms)" for moment in ("before", "with", "after"))
    print(f"{name:<9}{times}\n{'':<9}{seen['held']:.2f} KiB per connection, {seen['open']} descriptors; "
          f"gone for 1.5 s: {seen['kept 1.5']:.1f} MiB, 3 s: {seen['kept 3']:.1f} MiB, "
          f"{seen['left']} descriptors", flush=True)


def summary(name, rounds):
    """Medians; whether the bounds hold."""
    def median(*values):
        return statistics.median(values)

    without = [median(*(r[m][i] for r in rounds for m in ("before", "after"))) for i in (0, 1)]
    beside = [median(*(r["with"][i] for r in rounds)) for i in (0, 1)]
    held, kept = (median(*(r[key] for r in rounds)) for key in ("held", "kept 3"))
    left = max(r["left"] for r in rounds)
    print(f"{name:<9}p50 {without[0]:.0f} → {beside[0]:.0f} µs (× {beside[0] / without[0]:.2f}), "
          f"p99 {without[1]:.0f} → {beside[1]:.0f} µs (× {beside[1] / without[1]:.2f}), "
          f"{held:.2f} KiB per connection, {kept:.1f} MiB kept, {left} descriptors left")
    lag = median(*(r[m][2] for r in rounds for m in ("before", "with", "after")))
    if lag > 1:
        print(f"{'':<9}the client itself was up to {lag:.1f} ms late: the machine has other work, and "
              "p99 says little")
    return (beside[0] <= 1.25 * without[0] and beside[1] <= max(1.5 * without[1], without[1] + 500)
            and held <= 16 and kept <= 8 and left <= 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--proxies", default="edged,haproxy", help="separated by commas")
    parser.add_argument("--idle", type=int, default=5000)
    parser.add_argument("--rate", type=int, default=2000, help="requests per second")
    parser.add_argument("--slices", type=int, default=5, help="of a second, per measurement")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.edged = os.path.abspath(options.edged)
    folder = tempfile.mkdtemp(prefix="edged-idle-")
    upstream, rounds = None, {name: [] for name in options.proxies.split(",")}
    try:
        site, origin = Site(folder), free_port()
        upstream = Server("upstream", ["nginx", "-c", site.upstream(origin)], origin, CPU, folder)
        for _ in range(options.rounds):
            for name, seen in rounds.items():
                seen.append(one_round(name, site, origin, options))
                show(name, seen[-1])
    finally:
        if upstream:
            upstream.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{options.idle} idle connections, {options.rate} requests/s of another client; medians "
          f"of {options.rounds}:")
    good = {name: summary(name, seen) for name, seen in rounds.items()}
    if not good.get("edged", True):
        print("MISSED")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
