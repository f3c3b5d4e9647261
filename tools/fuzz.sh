#!/usr/bin/env bash
# Runs every fuzz target of the module for a time each: tools/fuzz.sh [TIME]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

time=${1:-10s}
go=${GO:-go}
count=0
failed=()
# `go test -list` knows the targets as the compiler does; a grep would not.
packages=$(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u)
for package in $packages; do
	targets=$("$go" test -list '^Fuzz' "$package" | grep '^Fuzz' || true)
	for target in $targets; do
		echo "fuzz: $package $target for $time"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || failed+=("$package $target")
		count=$((count + 1))
	done
done
if [ "$count" -eq 0 ]; then
	echo "fuzz: no target found, so nothing was tested" >&2
	exit 1
fi
if [ "${#failed[@]}" -gt 0 ]; then
	printf 'fuzz: FAILED %s\n' "${failed[@]}" >&2
	echo "fuzz: the input is kept in testdata/fuzz of that package: keep it as a test once it is mended" >&2
	exit 1
fi
echo "fuzz: $count targets, nothing found"
