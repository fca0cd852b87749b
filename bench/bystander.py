#!/usr/bin/env python3
"""What another client notices while one abuses HTTP/2: edged, HAProxy and nginx side by side.

The other client makes requests on a schedule (open loop, 8 kept TLS connections, latency from when
a request was due): first alone, then during an attack by 8 connections that are opened anew as
soon as they are cut. Every attack meets fresh proxies; idle figures are medians over all attacks.
The proxy has one CPU, everything else another. The client and the upstream have real-time
priority where that is allowed, so that they wait for the proxy and not for the abuser.

A run is void, and repeated, if the client noticed 1 % of its requests more than 5 ms after they
were due, or if the proxy, while its other client was alone, waited for its own CPU (because others
had it) for more than a tenth of the time; --tries says how often.

Exit status: 0, 1 if edged failed a request or exceeded a bound, 2 if a run stayed void:
  p99 during an attack ≤ 5 × idle p99, or ≤ 20 ms; memory grows by less than 20 MiB
"""
import argparse, glob, json, os, shutil, signal, statistics, sys, tempfile, threading, time

from clients import CPU, program, start as start_client
from compare import PROXY_CPU, command, version
from proxies import ROOT, Server, Site, free_port

ATTACKS = {
    "handshakes": "handshakes and nothing else (reference)",
    "rapid-reset": "requests, each reset at once (CVE-2023-44487)",
    "made-reset": "requests that the proxy is made to reset (CVE-2025-8671)",
    "continuation": "CONTINUATION of 16 KB without end",
    "continuation-empty": "empty CONTINUATION without end",
    "ping": "PING",
    "settings": "SETTINGS that move windows",
    "priority": "PRIORITY",
    "window-update": "WINDOW_UPDATE",
    "empty-data": "empty DATA",
    "stalled": "100 answers of 1 MiB per connection, windows shut",
    "trickled": "the same, windows opened by a byte",
    "hpack-bomb": "12 KB of HPACK that make 48 MB",
}
TIMES_MAX, P99_MAX_US, GROWTH_MAX_MIB = 5, 20_000, 20
WAKE_MAX_US, WAIT_MAX = 5_000, 0.1
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def anonymous_mib(pids):
    """Resident memory that is no file's: what a walk of page tables would find, but cheaper."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm") as f:
                fields = f.read().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(fields[1]) - int(fields[2])
    return total * PAGE_MIB


def waited(pids):
    """How long all threads have waited for a CPU so far, in seconds."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[1])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return total / 1e9


def prefer(pids, realtime=None):
    """More CPU for processes; not being allowed to is no failure: the void rounds will tell."""
    for pid in pids:
        try:
            # Sessions share the CPU as groups, and niceness counts within each, if there are groups.
            if not realtime and os.getsid(pid) != os.getsid(0):
                with open(f"/proc/{pid}/autogroup", "w") as f:
                    f.write("-5")
        except OSError:
            pass
        for task in glob.glob(f"/proc/{pid}/task/*"):
            thread = int(os.path.basename(task))
            try:
                os.setpriority(os.PRIO_PROCESS, thread, -5)
                if realtime:
                    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(realtime))
            except (PermissionError, ProcessLookupError):
                pass


class Sampler(threading.Thread):
    """The most memory that a server has, until it is stopped."""

    def __init__(self, server):
        super().__init__()
        self.server, self.most, self.ended = server, 0.0, threading.Event()
        self.daemon = True
        self.start()

    def run(self):
        while not self.ended.wait(0.1):
            self.most = max(self.most, anonymous_mib(self.server.pids()))

    def stop(self):
        self.ended.set()
        self.join()
        return self.most


