#!/bin/sh
# cert-manager: fetches TLS secrets of a cluster for an edged outside of it. For a timer or cron on
# the node (see edged-cert-manager.timer in README.md); it writes only what has changed.
#
#   edged-cert-manager NAMESPACE/SECRET...
#
# Needs kubectl and a kubeconfig ($KUBECONFIG) of an account that may `get` these secrets and nothing
# else. An edged inside of the cluster needs no script: mount the secret below certs/, its
# `tls.crt`, `tls.key` and the `..data` swap are understood.
set -eu
umask 077
if [ $# -eq 0 ]; then
    echo "usage: edged-cert-manager NAMESPACE/SECRET..." >&2
    exit 2
fi
folder=${EDGED_CERTS:-/etc/edged/certs}
drop=${EDGED_DROP:-/usr/local/sbin/edged-drop}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
status=0
for secret in "$@"; do
    space=${secret%%/*}
    name=${secret#*/}
    # One request for both: they belong together.
    if ! kubectl --namespace "$space" get secret "$name" \
        -o 'jsonpath={.data.tls\.crt}{"\n"}{.data.tls\.key}{"\n"}' >"$work/both"; then
        echo "edged-cert-manager: $secret cannot be read; what is there stays" >&2
        status=1
        continue
    fi
    sed -n 1p "$work/both" | base64 -d >"$work/crt"
    sed -n 2p "$work/both" | base64 -d >"$work/key"
    {
        cat "$work/crt"
        echo
        cat "$work/key"
    } >"$work/new"
    if [ -s "$work/crt" ] && cmp -s "$work/new" "$folder/$space.$name.pem"; then continue; fi
    "$drop" "$space.$name" "$work/crt" "$work/key" || status=1
done
exit $status
