#!/usr/bin/env python3
"""Holds the release binary against the budgets of bench/budgets/<Swift version>.json: what the
compiler left in the data plane, what is linked, and what both processes hold at rest."""
import json, os, re, shutil, subprocess, sys, tempfile, time

from compare import ROOT, Server, Site, free_port

EDGED = os.path.join(ROOT, ".build/release/edged")
DATA_PLANE = re.compile(r"\$s(8EdgeCore|8EdgeRing|7EdgeTLS|8EdgeHTTP|9EdgeHTTP1|9EdgeProxy)")


def exclusivity_checks():
    """Call sites of swift_beginAccess in functions of the data plane."""
    text = subprocess.Popen(["objdump", "-d", "--no-show-raw-insn", EDGED],
                            stdout=subprocess.PIPE, text=True)
    count, function = 0, ""
    for line in text.stdout:
        if line.endswith(">:\n"):
            function = line
        elif "swift_beginAccess" in line and "call" in line and DATA_PLANE.search(function):
            count += 1
    return count


def at_rest():
    """PSS and private dirty memory of guardian and proxy a while after the start, in MiB."""
    folder = tempfile.mkdtemp(prefix="edged-budget-")
    server = None
    try:
        port = free_port()
        config = Site(folder, bridge=False).edged(port, free_port())
        server = Server("edged", [EDGED, "-c", config], port, "0-1", folder)
        time.sleep(2)
        pss = dirty = 0
        for pid in server.pids():
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    if line.startswith("Pss:"):
                        pss += int(line.split()[1])
                    elif line.startswith("Private_Dirty:"):
                        dirty += int(line.split()[1])
        return pss / 1024, dirty / 1024
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    version = re.search(r"Swift version (\d+\.\d+)", subprocess.run(
        ["swift", "--version"], capture_output=True, text=True).stdout).group(1)
    with open(os.path.join(ROOT, "bench/budgets", version + ".json")) as f:
        budgets = json.load(f)
    linked = subprocess.run(["ldd", EDGED], capture_output=True, text=True).stdout
    pss, dirty = at_rest()
    measured = {
        "exclusivity_checks_in_data_plane": exclusivity_checks(),
        "foundation_libraries": len(re.findall(r"Foundation", linked)),
        "binary_mib": os.path.getsize(EDGED) / (1 << 20),
        "rest_pss_mib": pss,
        "rest_private_dirty_mib": dirty,
    }
    good = True
    for name, budget in budgets.items():
        holds = measured[name] <= budget
        good = good and holds
        print(f"{'ok  ' if holds else 'OVER'} {name}: {measured[name]:.1f} of {budget}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
