#!/usr/bin/env bash
# Runs the tests with a sanitizer in every process, the daemons of the scenarios included, then a
# daemon under load with reloads, a kill and a stop. A report of any process fails the run.
#
#   run.sh address|thread SCRATCH_FOLDER [FILTER]
#
# Left out are tests that measure time or memory, which a sanitizer multiplies, and those of tools.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -ge 2 ] || { sed -n 2,7p "$0" >&2; exit 64; }
cd "$root"
kind=$1
mkdir -p "$2"
scratch=$(cd "$2" && pwd)
filter=${3:-.}
swift=${SWIFT:-swift}
skipped='TidyTests|NetTests|RobustnessTests|FailoverTimingTests|Resources/idleClients'
skipped+='|Scenarios/Bodies/slowReader|Scenarios/Guardian/killed|renewalUnderLoad'
reports=$scratch/reports
rm -rf "$reports"
mkdir -p -m 1777 "$reports"
here=$root/Tests/Sanitizers

"$swift" build --build-tests --sanitize "$kind" --scratch-path "$scratch"

# The daemon has a crash handler and a signal stack per thread: the sanitizer's handler goes first,
# and it must not unmap, at a thread's end, a signal stack that is not its own. XCTest's own main
# leaks, so leaks are looked for in the daemon alone, below.
common="log_path=$reports/report:log_exe_name=1:symbolize=1"
common+=":handle_segv=2:handle_sigbus=2:use_sigaltstack=0"
export ASAN_OPTIONS="$common:detect_leaks=0:detect_stack_use_after_return=0"
export TSAN_OPTIONS="$common:suppressions=$here/tsan.supp:halt_on_error=0:second_deadlock_stack=1"
export LSAN_OPTIONS="print_suppressions=0:suppressions=$here/lsan.supp"
status=0
"$swift" test --skip-build --sanitize "$kind" --no-parallel --scratch-path "$scratch" \
    --filter "$filter" --skip "$skipped" || status=$?

if [ "$filter" = . ]; then
    export ASAN_OPTIONS="$common:detect_leaks=1"
    edged=$("$swift" build --sanitize "$kind" --scratch-path "$scratch" --show-bin-path)/edged
    # Leaks are looked for when a process ends by itself: once after load and reloads, once killed.
    for part in reloads kill; do
        bench/soak.py --edged "$edged" --seconds 8 --only "$part" || status=$?
    done
fi

found=$(find "$reports" -type f -size +0)
if [ -n "$found" ]; then
    for report in $found; do echo "== $report"; head -60 "$report"; done
    exit 1
fi
exit "$status"
