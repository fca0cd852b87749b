#!/usr/bin/env python3
"""Compares edged with HAProxy and nginx, side by side in one run.

The proxy is pinned to one CPU, the load generator and the upstream to another. Rounds are
interleaved and begin with another proxy each; all proxies are fresh in every round. A figure is
CPU time of all the proxy's processes and threads per unit of work, and its ratio to HAProxy in
the same round: compare ratios, not microseconds. Every answer is checked; a run in which a
request failed is void, and so is its row.

Exit status: 0, 1 if a row is void, 3 if edged lacks what a row needs (see --allow-missing), 4 with
--gate if a gate is missed.
"""
import argparse, json, os, resource, shutil, statistics, subprocess, sys, tempfile, time

from clients import CPU, program
from proxies import (BODY, HERE, ROOT, STREAM_MODULE, Server, Site, cpu_ns, descendants, free_port,
                     private_kib)
from rows import ROWS

#: The first is what the others are compared with.
PROXIES = ["haproxy", "nginx", "edged"]
PROXY_CPU = 0


def able(row):
    """The proxies that take part in a row."""
    return [proxy for proxy in PROXIES if proxy not in row.without]


def command(proxy, site, port, origin, options):
    return {
        "haproxy": lambda: ["haproxy", "-W", "-db", "-f", site.haproxy(port, origin)],
        "nginx": lambda: ["nginx", "-c", site.nginx(port, origin)],
        "edged": lambda: [options.edged, "-c", site.edged(port, origin)],
        "baseline": lambda: [options.baseline, "-c", site.edged(port, origin, "baseline")],
        "views": lambda: [options.edged, "-c", site.edged(port, origin, "views", views=True)],
    }[proxy]()


def refusal(site, options):
    """Why edged does not take this site's configuration; None: it does."""
    config = site.edged(free_port(), free_port(), views=options.views != "off")
    check = subprocess.run([options.edged, "--check", "-c", config], capture_output=True, text=True)
    return None if check.returncode == 0 else (check.stdout + check.stderr).strip()


def start(proxy, site, origin, options, cpu=PROXY_CPU):
    port = free_port()
    server = Server(proxy, command(proxy, site, port, origin, options), port, cpu, site.folder)
    server.site = site
    return server


def combined(row, runs):
    """What several runs against one server saw, as one."""
    for run in runs:
        if run.get("cipher") and run["cipher"] != row.cipher:
            run["failed"], run["error"] = 1, f"{run['cipher']} was negotiated"
        if run["failed"]:
            return run
    whole = {"failed": 0, "error": ""}
    for name in ("user", "system", "per", "requests"):
        if name in runs[0]:
            whole[name] = sum(run[name] for run in runs)
    for name in ("rate", "p50", "p99", *(figure.name for figure in row.figures)):
        if name in runs[0]:
            whole[name] = statistics.median(run[name] for run in runs)
    if "per" in whole:
        if not whole["per"]:
            return {"failed": 1, "error": "nothing was done"}
        whole[row.figures[0].name] = (whole["user"] + whole["system"]) / whole["per"]
    return whole


def one_round(row, variants, origin, options):
    """All variants take turns, slice by slice; {name: what was seen}."""
    slices = options.slices if row.sliced else 1
    servers, runs = [], {name: [] for name, _, _ in variants}
    try:
        # Memory is measured of processes that have served nobody; others may share the CPU.
        if slices > 1:
            servers = [start(proxy, site, origin, options) for _, proxy, site in variants]
        for number in range(slices):
            for index, (name, proxy, site) in enumerate(variants):
                server = servers[index] if servers else start(proxy, site, origin, options)
                try:
                    runs[name].append(row.measure(
                        server, options, options.seconds / slices, 0.1 if number else 0.5))
                finally:
                    if not servers:
                        server.stop()
    finally:
        for server in servers:
            server.stop()
    return {name: combined(row, seen) for name, seen in runs.items()}


def compared(row, proxy, site, plain, other):
    """What was seen with both of a row's sites, as one."""
    for run in (plain, other):
        if run["failed"]:
            return run
    figures = row.compared(proxy, site, plain, other)
    if "error" in figures:
        return {"failed": 1, "error": figures["error"]}
    return {**plain, **figures}


