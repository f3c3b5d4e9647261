#!/usr/bin/env bash
# Sends a file of any size through encrypt and back with little memory: tools/bigfile.sh DIR ADDRESS BYTES
#
# The node and the command line get a memory limit of 150 MiB each for Go's collector, and neither may ever have held more than
# 200 MiB. The plaintext that comes back must be the same, and a stream that was cut must be refused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${1:-.cache/bigfile}
address=${2:-127.0.0.1:18543}
bytes=${3:-5368709120}
most=$((200 * 1024)) # KiB

export GOMEMLIMIT=150MiB CRYPTOSERVE_SERVER=https://$address CRYPTOSERVE_CA=$dir/node/ca.pem CRYPTOSERVE_TOKEN_FILE=$dir/node/app.token

pid=
cleanup() {
	status=$?
	trap - EXIT
	if [ -n "$pid" ]; then
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" || status=$?
	fi
	rm -rf "$dir"
	exit "$status"
}
trap cleanup EXIT

rm -rf "$dir"
mkdir -p "$dir"
bin/cryptoserved dev --dir "$dir/node" --listen "$address" >"$dir/out" 2>"$dir/log" &
pid=$!
until grep -q '^ready' "$dir/out"; do
	kill -0 "$pid" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
	sleep 0.1
done

# peak COMMAND...: runs it and prints the most memory that it held, in KiB.
peak() {
	"$@" &
	local child=$! held=0 now
	while now=$(awk '/^VmHWM/ {print $2}' "/proc/$child/status" 2>/dev/null) && [ -n "$now" ]; do
		held=$now
		sleep 0.05
	done
	wait "$child" || return
	echo "$held"
}

check() {
	echo "$1: at most $2 KiB of memory"
	[ "$2" -le "$most" ] || { echo "that is more than $most KiB" >&2; exit 1; }
}

# Bytes that no compression and no lucky repetition makes the same: a block of random ones, with its number before it.
head -c 1048568 /dev/urandom >"$dir/block"
for ((i = 0; i < bytes / 1048576; i++)); do
	printf '%08d' "$i"
	cat "$dir/block"
done >"$dir/plain"

check "encrypt $(stat -c %s "$dir/plain") bytes" "$(peak bin/cryptoserve encrypt --quiet --context general --stream "$dir/plain" -o "$dir/sealed")"
check "decrypt them" "$(peak bin/cryptoserve decrypt --quiet --context general "$dir/sealed" -o "$dir/back")"
check "the node" "$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status")"
cmp "$dir/plain" "$dir/back"
echo "the plaintext that came back is the same"

truncate --size=-1000000 "$dir/sealed"
if bin/cryptoserve decrypt --quiet --context general "$dir/sealed" -o "$dir/cut" 2>"$dir/refusal"; then
	echo "a stream that was cut passed" >&2
	exit 1
fi
[ ! -e "$dir/cut" ]
echo "a stream that was cut is refused: $(head -n 1 "$dir/refusal")"
