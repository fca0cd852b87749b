#!/bin/sh
# certbot: a deploy hook. Runs once for each certificate that was renewed.
#
#   install -m 0755 edged-drop.sh /usr/local/sbin/edged-drop
#   install -m 0755 certbot.sh /etc/letsencrypt/renewal-hooks/deploy/edged
#
# certbot sets RENEWED_LINEAGE: /etc/letsencrypt/live/NAME. The first time, for what there is:
#   for d in /etc/letsencrypt/live/*/; do RENEWED_LINEAGE=${d%/} .../deploy/edged; done
set -eu
: "${RENEWED_LINEAGE:?is set by certbot}"
exec "${EDGED_DROP:-/usr/local/sbin/edged-drop}" "$(basename "$RENEWED_LINEAGE")" \
    "$RENEWED_LINEAGE/fullchain.pem" "$RENEWED_LINEAGE/privkey.pem"