def run_row(row, options):
    """The row's runs: a list of rounds, each {proxy: what was seen}; or why there are none."""
    folder = tempfile.mkdtemp(prefix="edged-bench-")
    servers, rounds = [], []
    try:
        views = options.views == "on"
        plain = row.kind(folder, **row.site, views=views)
        sites = {"": plain}
        if row.other:
            sites[" other"] = row.kind(os.path.join(folder, "other"),
                                       **{**row.site, **row.other}, views=views)
        for site in sites.values():
            if "edged" in PROXIES and (why := refusal(site, options)):
                return None, why
        variants = [(proxy + suffix, proxy, site)
                    for suffix, site in sites.items() for proxy in able(row)]
        origin = options.origin = free_port()
        upstream = (["nginx", "-c", plain.upstream(origin)] if row.upstream == "nginx"
                    else [program(row.upstream), str(origin)])
        servers.append(Server("upstream", upstream, origin, CPU, folder))
        for number in range(min(options.rounds, row.rounds_max)):
            shift = number % len(variants)
            seen = one_round(row, variants[shift:] + variants[:shift], origin, options)
            if row.other:
                for proxy in able(row):
                    seen[proxy] = compared(row, proxy, sites[" other"], seen[proxy],
                                           seen.pop(proxy + " other"))
            rounds.append(seen)
        return rounds, None
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def evaluate(row, rounds):
    """Per figure: values, ratios to HAProxy, gate and goal."""
    results = []
    proxies = able(row)
    failures = {p: sum(r[p]["failed"] for r in rounds) for p in proxies}
    errors = {p: next((r[p]["error"] for r in rounds if r[p].get("error")), "") for p in proxies}
    for figure in row.figures:
        entry = {"row": figure.name, "title": row.title, "unit": figure.unit,
                 "gate": figure.gate, "goal": figure.goal, "against": figure.against,
                 "without": row.without,
                 "void": {p: errors[p] for p in proxies if failures[p]}, "proxies": {}}
        for proxy in proxies:
            whole = [r for r in rounds if not r[proxy]["failed"] and not r[PROXIES[0]]["failed"]]
            if not whole:
                continue
            seen = spread([r[proxy][figure.name] for r in whole])
            base = [r[PROXIES[0]][figure.name] for r in whole]
            if figure.against == "haproxy":
                seen["ratio"] = spread([r[proxy][figure.name] / (b or 1e-9)
                                        for r, b in zip(whole, base)])
            for name in ("rate", "p50", "p99"):
                if name in whole[0][proxy]:
                    seen[name] = statistics.median(r[proxy][name] for r in whole)
            for name in ("user", "system"):
                if "per" in whole[0][proxy]:
                    seen[name] = statistics.median(
                        r[proxy][name] / (r[proxy]["per"] or 1) for r in whole)
            entry["proxies"][proxy] = seen
        ours = entry["proxies"].get("edged")
        if ours and not entry["void"] and figure.gate is not None and "haproxy" in PROXIES:
            value = ours["ratio"]["median"] if figure.against == "haproxy" else ours["median"]
            entry["reached"] = ("goal" if value <= figure.goal else
                                "gate" if value <= figure.gate else "missed")
        results.append(entry)
    return results


