#!/usr/bin/env bash
# Shows what a cluster keeps when nodes fail: tools/cluster-tour.sh DIR
#
# DIR is that of a running `make cluster`. It encrypts on one node and decrypts on another; kills the leader while a loop encrypts on
# the other nodes, and rotates a key meanwhile; starts the dead node again; then revokes an application while one node is paused, and
# shows that this node honours it no more from the moment of the answer. Any promise that is not kept ends it with an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${1:-.cluster}
bin=${CRYPTOSERVE_BIN:-bin}
first=${CLUSTER_PORT:-8451}
context=user-pii
work=$(mktemp -d)
loops=()
paused=
again=
cleanup() {
	status=$?
	trap - EXIT
	for p in "${loops[@]}"; do kill "$p" 2>/dev/null || true; done
	[ -z "$paused" ] || kill -CONT "$paused" 2>/dev/null || true
	if [ -n "$again" ]; then
		kill -TERM "$again" 2>/dev/null || true
		wait "$again" 2>/dev/null || true
	fi
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT

url() { echo "https://127.0.0.1:$((first + $1 - 1))"; }
fail() {
	echo "tour: $*" >&2
	exit 1
}
app() { # N COMMAND...: the application on node N
	"$bin"/cryptoserve "${@:2}" --server "$(url "$1")" --ca "$dir/1/ca.pem" --token-file "${token:-$dir/1/app.token}"
}
operator() { # N COMMAND...: the operator and owner on node N
	"$bin"/cryptoserve "${@:2}" --server "$(url "$1")" --ca "$dir/1/ca.pem" --token-file "$dir/1/owner.token"
}
leader() { # N: the number of the leader, as node N knows it
	operator "$1" cluster status --output json | tr -d ' \n' | sed -n 's/.*"name":"node-\([0-9]\)"[^}]*"leader":true.*/\1/p'
}
millis() { date +%s%3N; }

echo "== encrypt on node 1, decrypt on node 3"
echo "what was said on node 1" | app 1 encrypt --context "$context" >"$work/sealed"
[ "$(app 3 decrypt --context "$context" <"$work/sealed")" = "what was said on node 1" ] || fail "node 3 decrypts something else"
echo "   node 3 reads it"

old=$(leader 1)
[ -n "$old" ] || fail "no node says that it leads"
others=()
for n in 1 2 3; do [ "$n" = "$old" ] || others+=("$n"); done

# encrypt_on N: encrypts until it is told to stop, over one connection, and counts what failed.
encrypt_on() {
	local n=$1 ok=0 bad=0 body='{"plaintext":"aGVsbG8=","context":"'$context'"}'
	printf 'Authorization: Bearer %s\n' "$(cat "$dir/1/app.token")" >"$work/header"
	while [ ! -e "$work/stop" ]; do
		# 20 requests over one connection; --fail counts each that is not answered with 200
		local args=()
		for _ in $(seq 20); do args+=("$(url "$n")/api/v1/crypto/encrypt" --output /dev/null); done
		local codes
		codes=$(curl --silent --max-time 5 --cacert "$dir/1/ca.pem" --header @"$work/header" --header 'Content-Type: application/json' \
			--data "$body" --write-out '%{http_code}\n' "${args[@]}") || true
		ok=$((ok + $(grep -c '^200$' <<<"$codes" || true)))
		bad=$((bad + $(grep -vc '^200$' <<<"$codes" || true)))
	done
	echo "$ok $bad" >"$work/count-$n"
}

echo "== kill -9 the leader, node $old, while a loop encrypts on each other node"
for n in "${others[@]}"; do
	encrypt_on "$n" &
	loops+=($!)
done
sleep 1
kill -9 "$(cat "$dir/$old.pid")"
begin=$(millis)
operator "${others[0]}" context rotate "$context" >"$work/rotate" || fail "the rotation failed"
took=$(($(millis) - begin))
echo "   node ${others[0]} rotated $context $took ms after the kill"
sleep 2
touch "$work/stop"
for p in "${loops[@]}"; do wait "$p"; done
loops=()
for n in "${others[@]}"; do
	read -r ok bad <"$work/count-$n"
	echo "   node $n encrypted $ok times meanwhile, $bad failed"
	[ "$bad" = 0 ] || fail "operations failed on node $n, which was alive"
	[ "$ok" -gt 0 ] || fail "node $n did nothing"
done
[ "$(app "${others[1]}" decrypt --context "$context" <"$work/sealed")" = "what was said on node 1" ] || fail "the old ciphertext does not open"
operator "${others[0]}" cluster status || true

echo "== start node $old again"
"$bin"/cryptoserved dev --dir "$dir/$old" --listen "127.0.0.1:$((first + old - 1))" --log-level warn >"$work/again" 2>>"$dir/$old.log" &
again=$!
echo "$again" >"$dir/$old.pid"
for _ in $(seq 300); do
	grep -q '^ready ' "$work/again" && break
	sleep 0.1
done
grep -q '^ready ' "$work/again" || fail "node $old did not come back; its log is $dir/$old.log"

echo "== revoke an application while node ${others[1]} is paused"
operator "${others[0]}" app create "tour-$(millis)" --grant "$context" --environment test --output json >"$work/app.json"
id=$(tr -d ' \n' <"$work/app.json" | sed -n 's/.*"app_id":"\([^"]*\)".*/\1/p')
[ -n "$id" ] || id=$(tr -d ' \n' <"$work/app.json" | sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
tr -d ' \n' <"$work/app.json" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p' >"$work/tour.token"
chmod 600 "$work/tour.token"
[ -s "$work/tour.token" ] || fail "the application has no token"
echo x | token=$work/tour.token app "${others[1]}" encrypt --context "$context" >/dev/null || fail "the application cannot encrypt yet"
paused=$(cat "$dir/${others[1]}.pid")
kill -STOP "$paused"
begin=$(millis)
operator "${others[0]}" app disable "$id" || fail "the application could not be disabled"
echo "   answered after $(($(millis) - begin)) ms"
kill -CONT "$paused"
paused=
if echo x | token=$work/tour.token app "${others[1]}" encrypt --context "$context" >/dev/null 2>"$work/refusal"; then
	fail "node ${others[1]} honoured a right that was taken away"
fi
echo "   node ${others[1]}, awake again, refuses: $(head -n 1 "$work/refusal")"
echo "== every promise was kept"
