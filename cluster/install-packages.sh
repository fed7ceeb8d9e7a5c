#!/bin/sh
# Install the Debian packages named, those that are missing only; with sudo when not root.
# Exit codes: 0 all there, 1 could not be installed.
set -eu

if [ $# -eq 0 ] || [ "$1" = --help ]; then
	echo "usage: $0 PACKAGE..."
	exit 0
fi

missing=
for package in "$@"; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "missing packages:$missing" >&2
		echo "install them as root: apt-get install$missing" >&2
		exit 1
	fi
	as_root=sudo
fi
echo "installing$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words on purpose
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
