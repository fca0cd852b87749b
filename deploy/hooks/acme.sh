#!/bin/sh
# acme.sh: a reload command. acme.sh keeps the command line and runs it after each renewal.
#
#   install -m 0755 edged-drop.sh /usr/local/sbin/edged-drop
#   install -m 0755 acme.sh /usr/local/sbin/edged-acme
#   acme.sh --install-cert -d example.org \
#       --fullchain-file /var/lib/acme/example.org/fullchain.pem \
#       --key-file /var/lib/acme/example.org/key.pem \
#       --reloadcmd "/usr/local/sbin/edged-acme example.org /var/lib/acme/example.org"
#
# acme.sh writes its files in place, one after the other: never let it write into certs/ itself.
set -eu
if [ $# -ne 2 ]; then
    echo "usage: edged-acme NAME FOLDER-WITH-fullchain.pem-AND-key.pem" >&2
    exit 2
fi
exec "${EDGED_DROP:-/usr/local/sbin/edged-drop}" "$1" "$2/fullchain.pem" "$2/key.pem"
