#!/usr/bin/env bash
# All tests of a tree that is built: first those that promise milliseconds, alone; then three processes
# at once, two that start daemons and wait for them, and one that needs nothing but a processor and has
# the time that those leave. Ends with what has failed and with the test runner's own summaries.
#
# usage: Tests/run.sh [OPTION-OF-SWIFT-TEST ...]
set -uo pipefail
cd "$(dirname "$0")/.."

computing='^(EdgeConfigTests|EdgeCoreTests|EdgeHTTPTests|EdgeHTTP1Tests|EdgeHTTP2Tests|EdgeLimitsTests'
computing+='|EdgePrefaceTests|EdgeProxyTests|EdgeRoutingTests|EdgeTLSTests|EdgeUpstreamTests'
computing+='|EdgeVRRPTests|EdgeX509Tests|FuzzTests|TidyTests)\.'
scenarios='^ScenarioTests\.'
timing='^EdgeFailoverTests\.FailoverTimingTests'
swift=${SWIFT:-swift}
logs=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$logs"' EXIT

# All only read what is built.
run() { "$swift" test --skip-build --ignore-lock --no-parallel "$@" 2>&1; }
export -f run
export swift

run "$@" --filter "$timing" | tee "$logs/timing"
status=$?

# Idle: whoever has waited for something is not to wait for these as well.
chrt --idle 0 bash -c 'run "$@"' run "$@" --filter "$computing" >"$logs/computing" &
computing_job=$!
run "$@" --skip "$computing|$scenarios|$timing" >"$logs/services" &
services_job=$!
run "$@" --filter "$scenarios" | tee "$logs/scenarios" || status=$?
wait $services_job || status=$?
wait $computing_job || status=$?

cat "$logs/services" "$logs/computing"
echo
# What failed stands at the end, where somebody who sees the last lines alone finds it.
if [ $status != 0 ]; then
  echo "What failed:"
  grep -hE -A 4 '^. Test .* recorded an issue|^error: ' "$logs"/* | grep -vE '^(◇|✔)' | tail -n 120
  echo
fi
echo "All processes:"
grep -h "Test run with" "$logs"/*
[ $status = 0 ] && [ "$(cat "$logs"/* | grep -c "Test run with")" = 4 ]
