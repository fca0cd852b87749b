#!/usr/bin/env bash
# All tests of a tree that is built, in two processes: those that need nothing but a processor run in
# the time that those leave which start daemons and wait for them: half of the machine's. Ends with the
# test runner's own summary of both.
#
# usage: Tests/run.sh [OPTION-OF-SWIFT-TEST ...]
set -uo pipefail
cd "$(dirname "$0")/.."

computing='^(EdgeConfigTests|EdgeCoreTests|EdgeHTTPTests|EdgeHTTP1Tests|EdgeHTTP2Tests|EdgeLimitsTests'
computing+='|EdgePrefaceTests|EdgeProxyTests|EdgeRoutingTests|EdgeTLSTests|EdgeUpstreamTests'
computing+='|EdgeVRRPTests|EdgeX509Tests|FuzzTests|TidyTests)\.'
swift=${SWIFT:-swift}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Both only read what is built.
run() { "$swift" test --skip-build --ignore-lock --no-parallel "$@" 2>&1; }
export -f run
export swift

# Idle: whoever has waited for something is not to wait for these as well.
chrt --idle 0 bash -c 'run "$@"' run "$@" --filter "$computing" >"$logs/computing" &
beside=$!
trap 'kill $beside 2>/dev/null; rm -rf "$logs"' EXIT
run "$@" --skip "$computing" | tee "$logs/waiting"
waiting=$?
wait $beside
computing=$?

cat "$logs/computing"
echo
# What failed stands at the end, where somebody who sees the last lines alone finds it.
if [ $waiting != 0 ] || [ $computing != 0 ]; then
  echo "What failed:"
  grep -hE -A 4 '^. Test .* recorded an issue|error: ' "$logs/waiting" "$logs/computing" \
    | grep -vE '^(◇|✔)' | tail -n 120
  echo
fi
echo "Both processes:"
grep -h "Test run with" "$logs/waiting" "$logs/computing"
[ $waiting = 0 ] && [ $computing = 0 ] && [ "$(grep -ch "Test run with" "$logs/computing")" = 1 ]