def measure(server, options, attack=None):
    """One run of the measured client, alone or during an attack."""
    pids = server.pids()
    prefer(pids)
    client = start_client("load", server, "-s", options.seconds, "-w", 0.5, "-t", "-c", 8, "-R",
                          options.rate, "-p", "/100", "-b", 100, "-v")
    prefer([client.pid], realtime=2)
    with client:
        begun = client.stdout.readline()
        base, delay, at = anonymous_mib(pids), waited(pids), time.monotonic()
        sampler = Sampler(server)
        if attack:
            abuser = start_client("abuser", server, "-k", attack, "-c", options.abusers, "-s",
                                  options.seconds + 10)
        line = client.stdout.readline()
        span = time.monotonic() - at
        most = sampler.stop()
        if attack:
            said, _ = abuser.communicate()
        _, errors = client.communicate()
    if begun != "begin\n" or not line.startswith("end "):
        return {"failed": 1, "error": errors.strip() or "the client died"}
    seen = json.loads(line[4:])
    seen["wait"] = (waited(pids) - delay) / span
    if attack:
        words = [word for word in said.splitlines() if word.startswith("end ")]
        if not words:
            return {"failed": 0, "error": "the abuser died", "void": "the abuser died"}
        abused = json.loads(words[0][4:])
        seen.update(opened=abused["opened"], rounds=abused["rounds"] / abused["seconds"],
                    cuts=abused["cuts"] / abused["seconds"], first=abused["first"],
                    cut=abused["cut"] if abused["cuts"] else -1)
        time.sleep(1.5)
        seen["growth"] = max(most - base, 0)
        seen["kept"] = anonymous_mib(server.pids()) - base
    if seen["wake"] > WAKE_MAX_US:
        seen["void"] = f"the client was {seen['wake'] / 1e3:.1f} ms late"
    elif not attack and seen["wait"] > WAIT_MAX:
        seen["void"] = f"the proxy waited for its CPU {seen['wait'] * 100:.0f} % of the time"
    return seen


def one_run(proxy, attack, site, origin, options):
    """Idle and attacked, by a fresh proxy; the last try is kept even if it is void."""
    for _ in range(options.tries):
        port = free_port()
        server = Server(proxy, command(proxy, site, port, origin, options), port, PROXY_CPU,
                        site.folder, alone=True)
        try:
            idle = measure(server, options)
            attacked = measure(server, options, attack)
        finally:
            server.stop()
        why = idle.get("void") or attacked.get("void")
        if not why:
            break
    return {"idle": idle, "attacked": attacked, "void": why}


def show(proxy, attack, run, idle_p99):
    """One line; whether the bounds hold."""
    seen, void = run["attacked"], f"  VOID: {run['void']}" if run["void"] else ""
    if "p99" not in seen:
        print(f"{attack:<20}{proxy:<9}failed: {seen['error']}{void}", flush=True)
        return False
    good = (not seen["failed"] and seen["growth"] < GROWTH_MAX_MIB
            and (seen["p99"] <= TIMES_MAX * idle_p99 or seen["p99"] <= P99_MAX_US))
    failed = f"  {seen['failed']} FAILED: {seen['error']}" if seen["failed"] else ""
    print(f"{attack:<20}{proxy:<9}p50 {seen['p50'] / 1e3:>7.2f} p99 {seen['p99'] / 1e3:>8.2f} max "
          f"{seen['max'] / 1e3:>8.2f} ms  × {seen['p99'] / idle_p99:>6.1f}  "
          f"{seen['growth']:>+7.1f} MiB, kept {seen['kept']:>+6.1f}  cuts {cuts(seen)}"
          f"  own CPU waited for {seen['wait'] * 100:.0f} %"
          f"{'' if good or proxy != 'edged' else '  MISSED'}{failed}{void}", flush=True)
    return good


def cuts(seen):
    if seen["cut"] < 0:
        return "none"
    return f"{seen['cuts']:.0f}/s after {seen['cut'] * 1e3:.1f} ms (first {seen['first'] * 1e3:.1f})"


def idle_p(proxy, runs, name):
    """The median of what idle runs saw, void ones only if there are no others."""
    all_seen = [r[proxy] for r in runs.values() if name in r[proxy]["idle"]]
    sound = [r for r in all_seen if not r["idle"].get("void")] or all_seen
    return statistics.median(r["idle"][name] for r in sound) if sound else float("nan")


