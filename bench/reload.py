#!/usr/bin/env python3
"""What a reload costs with many sites, a certificate each: edged, HAProxy and nginx.

Per program: how long from the signal until a renewed certificate is served, the p99 of requests on
a schedule while nothing happens and while reloads do (each after one change), how many of them
failed, and how many of 20 idle keep-alive connections are left. With --soak, edged alone: memory,
descriptors and threads before and after that many reloads, every one of which changes something.

usage: reload.py [--edged PATH] [--folder /tmp/edged-sites] [--sites 10000] [--rounds 3]
                 [--programs haproxy,nginx,edged] [--reloads 4] [--rate 2000] [--json FILE]
       reload.py --soak 1000 [--edged PATH] [--folder DIR] [--sites 10000] [--most MiB]

Exit status: 0, 1 if edged failed a request, closed an idle connection, or kept more than --most.
"""
import argparse, json, os, shutil, signal, socket, ssl, statistics, subprocess, sys, threading, time

import mint
from clients import load
from sites import ROOT, Program, free_port, pss_mib, start_origin

LOCAL = "localhost"


class Idle:
    """Keep-alive connections on which nothing is said until the end."""

    def __init__(self, port, count):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.all = []
        for _ in range(count):
            raw = socket.create_connection(("127.0.0.1", port), 5)
            self.all.append(context.wrap_socket(raw, server_hostname=LOCAL))
        assert self.alive() == count

    @staticmethod
    def answers(connection):
        try:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {LOCAL}\r\n\r\n".encode())
            data = b""
            while len(data.partition(b"\r\n\r\n")[2]) < 100:
                piece = connection.recv(65536)
                if not piece:
                    return False
                data += piece
            return data.startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def alive(self):
        return sum(self.answers(c) for c in self.all)

    def close(self):
        for connection in self.all:
            connection.close()


def started(options, name, origin):
    program = Program(options, name, options.sites, origin)
    program.extra.append(LOCAL)
    program.start()
    for pid in program.pids():
        subprocess.run(["taskset", "-apc", "0", str(pid)], stdout=subprocess.DEVNULL)
    return program


def renew(program, issuer, index):
    """Replaces one certificate, reloads, and returns the seconds until it is served."""
    host, path = program.hosts[index], program.path(f"certs/{index:05}.pem")
    old = program.served(host)
    mint.write(path + ".new", mint.bundle(issuer, [host]))
    os.replace(path + ".new", path)
    begin = time.monotonic()
    program.process.send_signal(signal.SIGUSR2 if program.name == "haproxy" else signal.SIGHUP)
    program.until(lambda: program.served(host) not in (None, old), 120)
    return time.monotonic() - begin


def measure(options, name, origin):
    program = started(options, name, origin)
    issuer = mint.authority()
    words = ("-t", "-c", 32, "-R", options.rate)
    try:
        time.sleep(3)
        idle = Idle(program.port, 20)
        quiet = load(program, options.seconds, *words)
        spans = []

        def reloads():
            time.sleep(1)
            for number in range(options.reloads):
                spans.append(renew(program, issuer, (number * 7 + 1) % program.count))
                time.sleep(0.3)

        thread = threading.Thread(target=reloads)
        thread.start()
        # Long enough for all of them: what is not under load is not measured.
        busy = load(program, options.seconds * 3, *words)
        thread.join()
        figures = {
            "seconds": statistics.median(spans), "p99 without": quiet["p99"] / 1e3,
            "p99 with": busy["p99"] / 1e3, "ratio": busy["p99"] / max(quiet["p99"], 1e-9),
            "failed": busy["failed"], "idle lost": 20 - idle.alive(), "requests": busy["requests"],
            "lag": max(quiet["lag"], busy["lag"]) / 1e3, "MiB": pss_mib(program.pids()),
        }
        idle.close()
        return figures
    finally:
        program.stop()
        shutil.rmtree(program.folder, ignore_errors=True)


def state(program):
    """Resident MiB, descriptors and threads of all its processes."""
    descriptors = threads = 0
    for pid in program.pids():
        try:
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
            threads += len(os.listdir(f"/proc/{pid}/task"))
        except FileNotFoundError:
            pass
    return {"MiB": pss_mib(program.pids()), "descriptors": descriptors, "threads": threads}


def status(program):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(program.path("admin.sock"))
        connection.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := connection.recv(65536):
            data += piece
    return json.loads(data.split(b"\r\n\r\n", 1)[1])


def soak(options, origin):
    """Reloads one after another: a site comes and goes, and the limits change with each."""
    program = started(options, "edged", origin)
    try:
        plain = open(program.path("edged.yaml")).read()
        added = plain + f"  - {{ hosts: added.{mint.SUFFIX}, upstream: app }}\n"
        times = []

        def reload(number):
            text = (added if number % 2 else plain) + \
                f"limits: {{ header_fields: {100 + number % 7} }}\n"
            program.write("edged.yaml", text)
            before, begin = status(program)["epoch"], time.monotonic()
            program.process.send_signal(signal.SIGHUP)
            program.until(lambda: status(program)["epoch"] > before, 60)
            times.append(time.monotonic() - begin)

        # What the first ones touch for good is no leak.
        for number in range(20):
            reload(number)
        time.sleep(5)
        before = state(program)
        times.clear()
        for number in range(options.soak):
            reload(number)
            if number % 100 == 99:
                each = " + ".join(f"{pss_mib([pid]):.1f}" for pid in program.pids())
                print(f"after {number + 1}: {each} MiB", flush=True)
        time.sleep(5)
        after = state(program)
        grown = after["MiB"] - before["MiB"]
        print(f"{options.soak} reloads with {options.sites} sites: "
              f"median {statistics.median(times) * 1e3:.0f} ms, longest {max(times) * 1e3:.0f} ms; "
              f"MiB {before['MiB']:.1f} → {after['MiB']:.1f}, descriptors "
              f"{before['descriptors']} → {after['descriptors']}, threads {before['threads']} → "
              f"{after['threads']}")
        return grown <= options.most and after["descriptors"] <= before["descriptors"] \
            and after["threads"] <= before["threads"]
    finally:
        program.stop()
        shutil.rmtree(program.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--folder", default="/tmp/edged-sites")
    parser.add_argument("--sites", type=int, default=10000)
    parser.add_argument("--programs", default="haproxy,nginx,edged")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reloads", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--soak", type=int, default=0)
    parser.add_argument("--most", type=float, default=4.0, help="MiB that edged may keep")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.edged = os.path.abspath(options.edged)
    mint.mint(os.path.join(options.folder, "certs"), options.sites)
    origin = free_port()
    upstream = start_origin(options.folder, origin)
    rows, good = [], True
    try:
        if options.soak:
            return 0 if soak(options, origin) else 1
        names = options.programs.split(",")
        runs = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                runs[name].append(measure(options, name, origin))
        for name in names:
            for figure in runs[name][0]:
                values = [run[figure] for run in runs[name]]
                rows.append({"program": name, "figure": figure, "min": min(values),
                             "median": statistics.median(values), "max": max(values)})
                row = rows[-1]
                print(f"{options.sites:>6} {name:<8} {figure:<12} {row['median']:>10.3f} "
                      f"({row['min']:.3f}–{row['max']:.3f})", flush=True)
        if "edged" in runs:
            good = all(not run["failed"] and not run["idle lost"] for run in runs["edged"])
    finally:
        upstream.terminate()
        upstream.wait()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
