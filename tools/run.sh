#!/usr/bin/env bash
# Runs one node in the foreground and shows that it works: tools/run.sh DIR ADDRESS
#
# The first run keeps a ciphertext in DIR/demo.enc; every later run decrypts it again, to show that the keys are still
# there. Ctrl-C stops the node.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dir=${1:-.dev}
address=${2:-127.0.0.1:8443}
url=https://$address
context=user-pii
demo=$dir/demo.enc
pid=

work=$(mktemp -d)
cleanup() {
	status=$?
	trap - EXIT
	trap '' INT TERM # the node has the signal too: wait for it
	if [ -n "$pid" ]; then
		kill -TERM "$pid" 2>/dev/null || true
		wait "$pid" || status=$?
	fi
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 0' INT TERM

say() { printf '\n%s\n' "$*"; }

# field NAME: the string of that name in the JSON on standard input. Base64 needs no unescaping.
field() { sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' | head -n 1; }

# ask PATH JSON: one call of the API. The token goes through a file, so that no process list shows it.
ask() {
	curl --silent --show-error --fail-with-body --max-time 30 --cacert "$dir/ca.pem" --header @"$work/header" \
		--header 'Content-Type: application/json' --data "$2" "$url$1"
}

encrypt() { # base64 in, base64 out
	if command -v curl >/dev/null; then
		ask /api/v1/crypto/encrypt "{\"plaintext\":\"$1\",\"context\":\"$context\"}" | field ciphertext
	else
		base64 -d <<<"$1" | cryptoserve encrypt --context "$context"
	fi
}

decrypt() { # base64 in, text out
	if command -v curl >/dev/null; then
		ask /api/v1/crypto/decrypt "{\"ciphertext\":\"$1\",\"context\":\"$context\"}" | field plaintext | base64 -d
	else
		cryptoserve decrypt --context "$context" <<<"$1"
	fi
}

cryptoserve() {
	bin/cryptoserve "$1" --server "$url" --ca "$dir/ca.pem" --token-file "$dir/app.token" "${@:2}"
}

# must TEXT: ends the run when a step of the show gave nothing.
must() {
	if [ -z "$1" ]; then
		echo "run: the node did not answer as it should; its log is above" >&2
		exit 1
	fi
}

mkfifo "$work/out"
bin/cryptoserved dev --dir "$dir" --listen "$address" >"$work/out" &
pid=$!
exec 3<"$work/out"

ready=
while IFS= read -r line <&3; do
	printf '%s\n' "$line"
	if [ "$line" = "ready $url" ]; then
		ready=yes
		break
	fi
done
if [ -z "$ready" ]; then
	status=0
	wait "$pid" || status=$?
	pid=
	echo "run: the node ended before it was ready" >&2
	exit $((status == 0 ? 1 : status))
fi
cat <&3 & # what the node prints from now on

umask 077
printf 'Authorization: Bearer %s\n' "$(cat "$dir/app.token")" >"$work/header"

if [ -s "$demo" ]; then
	say "The ciphertext of an earlier run ($demo), decrypted again over REST:"
	old=$(decrypt "$(cat "$demo")")
	must "$old"
	printf '  %s\n' "$old"
fi

text="hello from $(date -u +%Y-%m-%dT%H:%M:%SZ)"
say "Encrypt \"$text\" in context $context over REST (POST $url/api/v1/crypto/encrypt):"
sealed=$(encrypt "$(printf %s "$text" | base64 | tr -d '\n')")
must "$sealed"
printf '  %s\n' "$sealed"
[ -s "$demo" ] || printf '%s\n' "$sealed" >"$demo"

say "Decrypt it (POST $url/api/v1/crypto/decrypt):"
opened=$(decrypt "$sealed")
printf '  %s\n' "$opened"
if [ "$opened" != "$text" ]; then
	echo "run: that is not what was encrypted" >&2
	exit 1
fi

say "The node runs at $url until Ctrl-C. Try it in another terminal:"
cat <<EOF
  export CRYPTOSERVE_SERVER=$url CRYPTOSERVE_CA=$dir/ca.pem CRYPTOSERVE_TOKEN_FILE=$dir/app.token
  bin/cryptoserve status
  echo hello | bin/cryptoserve encrypt --context $context

EOF
status=0
wait "$pid" || status=$?
pid=
exit "$status"
