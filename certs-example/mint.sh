#!/bin/sh
# Mints an example authority and two certificates of it: one that clients of the proxy see, one
# that a TLS upstream shows to the proxy. ECDSA P-256. None of it is secret or worth keeping.
#
#   mint.sh DIRECTORY [--server NAME[,NAME…]] [--upstream NAME[,NAME…]] [--days N]
#
# A NAME is a host name, a wildcard (*.example.org) or an IP address. Written, mode 0640:
#   ca.pem  ca.key                     the authority; an existing pair is used again
#   server.pem  server.crt  server.key      (.pem = certificate + key in one file)
#   upstream.pem  upstream.crt  upstream.key
set -eu

usage() {
    echo "usage: $0 DIRECTORY [--server NAMES] [--upstream NAMES] [--days N]" >&2
    exit 64
}

[ $# -ge 1 ] || usage
case $1 in -* | '') usage ;; esac
directory=$1
shift
server=localhost,127.0.0.1,::1
upstream=localhost,127.0.0.1,::1
days=30
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
    --server) server=$2 ;;
    --upstream) upstream=$2 ;;
    --days) days=$2 ;;
    *) usage ;;
    esac
    shift 2
done
case $days in *[!0-9]* | '') usage ;; esac

umask 027
mkdir -p "$directory"
scratch=$(mktemp -d "$directory/.mint-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

# Prints a command's output only if it fails.
quietly() {
    "$@" >"$scratch/log" 2>&1 || {
        cat "$scratch/log" >&2
        exit 1
    }
}

# The subjectAltName extension for a comma-separated list.
alternatives() {
    printf 'subjectAltName='
    comma=
    old=$IFS
    IFS=,
    set -f
    for name in $1; do
        case $name in
        '' | *[!A-Za-z0-9.:*_-]*)
            echo "$0: “$name” is no host name or address" >&2
            exit 64
            ;;
        *:* | *[0-9].[0-9]*.[0-9]*.[0-9]*) kind=IP ;;
        *) kind=DNS ;;
        esac
        printf '%s%s:%s' "$comma" "$kind" "$name"
        comma=,
    done
    set +f
    IFS=$old
    echo
}

new_key() {
    quietly openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

if [ ! -s "$directory/ca.pem" ] || [ ! -s "$directory/ca.key" ]; then
    new_key "$scratch/ca.key"
    cat >"$scratch/ca.cnf" <<'END'
[req]
distinguished_name = name
prompt = no
x509_extensions = ca
[name]
CN = edged example authority
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
END
    quietly openssl req -x509 -new -key "$scratch/ca.key" -sha256 -days "$days" \
        -config "$scratch/ca.cnf" -out "$scratch/ca.pem"
    chmod 0640 "$scratch/ca.key" "$scratch/ca.pem"
    mv "$scratch/ca.key" "$directory/ca.key"
    mv "$scratch/ca.pem" "$directory/ca.pem"
fi

# leaf FILE NAMES
leaf() {
    alternatives "$2" >"$scratch/leaf.ext"
    cat >>"$scratch/leaf.ext" <<'END'
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
    new_key "$scratch/$1.key"
    quietly openssl req -new -key "$scratch/$1.key" -subj "/CN=edged example $1" \
        -out "$scratch/$1.csr"
    quietly openssl x509 -req -in "$scratch/$1.csr" -sha256 -days "$days" \
        -CA "$directory/ca.pem" -CAkey "$directory/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
        -extfile "$scratch/leaf.ext" -out "$scratch/$1.crt"
    cat "$scratch/$1.crt" "$scratch/$1.key" >"$scratch/$1.pem"
    chmod 0640 "$scratch/$1.key" "$scratch/$1.crt" "$scratch/$1.pem"
    # Renamed into place: a daemon that watches the directory never sees half a file.
    for kind in key crt pem; do
        mv "$scratch/$1.$kind" "$directory/$1.$kind"
    done
}

leaf server "$server"
leaf upstream "$upstream"
echo "minted in $directory: server for $server; upstream for $upstream; valid $days days"