def markdown(runs, proxies, options):
    lines = ["", "| attack | " + " | ".join(
        f"{p}: p50 · p99 · max ms (× idle p99)" for p in proxies)
        + " | most memory, kept, MiB (" + "; ".join(proxies) + ") | cut after, ms; per second |",
        "|---" * (len(proxies) + 3) + "|",
        "| none | " + " | ".join(
            f"{idle_p(p, runs, 'p50') / 1e3:.2f} · {idle_p(p, runs, 'p99') / 1e3:.2f} · "
            f"{idle_p(p, runs, 'max') / 1e3:.2f}" for p in proxies) + " | | |"]
    for attack, run in runs.items():
        cells, memory, ends = [ATTACKS[attack]], [], []
        for proxy in proxies:
            seen = run[proxy]["attacked"]
            void = " VOID" if run[proxy]["void"] else ""
            if "p99" not in seen:
                cells.append(f"failed{void}")
                memory.append("–")
                ends.append("–")
                continue
            failed = f", {seen['failed']} failed" if seen["failed"] else ""
            cells.append(f"{seen['p50'] / 1e3:.2f} · **{seen['p99'] / 1e3:.2f}** · "
                         f"{seen['max'] / 1e3:.1f} (× {seen['p99'] / idle_p(proxy, runs, 'p99'):.1f})"
                         f"{failed}{void}")
            memory.append(f"{seen['growth']:+.1f}, {seen['kept']:+.1f}")
            ends.append("never" if seen["cut"] < 0 else f"{seen['cut'] * 1e3:.1f}; {seen['cuts']:.0f}")
        lines.append("| " + " | ".join([*cells, " · ".join(memory), " · ".join(ends)]) + " |")
    versions = "; ".join(version(c) for c in (["haproxy", "-v"], ["nginx", "-v"],
                                              ["openssl", "version"], ["uname", "-r"]))
    lines += ["", f"{options.rate} requests/s, {options.seconds:g} s per attack, "
              f"{options.abusers} connections of the abuser; {versions}; load average "
              f"{' '.join(open('/proc/loadavg').read().split()[:3])}."]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--proxies", default="haproxy,nginx,edged", help="separated by commas")
    parser.add_argument("--attacks", default="all", help="names, separated by commas; see --list")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--seconds", type=float, default=3, help="of each attack")
    parser.add_argument("--rate", type=int, default=200, help="requests per second")
    parser.add_argument("--abusers", type=int, default=8, help="connections of an attack")
    parser.add_argument("--tries", type=int, default=3, help="of a run that is void")
    parser.add_argument("--markdown", action="store_true", help="the table again, as Markdown")
    options = parser.parse_args()
    if options.list:
        for name, what in ATTACKS.items():
            print(f"{name:<20}{what}")
        return 0
    wanted = list(ATTACKS) if options.attacks in ("all", "") else options.attacks.split(",")
    if unknown := set(wanted) - set(ATTACKS):
        sys.exit(f"no such attacks: {', '.join(sorted(unknown))}; there are: {', '.join(ATTACKS)}")
    proxies = options.proxies.split(",")
    options.edged = os.path.abspath(options.edged)
    for tool in ("openssl", "taskset", "gcc", *(p if p != "edged" else options.edged
                                                for p in proxies)):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing")
    if (os.cpu_count() or 1) < 2:
        sys.exit("two CPUs are needed: one for the proxy, one for everything else")
    # The proxies are in sessions of their own: no terminal ends them, so this must.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = tempfile.mkdtemp(prefix="edged-bystander-")
    upstream, runs = None, {}
    try:
        site, origin = Site(folder, h2=True), free_port()
        upstream = Server("upstream", [program("origin"), str(origin)], origin, CPU, folder)
        prefer(upstream.pids(), realtime=1)
        for attack in wanted:
            runs[attack] = {}
            for proxy in proxies:
                run = runs[attack][proxy] = one_run(proxy, attack, site, origin, options)
                # By what is known so far; the summary below takes all.
                show(proxy, attack, run, run["idle"].get("p99", float("nan")))
    finally:
        if upstream:
            upstream.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print("\nRatios to the idle p99 of all runs:")
    for proxy in proxies:
        print(f"{'none':<20}{proxy:<9}p50 {idle_p(proxy, runs, 'p50') / 1e3:>7.2f} p99 "
              f"{idle_p(proxy, runs, 'p99') / 1e3:>8.2f} max {idle_p(proxy, runs, 'max') / 1e3:>8.2f} ms")
    good = {(proxy, attack): show(proxy, attack, run[proxy], idle_p(proxy, runs, "p99"))
            for attack, run in runs.items() for proxy in proxies}
    if options.markdown:
        print(markdown(runs, proxies, options))
    void = [f"{attack} {proxy}" for attack, run in runs.items() for proxy in proxies
            if run[proxy]["void"]]
    if void:
        print(f"\n*** VOID: {', '.join(void)}")
    missed = [attack for (proxy, attack), held in good.items()
              if proxy == "edged" and not held and not runs[attack][proxy]["void"]]
    if missed:
        print(f"\nMISSED: {', '.join(missed)}")
        return 1
    return 2 if void else 0


if __name__ == "__main__":
    sys.exit(main())
