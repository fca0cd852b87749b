#!/bin/busybox sh
# What must work on the oldest kernel: TLS in and out, bulk both ways, load, a reload under load, a
# proxy killed under it, a stop in order. Exits with the number of failed steps.
cd /test
failed=0
step() {
    at=$(cut -d' ' -f1 /proc/uptime)
    if [ "$2" = 0 ]; then echo "ok: $1 ($at s)"; else
        echo "FAILED: $1 ($at s)"
        failed=$((failed + 1))
    fi
}
ask() { curl -sS --max-time 60 --cacert ca.pem "$@"; }
status() { curl -sS --max-time 5 --unix-socket /run/edged.sock http://x/status; }
number() { status | grep -o "\"$1\":[0-9]*" | head -1 | cut -d: -f2; }
waits() {
    for _ in $(seq 200); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}

chgrp nogroup certs certs/*
chmod 755 . && chmod 644 ca.pem && chmod 750 certs && chmod 640 certs/*
mkdir /tmp/files && chmod 777 /tmp/files
dd if=/dev/urandom of=/tmp/files/large bs=1M count=32 2>/dev/null
nginx -c /test/nginx.conf
waits ask http://127.0.0.1:8080/hello
step 'the upstream answers' $?

edged --check -c edged.yaml
step 'the configuration is checked' $?
edged -c edged.yaml 2>/tmp/edged.log &
edged=$!
serves() { status | grep -q '"state":"serving"'; }
waits serves
step 'edged serves' $?

[ "$(ask https://app.test/hello)" = 'hello from app.test over http' ]
step 'offloading, TLS 1.3' $?
[ "$(ask --tls-max 1.2 https://app.test/hello)" = 'hello from app.test over http' ]
step 'offloading, TLS 1.2' $?
[ "$(ask https://secure.test/hello)" = 'hello from secure.test over https' ]
step 'bridging to a verified TLS upstream' $?
[ "$(ask http://app.test/hello)" = 'hello from app.test over http' ]
step 'plain HTTP' $?
sum=$(sha256sum </tmp/files/large)
[ "$(ask https://app.test/large | sha256sum)" = "$sum" ]
step 'a download of 32 MiB' $?
[ "$(ask https://secure.test/large | sha256sum)" = "$sum" ]
step 'the same over a TLS upstream' $?
ask -T /tmp/files/large https://app.test/upload && [ "$(sha256sum </tmp/files/upload)" = "$sum" ]
step 'an upload of 32 MiB' $?
ask -T - https://app.test/chunks </tmp/files/large &&
    [ "$(sha256sum </tmp/files/chunks)" = "$sum" ]
step 'the same in chunks' $?

# A client that takes its download slowly meets back-pressure on every hop.
[ "$(ask --limit-rate 8M https://app.test/large | sha256sum)" = "$sum" ]
step 'a slow download' $?

# load SECONDS: no request may fail.
load() {
    wrk -t1 -c16 "-d${1}s" --timeout 10s https://app.test:443/hello >/tmp/wrk.log
    cat /tmp/wrk.log | grep -E 'requests in|errors|Non-2xx'
    grep -qE '[1-9][0-9]* requests in' /tmp/wrk.log && ! grep -qE 'Socket errors|Non-2xx' /tmp/wrk.log
}
load 5
step 'load without a failed request' $?

epoch=$(number epoch)
(for _ in 1 2 3 4 5; do
    sleep 0.8
    kill -HUP $edged
done) &
load 6
step 'five reloads under load without a failed request' $?
applied() { [ "$(number epoch)" = $((epoch + 5)) ]; }
waits applied
step 'all of them were applied' $?

proxy=$(number pid)
kill -9 "$proxy"
[ "$(ask https://app.test/hello)" = 'hello from app.test over http' ]
step 'the request after kill -9 of the proxy is served' $?
other() { [ "$(number pid)" != "$proxy" ]; }
waits other
step 'by another proxy' $?

kill -TERM $edged
wait $edged
step 'TERM ends it with exit code 0' $?
! ask --max-time 2 https://app.test/hello 2>/dev/null
step 'nobody listens then' $?
[ "$failed" = 0 ] || cat /tmp/edged.log /tmp/wrk.log
exit "$failed"
