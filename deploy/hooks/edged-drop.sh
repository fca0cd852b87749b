#!/bin/sh
# Puts a certificate and its key into edged's folder, so that edged sees all of it or nothing.
#
#   edged-drop.sh NAME FULLCHAIN KEY [FOLDER]
#
# NAME       what the file is called there: FOLDER/NAME.pem (letters, digits, '.', '_', '-')
# FULLCHAIN  PEM file with the certificate and its issuers
# KEY        PEM file with the unencrypted key
# FOLDER     default: $EDGED_CERTS, else /etc/edged/certs; a view's is /etc/edged/certs/VIEW
#
# The file belongs to root and the group $EDGED_GROUP (default: edged), mode 0640. If edged's own
# judge (edged --check-certificates) is installed and says no, nothing is put there.
# Exit codes: 0 done, 1 not done (the old file is as it was), 2 usage.
set -eu
umask 077

fail() {
    echo "edged-drop: $*" >&2
    exit 1
}

if [ $# -lt 3 ] || [ $# -gt 4 ]; then
    echo "usage: edged-drop.sh NAME FULLCHAIN KEY [FOLDER]" >&2
    exit 2
fi
name=$1
chain=$2
key=$3
folder=${4:-${EDGED_CERTS:-/etc/edged/certs}}
group=${EDGED_GROUP:-edged}

case $name in
'' | .* | *[!A-Za-z0-9._-]*)
    echo "edged-drop: a name of letters, digits, '.', '_' and '-': '$name'" >&2
    exit 2
    ;;
esac
[ -d "$folder" ] || fail "no folder $folder"
[ -r "$chain" ] || fail "$chain cannot be read"
[ -r "$key" ] || fail "$key cannot be read"

# In the same file system, so that the rename is one step. edged does not look at names with a dot
# in front.
work=$(mktemp -d "$folder/.drop.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
draft=$work/$name.pem
# A missing last line end must not join two blocks.
{
    cat "$chain"
    echo
    cat "$key"
} >"$draft"
chmod 0640 "$draft"
if [ "$(id -u)" = 0 ]; then
    chgrp "$group" "$draft" || fail "no group $group"
fi

judge=${EDGED:-$(command -v edged || true)}
if [ -n "$judge" ]; then
    "$judge" --check-certificates "$draft" >"$work/verdict" 2>&1 || {
        cat "$work/verdict" >&2
        fail "not put into $folder"
    }
fi

mv -f "$draft" "$folder/$name.pem"
echo "edged-drop: $folder/$name.pem"
