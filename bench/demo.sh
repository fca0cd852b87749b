#!/usr/bin/env bash
# The product in under a minute: two upstreams (one plaintext, one TLS), edged in front of them as an
# ordinary user on ports above 1024, real requests, a reload, a killed proxy. Everything is in a
# scratch folder that is removed at the end; what was started is stopped by its process id.
set -euo pipefail
bin=$(cd "${1:?usage: demo.sh FOLDER_WITH_edged_AND_edgectl}" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/edged-demo-XXXXXX")
chmod 755 "$work"
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
https=$(port) http=$(port) plain=$(port) secure=$(port)

say "1. Minting an authority and certificates (ECDSA P-256)"
"$root/certs-example/mint.sh" "$work/minted" \
    --server 'grafana.example.test,registry.example.test' --upstream 'registry.example.test'
mkdir "$work/certs"
cp -p "$work/minted/server.pem" "$work/certs/"
openssl x509 -in "$work/minted/server.crt" -noout -subject -issuer -enddate -ext subjectAltName |
    sed 's/^/   /'

say "2. Starting two upstreams: 'grafana' speaks plaintext, 'registry' speaks TLS"
python3 "$root/bench/demo_upstream.py" grafana "$plain" & pids+=($!)
python3 "$root/bench/demo_upstream.py" registry "$secure" "$work/minted/upstream.pem" & pids+=($!)
for p in "$plain" "$secure"; do
    for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null && break; sleep 0.1; done
done

cat >"$work/edged.yaml" <<YAML
version: 1
listeners:
  - { name: https, address: 127.0.0.1, port: $https, protocol: tls }
  - { name: http, address: 127.0.0.1, port: $http, protocol: http, redirect: https }
certificates: { directory: certs, default: grafana.example.test }
sites:
  - { hosts: grafana.example.test, upstream: grafana }
  - { hosts: registry.example.test, upstream: registry }
upstreams:
  grafana: { servers: ["127.0.0.1:$plain"] }
  registry: { servers: ["127.0.0.1:$secure"], tls: { ca: minted/ca.pem } }
admin: { socket: $work/admin.sock }
YAML
say "3. The configuration"
sed 's/^/   /' "$work/edged.yaml"
"$bin/edged" --check -c "$work/edged.yaml" | sed 's/^/   /'

say "4. Starting edged"
"$bin/edged" -c "$work/edged.yaml" 2>"$work/edged.log" & edged=$!
pids+=("$edged")
control() { "$bin/edgectl" --socket "$work/admin.sock" "$@"; }
for _ in $(seq 100); do
    control status >/dev/null 2>&1 && break
    kill -0 "$edged" || { cat "$work/edged.log"; exit 1; }
    sleep 0.1
done
sed 's/^/   /' "$work/edged.log"

ask() {
    curl --silent --show-error --max-time 5 --cacert "$work/minted/ca.pem" \
        --resolve "grafana.example.test:$https:127.0.0.1" \
        --resolve "registry.example.test:$https:127.0.0.1" \
        --resolve "grafana.example.test:$http:127.0.0.1" "$@"
}
show='   HTTP %{http_version} %{http_code} over TLS, certificate verified: %{ssl_verify_result} (0 = yes)\n'

say "5. Offloading: HTTPS in, plaintext to the upstream"
ask -w "$show" "https://grafana.example.test:$https/dashboards?id=7"
say "6. Bridging: HTTPS in, TLS to the upstream, whose name is verified"
ask -w "$show" "https://registry.example.test:$https/v2/"
say "7. Port 80 redirects"
ask -o /dev/null -w '   HTTP %{http_code} → %{redirect_url}\n' "http://grafana.example.test:$http/login"
say "8. A request that two servers could read differently is refused"
printf 'POST / HTTP/1.1\r\nHost: grafana.example.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n' |
    timeout 5 openssl s_client -quiet -connect "127.0.0.1:$https" \
        -servername grafana.example.test 2>/dev/null | sed 's/^/   /' || true

say "9. A reload with a mistake changes nothing; a good one is live at once"
sed 's/upstream: registry/upstrem: registry/' "$work/edged.yaml" >"$work/bad.yaml"
cp "$work/edged.yaml" "$work/good.yaml"
cp "$work/bad.yaml" "$work/edged.yaml"
control reload | sed 's/^/   /' || true
cp "$work/good.yaml" "$work/edged.yaml"
control reload | sed 's/^/   /'

say "10. The proxy process is killed (SIGKILL); nobody is refused"
proxy=$(control status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
kill -9 "$proxy"
ask -o /dev/null -w '   HTTP %{http_code} in %{time_total} s from the next proxy\n' \
    "https://grafana.example.test:$https/after"

say "11. edgectl status"
for _ in $(seq 50); do control status >/dev/null 2>&1 && break; sleep 0.1; done
control status | sed 's/^/   /'

say "12. Stopping: SIGTERM drains and exits"
kill -TERM "$edged"
code=0
wait "$edged" || code=$?
echo "   exit code $code"
[ "$code" = 0 ]
say "Done. Next: README.md, conf/edged.yaml (every setting), docs/configuration.md"