def show(entry):
    for proxy in PROXIES:
        seen = entry["proxies"].get(proxy)
        if proxy in entry["without"]:
            continue
        if not seen:
            print(f"{entry['row']:<23}{proxy:<9}void: {entry['void'].get(proxy, '')}", flush=True)
            continue
        ratio = seen.get("ratio")
        text = (f"× {ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else "")
        split = f"{seen['user']:.2f} + {seen['system']:.2f}" if "user" in seen else ""
        times = f"p50 {seen['p50']:.0f} p99 {seen['p99']:.0f} µs" if "p50" in seen else ""
        rate = f"{seen['rate']:.0f}/s" if "rate" in seen else ""
        void = f"  VOID: {entry['void'][proxy]}" if proxy in entry["void"] else ""
        mark = f"  {entry.get('reached', '')}" if proxy == "edged" else ""
        print(f"{entry['row']:<23}{proxy:<9}{seen['median']:>9.2f} {entry['unit']:<16}"
              f"{text:<20}{split:<18}{rate:>9}  {times}{mark}{void}", flush=True)


def markdown(results, missing, options):
    lines = ["", "| work | HAProxy | nginx | edged (user + system) | × HAProxy (min–max) | nginx × "
             "| gate | goal | reached | requests/s, p50 · p99 µs (HAProxy; edged) |",
             "|---|---|---|---|---|---|---|---|---|---|"]

    def cell(proxy, entry, split=False):
        seen = entry["proxies"].get(proxy)
        if not seen:
            return "–" if proxy in entry["without"] else "void"
        text = f"{seen['median']:.2f}"
        return f"{text} ({seen['user']:.2f} + {seen['system']:.2f})" if split and "user" in seen else text

    def times(seen):
        if not seen or "p50" not in seen:
            return "–"
        return f"{seen['rate']:.0f}, {seen['p50']:.0f} · {seen['p99']:.0f}"

    for e in results:
        h, n, o = (e["proxies"].get(p) for p in ("haproxy", "nginx", "edged"))
        ratio = o.get("ratio") if o else None
        lines.append("| " + " | ".join([
            f"{e['title']}: {e['row']}, {e['unit']}", cell("haproxy", e), cell("nginx", e),
            cell("edged", e, True),
            f"**{ratio['median']:.2f}** ({ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else "–",
            f"{n['ratio']['median']:.2f}" if n and "ratio" in n else "–",
            "–" if e["gate"] is None else f"{e['gate']:g}",
            "–" if e["goal"] is None else f"{e['goal']:g}",
            "VOID" if e["void"] else e.get("reached", "–"),
            f"{times(h)}; {times(o)}" if o and "p50" in o else "–"]) + " |")
    for name in missing:
        lines.append(f"| {name} | | | **edged lacks it** | | | | | missing | |")
    versions = "; ".join(version(c) for c in (["haproxy", "-v"], ["nginx", "-v"],
                                               ["openssl", "version"], ["uname", "-r"]))
    lines += ["", f"{options.rounds} rounds of {options.seconds} s; {versions}; load average "
              f"{' '.join(open('/proc/loadavg').read().split()[:3])}; TLS 1.3, "
              "TLS_AES_128_GCM_SHA256, X25519, no early data; tickets: 2 of HAProxy and nginx, "
              "1 of edged (their defaults)"
              f"{'; edged with views' if options.views == 'on' else ''}."]
    return "\n".join(lines)


def version(words):
    done = subprocess.run(words, capture_output=True, text=True)
    return (done.stdout + done.stderr).split("\n")[0].split(" - ")[0].strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--baseline", metavar="PATH",
                        help="compare edged with this other build of edged, and with nothing else")
    parser.add_argument("--peers", action="store_true", help="without edged, to prove a row")
    parser.add_argument("--views", choices=("off", "on", "both"), default="off",
                        help="edged with two views, told apart by the interface; both: side by "
                        "side, the second as `views`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="measured time of a run")
    parser.add_argument("--slices", type=int, default=1, metavar="N",
                        help="the proxies take turns N times in a round: for a machine that has "
                        "other things to do; needs --client load")
    parser.add_argument("--rows", default="all", help="names, separated by commas; see --list")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--idle", type=int, default=5000, help="connections of the row idle")
    parser.add_argument("--client", choices=("wrk", "load"), default="wrk",
                        help="who makes plain keep-alive requests")
    parser.add_argument("--allow-missing", action="store_true",
                        help="exit 0 though edged lacks what a row needs")
    parser.add_argument("--gate", action="store_true", help="exit 4 if a gate is missed")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.list:
        for row in ROWS:
            print(f"{row.name:<23}{row.title}")
        return 0
    names = [row.name for row in ROWS]
    wanted = names if options.rows in ("all", "") else options.rows.split(",")
    if unknown := set(wanted) - set(names):
        sys.exit(f"no such rows: {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    if options.baseline:
        options.baseline = os.path.abspath(options.baseline)
        PROXIES[:] = ["baseline", "edged"]
    elif options.peers:
        PROXIES.remove("edged")
    if options.views == "both":
        if "edged" not in PROXIES:
            sys.exit("--views both needs edged")
        PROXIES.append("views")
    if options.slices > 1 and options.client == "wrk":
        sys.exit("wrk counts whole seconds: --slices needs --client load")
    options.edged = os.path.abspath(options.edged)
    for tool in ("wrk", "haproxy", "nginx", "openssl", "taskset", "gcc",
                 *([options.edged] if "edged" in PROXIES else [])):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing")
    if any(name.startswith("tcp") for name in wanted) and not os.path.exists(STREAM_MODULE):
        sys.exit(f"{STREAM_MODULE} is missing (libnginx-mod-stream)")
    if (os.cpu_count() or 1) < 2:
        sys.exit("two CPUs are needed: one for the proxy, one for everything else")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if "idle" in wanted and most < 2 * options.idle + 1000:
        sys.exit(f"the row idle needs {2 * options.idle + 1000} descriptors (ulimit -n)")
    results, missing = [], []
    for row in (row for row in ROWS if row.name in wanted):
        started = time.monotonic()
        rounds, why = run_row(row, options)
        if rounds is None:
            missing.append(row.name)
            print(f"\n*** MISSING: row {row.name} can't run, edged refuses its configuration:\n"
                  f"*** {why}\n", flush=True)
            continue
        entries = evaluate(row, rounds)
        for entry in entries:
            entry["elapsed"] = time.monotonic() - started
            show(entry)
        results += entries
    if "edged" in PROXIES and not options.baseline:
        print(markdown(results, missing, options))
    if options.json:
        with open(options.json, "w") as f:
            json.dump({"rows": results, "missing": missing}, f, indent=2)
    if any(e["void"] for e in results):
        print("\n*** VOID rows: requests failed, see above")
        return 1
    if missing:
        print(f"\n*** MISSING rows: {', '.join(missing)}")
        if not options.allow_missing:
            return 3
    return 4 if options.gate and any(e.get("reached") == "missed" for e in results) else 0


if __name__ == "__main__":
    sys.exit(main())
