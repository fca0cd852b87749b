#!/usr/bin/env bash
# Makes the virtual environment that the peers run in. One that was made from the same list is used
# again, without the network.
#
#   prepare.sh FOLDER
set -euo pipefail
[ $# -eq 1 ] || { sed -n 2,6p "$0" >&2; exit 64; }
venv=$1
wanted=$(cd "$(dirname "$0")" && pwd)/requirements.txt
if cmp -s "$wanted" "$venv/installed.txt" \
    && "$venv/bin/python" -c 'import grpc, h2, hyperframe, websockets' 2>/dev/null; then
    exit 0
fi
if [ -e "$venv" ]; then
    [ -e "$venv/pyvenv.cfg" ] || { echo "$venv is no virtual environment" >&2; exit 73; }
    rm -rf "$venv"
fi
/usr/bin/python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --only-binary :all: \
    --requirement "$wanted"
# Last: an installation that was interrupted is not taken for a whole one.
cp "$wanted" "$venv/installed.txt"
