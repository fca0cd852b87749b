#!/bin/sh
# lego: a hook for `lego run --run-hook` and `lego renew --renew-hook`.
#
#   install -m 0755 edged-drop.sh /usr/local/sbin/edged-drop
#   install -m 0755 lego.sh /usr/local/sbin/edged-lego
#   lego --domains example.org … renew --renew-hook /usr/local/sbin/edged-lego
#
# lego sets LEGO_CERT_PATH (with the issuers, unless --no-bundle was given), LEGO_CERT_KEY_PATH and
# LEGO_CERT_DOMAIN. A wildcard `*.example.org` becomes `_.example.org`, as in lego's own names.
set -eu
: "${LEGO_CERT_PATH:?is set by lego}" "${LEGO_CERT_KEY_PATH:?is set by lego}"
: "${LEGO_CERT_DOMAIN:?is set by lego}"
name=$(printf '%s' "$LEGO_CERT_DOMAIN" | sed 's/^\*/_/')
exec "${EDGED_DROP:-/usr/local/sbin/edged-drop}" "$name" "$LEGO_CERT_PATH" "$LEGO_CERT_KEY_PATH"
