#!/usr/bin/env bash
# Builds the fuzz targets with libFuzzer and AddressSanitizer and runs each for FUZZ_SECONDS (60).
# A finding, a crash, a hang of thirty seconds or 2 GiB of memory fails the run; the input that did it
# stays in SCRATCH/TARGET/. What is found interesting is kept there too and used by the next run.
#
#   run.sh SCRATCH_FOLDER [TARGET…]
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -ge 1 ] || { sed -n 2,6p "$0" >&2; exit 64; }
cd "$root"
mkdir -p "$1"
scratch=$(cd "$1" && pwd)
shift
swift=${SWIFT:-swift}
flags=(-c release --scratch-path "$scratch" --sanitize address -Xswiftc -sanitize=fuzzer)

# SwiftPM compiles the target with what it needs; linked by hand, because libFuzzer brings main.
"$swift" build "${flags[@]}" --target EdgeFuzz
objects=$("$swift" build "${flags[@]}" --show-bin-path)
modules=(EdgeFuzz EdgeTesting EdgeDNS EdgeConfig EdgeLimits EdgePair EdgePreface EdgeTLS EdgeX509 EdgeHTTP2 EdgeHTTP1 EdgeHTTP
    EdgeRing EdgeSystem EdgeUpstream EdgeRouting EdgeVRRP EdgeCore CEdge)
files=()
for module in "${modules[@]}"; do
    [ -d "$objects/$module.build" ] || { echo "$module was not built"; exit 1; }
    while IFS= read -r file; do files+=("$file"); done \
        < <(find "$objects/$module.build" -name '*.o')
done
"${swift%swift}swiftc" -sanitize=fuzzer,address -o "$scratch/fuzz" "${files[@]}" \
    -luring -lssl -lcrypto -lnghttp2 -lcares -lyaml 2>&1 | { grep -v '__asan_' || true; }

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(ls Tests/Fuzz/corpus)
failed=()
for target in "${targets[@]}"; do
    folder=$scratch/$target
    mkdir -p "$folder/corpus"
    # Symbolising a crash needs a child that outlives it; the input is what counts.
    status=0
    ASAN_OPTIONS=symbolize=0:detect_leaks=0 SWIFT_BACKTRACE=enable=no EDGED_FUZZ=$target \
        timeout -s KILL $((${FUZZ_SECONDS:-60} + 60)) \
        "$scratch/fuzz" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=30 -rss_limit_mb=2048 \
        -max_len=4096 -print_final_stats=1 -artifact_prefix="$folder/" \
        "$folder/corpus" "Tests/Fuzz/corpus/$target" >"$folder/log" 2>&1 || status=$?
    if [ "$status" = 0 ]; then
        awk -v t="$target" '/cov: /{ for (i = 1; i < NF; i++) if ($i == "cov:") c = $(i + 1) }
            /number_of_executed_units/ { n = $2 } /peak_rss_mb/ { m = $2 }
            END { printf "%s: %d inputs, %d branches, %d MB at most: nothing found\n", t, n, c, m }' \
            "$folder/log"
    else
        failed+=("$target")
        echo "$target: FAILED ($status)"
        grep -aE '^finding|Fatal error|ERROR|SUMMARY|Test unit written' "$folder/log" ||
            tail -5 "$folder/log"
    fi
done
[ ${#failed[@]} = 0 ]
