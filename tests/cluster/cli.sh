#!/bin/sh
# `anser cluster plan` and `keygen` as an operator types them, with their exit codes.
# Usage: cli.sh SOURCE-DIR ANSER
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
anser=$2
cp "$1/cluster/three-hosts.yaml" "$dir/c.yaml"
cd "$dir"

# ends CODE TEXT COMMAND...: its exit code, and a text in what it says.
ends()
{
    code=$1 text=$2 got=0
    shift 2
    "$@" >said 2>&1 || got=$?
    if [ "$got" -ne "$code" ] || ! grep -qF -- "$text" said; then
        echo "$*: ended with $got, not $code, or did not say '$text':"
        cat said
        exit 1
    fi
}

ends 0 'anser cluster COMMAND [FILE]' "$anser" cluster --help
ends 2 'anser cluster COMMAND [FILE]' "$anser" cluster
ends 2 "unknown command 'fly'" "$anser" cluster fly
ends 2 'which cluster? FILE, --cluster FILE or $ANSER_CLUSTER' "$anser" cluster plan
ends 2 'FILE and --cluster: one of them' "$anser" cluster plan c.yaml --cluster c.yaml
ends 0 'host c, address' "$anser" cluster plan --cluster c.yaml
ends 0 'host c, address' env ANSER_CLUSTER=c.yaml "$anser" cluster plan
ends 9 'none.yaml: No such file' "$anser" cluster plan none.yaml
ends 0 'host c, address 10.0.0.3, sockets in /run/anser' "$anser" cluster plan c.yaml
ends 0 '"bus":"tls+tcp://10.0.0.3:7507"' "$anser" cluster plan c.yaml --json
ends 0 "made $dir/keys/token.json" "$anser" cluster keygen c.yaml
ends 0 "kept $dir/keys/b.pem" "$anser" cluster keygen c.yaml
ends 8 "the file has no host 'd'" "$anser" cluster keygen c.yaml --host d
ends 0 'made out/ca.pem' "$anser" cluster keygen c.yaml --out out
[ "$(stat -c %a out/ca.key out/b.key out/token.json | sort -u)" = 600 ]

# --cluster and --host are the same everywhere.
export ANSER_CLUSTER="$dir/c.yaml"
ends 8 "the file has no host 'd'" "$anser" cluster status --host d
ends 8 "the file has no host 'd'" "$anser" cluster up --host d
for command in 'user add x' 'trace 1' 'send --user x --to y z' 'recv --user x' \
    'history --user x --with y' 'token x' 'bench' 'backup copy' 'chat x --to y'; do
    # shellcheck disable=SC2086
    ends 8 "the file has no host 'd'" "$anser" $command --host d
done
ends 5 "c.yaml has no store/7 (NOT_FOUND)" "$anser" backup copy --host b --store 7
ends 8 "store/1 is on host c" "$anser" backup copy --host b --store 1
unset ANSER_CLUSTER
ends 2 '--store needs --cluster or --control' "$anser" backup copy --store 1
sed -i 's/512-1023/511-1023/' c.yaml
ends 8 ".slots: slot 511 is router/0's already (CONFIG)" "$anser" cluster plan c.yaml
