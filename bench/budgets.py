#!/usr/bin/env python3
"""Holds the release binary against the budgets of bench/budgets/<Swift version>.json: what the
compiler left in the data plane, what is linked, what both processes hold at rest, instructions per
request (callgrind over EdgeInstructions: the same number each time), heap calls per request.

usage: budgets.py [--build FOLDER] [--profile]      --profile: where the instructions are
"""
import argparse, json, os, re, shutil, subprocess, sys, tempfile, time

import allocations
from proxies import ROOT, Server, Site, free_port, rollup_kib

DATA_PLANE = re.compile(r"\$s(8EdgeCore|8EdgeRing|7EdgeTLS|8EdgeHTTP|9EdgeHTTP1|9EdgeProxy)")
#: What callgrind collects: bench/Instructions/Instructions.swift, `measuredTurn`.
COLLECTED = "$s16EdgeInstructions12measuredTurn*"
REQUESTS = 500


def exclusivity_checks(edged):
    """Call sites of swift_beginAccess in functions of the data plane."""
    text = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", edged],
                            stdout=subprocess.PIPE, text=True)
    count, function = 0, ""
    for line in text.stdout:
        if line.endswith(">:\n"):
            function = line
        elif "swift_beginAccess" in line and "call" in line and DATA_PLANE.search(function):
            count += 1
    return count


def at_rest(edged):
    """PSS and private dirty memory of guardian and proxy a while after the start, in MiB."""
    folder = tempfile.mkdtemp(prefix="edged-budget-")
    server = None
    try:
        port = free_port()
        config = Site(folder).edged(port, free_port())
        server = Server("edged", [edged, "-c", config], port, "0-1", folder)
        time.sleep(2)
        return (rollup_kib(server.pids(), "Pss") / 1024,
                rollup_kib(server.pids(), "Private_Dirty") / 1024)
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def instructions(program, kind, profile):
    """User instructions per request of a worker without a kernel: the slope over N and 2 N.

    Kinds: `plain` is a small request without TLS, all ours; `limited` the same under two policies;
    `browser` the same with a browser's head; `tls` the small one with OpenSSL's share, which changes with its version; `h2` the same
    over HTTP/2, one stream at a time, with nghttp2's share.
    """
    folder = tempfile.mkdtemp(prefix="edged-instructions-")
    try:
        certificates = os.path.join(folder, "certs")
        Site(folder)
        counts = []
        for requests in (REQUESTS, 2 * REQUESTS):
            out = os.path.join(folder, f"out.{requests}")
            done = subprocess.run(
                ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
                 "--collect-atstart=no", f"--toggle-collect={COLLECTED}",
                 program, kind, str(requests), certificates], capture_output=True, text=True)
            collected = re.search(r"Collected : (\d+)", done.stderr)
            if done.returncode or f"served {requests}" not in done.stdout or not collected:
                sys.exit(f"{program} {kind} failed:\n{done.stdout}{done.stderr[-2000:]}")
            counts.append(int(collected.group(1)))
        if not counts[0]:
            sys.exit(f"callgrind has collected nothing: is {COLLECTED} still the symbol?")
        if profile:
            show_profile(kind, out)
        return (counts[1] - counts[0]) / REQUESTS
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show_profile(kind, out):
    """The functions with the most instructions, per request, inlined lines summed up."""
    lines = subprocess.run(["callgrind_annotate", out], capture_output=True, text=True).stdout
    totals = {}
    for count, name in re.findall(r"^ *([\d,]+) \([ \d.]+%\)\s+\S*?:(\S.*?)(?: \[.*)?$", lines, re.M):
        totals[name] = totals.get(name, 0) + int(count.replace(",", ""))
    ordered = sorted(totals.items(), key=lambda pair: -pair[1])[:40]
    names = subprocess.run(["swift", "demangle", "--simplified", "--compact"], text=True,
                           capture_output=True, input="\n".join(n for n, _ in ordered)).stdout
    print(f"-- {kind}: instructions per request")
    for name, (_, count) in zip(names.split("\n"), ordered):
        print(f"{count / (2 * REQUESTS):9.0f}  {name[:110]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, ".build/release"))
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    edged = os.path.abspath(os.path.join(options.build, "edged"))
    counted = os.path.abspath(os.path.join(options.build, "EdgeInstructions"))
    for tool in ("valgrind", "gcc", "nginx", "objdump", "addr2line", edged, counted):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing")
    version = re.search(r"Swift version (\d+\.\d+)", subprocess.run(
        ["swift", "--version"], capture_output=True, text=True).stdout).group(1)
    with open(os.path.join(ROOT, "bench/budgets", version + ".json")) as f:
        budgets = json.load(f)
    linked = subprocess.run(["ldd", edged], capture_output=True, text=True).stdout
    pss, dirty = at_rest(edged)
    heap, stacks = allocations.measure(edged, 100_000)
    measured = {
        "exclusivity_checks_in_data_plane": exclusivity_checks(edged),
        "foundation_libraries": len(re.findall(r"Foundation", linked)),
        "binary_mib": os.path.getsize(edged) / (1 << 20),
        "rest_pss_mib": pss,
        "rest_private_dirty_mib": dirty,
        "allocations_per_request": round(heap["ours"], 3),
        "openssl_allocations_per_request": round(heap["openssl"], 1),
    }
    for kind in ("plain", "limited", "browser", "tls", "h2"):
        measured[f"instructions_per_request_{kind}"] = instructions(counted, kind, options.profile)
    good = measured.keys() == budgets.keys()
    if not good:
        print(f"budgets and measurements differ: {measured.keys() ^ budgets.keys()}")
    for name in (name for name in budgets if name in measured):
        holds = measured[name] <= budgets[name]
        good = good and holds
        print(f"{'ok  ' if holds else 'OVER'} {name}: {measured[name]:g} of {budgets[name]}")
    if measured["allocations_per_request"]:
        for stack, times in stacks.most_common():
            print(f"     {times} × {stack}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
