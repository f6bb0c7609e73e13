#!/bin/sh
# The units of cluster/systemd are ones that systemd takes without a word, and stay as
# closed as they are. Usage: systemd.sh SOURCE-DIR ANSER; 77: no systemd-analyze here.
set -eu
command -v systemd-analyze >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$1/cluster/systemd"
for unit in anser-cluster.service anser@.service; do
    name=$(echo "$unit" | sed 's/@/@gate-0/')
    sed "s|/usr/local/bin/anser|$2|" "$unit" >"$dir/$name"
    said=$(systemd-analyze verify --man=no "$dir/$name" 2>&1) || {
        echo "$unit: $said"
        exit 1
    }
    [ -z "$said" ] || {
        echo "$unit: $said"
        exit 1
    }
    # The level is in tenths: 20 is 2.0 of 10.
    systemd-analyze security --no-pager --offline=yes --threshold=20 "$dir/$name" \
        >"$dir/security" 2>&1 || {
        tail -n 3 "$dir/security"
        exit 1
    }
done
