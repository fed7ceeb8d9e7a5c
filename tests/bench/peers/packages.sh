#!/usr/bin/env bash
# Fetch the Debian packages of the stores that are measured, as far as they are not installed, and
# unpack them into a folder: nothing is installed, no rights are needed, no service is started.
#
# Usage: tests/bench/peers/packages.sh FOLDER
#
# Below the folder: usr/ as the packages have it; lib/ with links to their shared libraries;
# archives/.
# What cannot be fetched is said, and tried again the next time; its store is left out of the run.
set -u -o pipefail

# Headers and libraries of the programs that measure, then the stores with what they load.
readonly packages=(
	libnghttp2-14 libnghttp2-dev libpq5 libpq-dev
	nats-server etcd-server
	redis-tools redis-server libjemalloc2 liblzf1
	postgresql-15 postgresql-client-15 libicu72 libxml2 libxslt1.1 libldap-2.5-0 libpam0g
	libgssapi-krb5-2
)

is_installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

fetch() {
	local package=$1
	(cd "$folder/archives" && apt-get download "$package" >/dev/null 2>&1)
}

unpack() {
	local package=$1 archive
	for archive in "$folder/archives/${package}_"*.deb; do
		dpkg-deb --fsys-tarfile "$archive" | tar -x -C "$folder" --wildcards './usr/*' ||
			return 1
	done
}

provide() {
	local package=$1
	if is_installed "$package"; then
		return
	elif fetch "$package" && unpack "$package"; then
		printf '  FETCH %s\n' "$package"
	else
		printf 'packages.sh: %s can neither be found nor fetched: try apt-get update\n' \
			"$package" >&2
		failed=1
	fi
}

link_libraries() {
	local library
	while IFS= read -r -d '' library; do
		ln -sf "$library" "$folder/lib/${library##*/}"
	done < <(find "$folder/usr/lib" -maxdepth 2 -name 'lib*.so.*' -print0 2>/dev/null)
}

main() {
	local package failed=0
	mkdir -p "$folder/archives" "$folder/lib" || exit 1
	for package in "${packages[@]}"; do
		provide "$package"
	done
	link_libraries
	((failed)) || : >"$folder/.complete"
	exit 0
}

(($# == 1)) || {
	printf 'usage: %s FOLDER\n' "$0" >&2
	exit 2
}
folder=$1
main
