#!/usr/bin/env python3
"""What the access log costs: CPU per request of edged with the log off and on.

All kinds run at the same time, pinned to one CPU, and get their load in turn, a second each, from
the other CPU: on a machine that others use, only what is measured close together can be compared.
The log's own thread is part of the figure. The file is in memory (/dev/shm): no disk is measured.

usage: accesslog.py [--edged PATH] [--base PATH] [--rounds N]
--base: another binary, measured without a log in the same rounds.
"""
import argparse, os, shutil, statistics, sys, tempfile

from clients import wrk
from proxies import ROOT, Server, Site, free_port


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--base")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    options.edged = os.path.abspath(options.edged)
    folder = tempfile.mkdtemp(prefix="edged-bench-", dir="/dev/shm")
    figures, servers, dropped = {}, [], 0
    try:
        site = Site(folder, bridge=False)
        origin = free_port()
        servers.append(Server("upstream", ["nginx", "-c", site.upstream(origin)], origin, 1, folder))
        path = site.path("access.log")
        kinds = [("off", options.edged, ""), ("on", options.edged, f"access_log: {{ path: {path} }}")]
        if options.base:
            kinds.append(("base", os.path.abspath(options.base), ""))
        running = []
        for name, binary, section in kinds:
            port = free_port()
            with open(site.edged(port, origin)) as f:
                text = f.read().replace("admin.sock", f"{name}.sock")
            config = site.write(f"{name}.yaml", text + section + "\n")
            server = Server(name, [binary, "-c", config], port, 0, folder)
            servers.append(server)
            running.append((name, server))
        for round_number in range(options.rounds):
            # In another order each time, so that no kind always comes after the same one.
            shift = round_number % len(running)
            spent = {}
            for name, server in running[shift:] + running[:shift]:
                seen = wrk(server, 1)
                if seen["failed"]:
                    sys.exit(f"{seen['failed']} requests failed: {seen['error']}")
                # The load did not get its CPU: nothing was measured.
                if seen["requests"] > 1000:
                    spent[name] = (seen["user"] + seen["system"]) / seen["requests"]
            if len(spent) == len(running):
                for name, value in spent.items():
                    figures.setdefault(name, []).append(value)
        with open(path) as f:
            dropped = sum('"kind":"dropped"' in line for line in f)
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for name, values in figures.items():
        print(f"{name:<5}{statistics.median(values):8.2f} µs/request "
              f"({min(values):.2f}–{max(values):.2f})")
    for name in figures:
        if name != "off":
            added = sorted(b - a for a, b in zip(figures["off"], figures[name]))
            quarter = len(added) // 4
            print(f"{name} - off: {statistics.median(added):+.2f} µs/request "
                  f"(middle half {added[quarter]:+.2f} to {added[-1 - quarter]:+.2f})")
    print(f"lines that tell of dropped ones: {dropped}")


if __name__ == "__main__":
    main()
