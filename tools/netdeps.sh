#!/usr/bin/env bash
# Installs ip and iptables where the tests of whole clusters can use them and they are missing: tools/netdeps.sh
#
# Those tests put each node into a network namespace of its own. That needs Linux and root; elsewhere they are skipped, and
# nothing is installed.
set -euo pipefail

if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then
	exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
missing=()
command -v ip >/dev/null || missing+=(iproute)
command -v iptables >/dev/null || missing+=(iptables)
if [ "${#missing[@]}" -eq 0 ]; then
	exit 0
fi
echo "netdeps: install ${missing[*]}"
if command -v apt-get >/dev/null; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get -q update
	apt-get -q install -y --no-install-recommends "${missing[@]/%iproute/iproute2}"
elif command -v dnf >/dev/null; then
	dnf -q -y install "${missing[@]}"
else
	echo "netdeps: neither apt-get nor dnf is here: install iproute2 and iptables by hand" >&2
	exit 1
fi
