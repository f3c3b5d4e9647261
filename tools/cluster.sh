#!/usr/bin/env bash
# Runs three nodes of one cluster on this machine: tools/cluster.sh DIR
#
# Each node has a SoftHSM2 token of its own in DIR/<n>. The first run makes the cluster and joins nodes 2 and 3 to it, each approved by
# its fingerprint; later runs start the same three again. It prints how to use them, and ends them at Ctrl-C.
#
#   CLUSTER_PORT  the first of six ports on 127.0.0.1 (default 8451: API at 8451 to 8453, cluster at 8454 to 8456)
#   CLUSTER_EXEC  a command to run once the cluster is up; the cluster ends with it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${1:-.cluster}
bin=${CRYPTOSERVE_BIN:-bin}
first=${CLUSTER_PORT:-8451}
declare -A pids=()

cleanup() {
	status=$?
	trap - EXIT
	trap '' INT TERM # the nodes have the signal too: wait for them
	for n in "${!pids[@]}"; do kill -TERM "${pids[$n]}" 2>/dev/null || true; done
	for n in "${!pids[@]}"; do wait "${pids[$n]}" 2>/dev/null || true; done
	exit "$status"
}
trap cleanup EXIT
trap 'exit 0' INT TERM

api() { echo "127.0.0.1:$((first + $1 - 1))"; }
port() { echo "127.0.0.1:$((first + $1 + 2))"; }
operator() { "$bin"/cryptoserve "$@" --server "https://$(api 1)" --ca "$dir/1/ca.pem" --token-file "$dir/1/owner.token"; }

# launch N [FLAG...]: starts node N; its output goes to DIR/N.out, its log to DIR/N.log.
launch() {
	local n=$1
	shift
	: >"$dir/$n.out"
	"$bin"/cryptoserved dev --dir "$dir/$n" --listen "$(api "$n")" --cluster "$(port "$n")" --name "node-$n" --log-level info "$@" \
		>"$dir/$n.out" 2>>"$dir/$n.log" &
	pids[$n]=$!
	echo "${pids[$n]}" >"$dir/$n.pid"
}

# await N TEXT: waits for a line of node N that begins with the text, and prints the rest of it.
await() {
	for _ in $(seq 1 600); do
		if line=$(grep -m 1 "^$2" "$dir/$1.out"); then
			echo "${line#"$2"}"
			return
		fi
		if ! kill -0 "${pids[$1]}" 2>/dev/null; then
			echo "cluster: node $1 ended; its log is $dir/$1.log:" >&2
			tail -n 5 "$dir/$1.log" >&2
			return 1
		fi
		sleep 0.1
	done
	echo "cluster: node $1 did not print '$2' within a minute; its log is $dir/$1.log" >&2
	return 1
}

mkdir -p "$dir"
chmod 700 "$dir"
fresh=()
for n in 1 2 3; do [ -e "$dir/$n/node.json" ] || fresh+=("$n"); done

launch 1
if [ "${#fresh[@]}" -eq 0 ]; then
	launch 2
	launch 3
	for n in 1 2 3; do await "$n" "ready " >/dev/null; done
else
	await 1 "ready " >/dev/null
	for n in 2 3; do
		if [ -e "$dir/$n/node.json" ]; then
			launch "$n"
		else
			code=$(operator cluster invite --output json | sed -n 's/.*"code": *"\([^"]*\)".*/\1/p')
			launch "$n" --join "$code"
			request=$(await "$n" "join ")
			fingerprint=$(await "$n" "fingerprint ")
			echo "node $n asks to join with the fingerprint $fingerprint; approving it"
			operator cluster approve "$request" "$fingerprint" >/dev/null
		fi
		await "$n" "ready " >/dev/null
	done
fi

# A node that has just joined is no voter yet.
for _ in $(seq 100); do
	operator cluster status | grep -q 'catching up' || break
	sleep 0.2
done
operator cluster status
cat <<EOF

Three nodes run; Ctrl-C stops them. Their logs are $dir/<n>.log, their process ids $dir/<n>.pid. In another terminal:

  export CRYPTOSERVE_CA=$dir/1/ca.pem
  echo hello | bin/cryptoserve encrypt --server https://$(api 1) --token-file $dir/1/app.token --context user-pii > hello.enc
  bin/cryptoserve decrypt --server https://$(api 3) --token-file $dir/1/app.token --context user-pii < hello.enc
  bin/cryptoserve cluster status --server https://$(api 2) --token-file $dir/1/owner.token
  kill -9 \$(cat $dir/1.pid)    # the others go on; run make cluster again to have it back

EOF
if [ -n "${CLUSTER_EXEC:-}" ]; then
	status=0
	CLUSTER_DIR=$dir CLUSTER_FIRST=$first bash -c "$CLUSTER_EXEC" || status=$?
	exit "$status"
fi
wait
