#!/bin/sh
# A main, a backup and a witness on this machine run the plugin; the main is killed, and the backup acts.
# TWINHUB names the program if it is not on the path.
set -eu
cd "$(dirname "$0")/.."
twinhub=${TWINHUB:-twinhub}
run=site/run
rm -rf "$run"
mkdir -p "$run"

options="--config site/twinhub.toml --state $run --plugins @DIR@"

# Asks the node behind this port.
ask() {
    port=$1
    shift
    "$twinhub" $options --url "http://127.0.0.1:$port" "$@"
}

# Waits until one of the nodes says that this one is active.
until_active() {
    for _ in $(seq 300); do
        for port in 28620 28621; do
            ask "$port" status 2>/dev/null | grep -q "active $1" && return 0
        done
        sleep 0.1
    done
    echo "$1 is not active; the logs are in $run" >&2
    return 1
}

"$twinhub" $options init >/dev/null
pids=
trap 'kill $pids 2>/dev/null || true; wait || true' EXIT
trap 'exit 1' INT TERM
"$twinhub" $options witness >"$run/witness.log" 2>&1 &
pids="$!"
"$twinhub" $options run --node main >"$run/main.log" 2>&1 &
main=$!
pids="$pids $main"
until_active main
"$twinhub" $options run --node backup >"$run/backup.log" 2>&1 &
pids="$pids $!"
for _ in $(seq 300); do
    ask 28620 status 2>/dev/null | grep -Eq "standby +yes" && break
    sleep 0.1
done

ask 28620 status
ask 28620 items ls
echo
echo "== the main is killed"
kill -9 "$main"
until_active backup
ask 28621 status
ask 28621 items ls
