#!/usr/bin/env bash
# A cluster of three nodes takes the events of this machine's package log; its leader is killed in the
# middle; every event is there once, in one order, on every node. Leaves the cluster running.
#
# ANNAL_BIN_DIR: where annald and annal are; ANNAL_DEMO_PORT: base port (default 7000).
set -u -o pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly local_sh=$here/local.sh
readonly dir=${TMPDIR:-/tmp}/annal-demo-$UID
readonly work=$dir-files
readonly port=${ANNAL_DEMO_PORT:-7000}
readonly events_min=200
readonly import_seconds=10
readonly converge_seconds=60
# Refused by its expectation, so it writes nothing; but only a leader can say so.
readonly probe=(append annal-demo-probe --type probe --data '{}' --expect stream_exists)

bold='' green='' red='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

step() {
	printf '%s%s%s\n' "$bold" "$*" "$plain"
}

fail() {
	printf '%sdemo: %s%s\n' "$red" "$*" "$plain" >&2
	printf 'The cluster and its logs: %s\nThe files of the demo: %s\n' "$dir" "$work" >&2
	exit 1
}

milliseconds() {
	local now=${EPOCHREALTIME/[.,]/}
	printf '%s\n' "${now%???}"
}

find_annal() {
	if [[ -n ${ANNAL_BIN_DIR:-} ]]; then
		annal=$ANNAL_BIN_DIR/annal
	elif [[ -x $here/../build/release/annal ]]; then
		annal=$here/../build/release/annal
	else
		annal=$(command -v annal)
	fi
	[[ -x $annal ]] || {
		printf 'demo: no annal in build/release nor in the PATH: run make\n' >&2
		exit 1
	}
}

node_url() {
	printf 'annal://127.0.0.1:%s\n' $((port + $1))
}

# ---- the events ----

# Oldest first; rotated logs are dpkg.log.1, dpkg.log.2.gz, …
package_log() {
	local file files=()
	mapfile -t files < <(printf '%s\n' /var/log/dpkg.log* | sort -rV)
	for file in "${files[@]}"; do
		[[ -r $file ]] && zcat -f -- "$file"
	done
}

make_events() {
	package_log | LC_ALL=C awk -f "$here/package-log.awk" >"$work/events.ndjson"
	count=$(wc -l <"$work/events.ndjson")
	origin="the package log of this machine"
	if ((count < events_min)); then
		git -C "$here" log --reverse --format='%aI %H %an%x09%s' 2>/dev/null |
			LC_ALL=C awk -v source=git -f "$here/package-log.awk" >"$work/events.ndjson"
		count=$(wc -l <"$work/events.ndjson")
		origin="the history of this repository"
	fi
	((count > 0)) || fail "neither /var/log/dpkg.log nor git has anything to tell"
}

# ---- the storm ----

start_cluster() {
	if [[ -f $dir/cluster ]]; then
		"$local_sh" stop --dir "$dir" || fail "the cluster of the last demo does not stop"
		rm -rf -- "$dir"
	fi
	url=$("$local_sh" start --dir "$dir" --base-port "$port") || fail "the cluster does not start"
}

leader() {
	"$annal" status -o json --url "$url" 2>/dev/null |
		sed -nE 's/.*"leader_id": ?([0-9]+).*/\1/p' | head -n 1
}

kill_leader() {
	local begin
	dead=$(leader)
	[[ $dead =~ ^[1-3]$ ]] || fail "the cluster names no leader"
	"$local_sh" kill "$dead" --dir "$dir" || fail "node $dead cannot be killed"
	begin=$(milliseconds)
	until [[ $("$annal" "${probe[@]}" --url "$url" 2>&1) == *WRONG_EXPECTED_VERSION* ]]; do
		(($(milliseconds) - begin < converge_seconds * 1000)) || fail "no new leader"
	done
	gap=$(($(milliseconds) - begin))
}

import_with_a_killed_leader() {
	local begin importer
	begin=$(milliseconds)
	"$annal" import "$work/events.ndjson" --rate $((count / import_seconds + 1)) --url "$url" \
		>"$work/import.log" 2>&1 &
	importer=$!
	sleep $((import_seconds * 4 / 10))
	kill -0 "$importer" 2>/dev/null || fail "the import ended early: $(tail -n 3 "$work/import.log")"
	kill_leader
	printf '  node %s led and was killed with SIGKILL; the others took writes again after %s ms\n' \
		"$dead" "$gap"
	wait "$importer" || fail "the import failed: $(tail -n 3 "$work/import.log")"
	took=$(($(milliseconds) - begin))
}

# ---- the proof ----

digest_of() {
	"$annal" digest -o ndjson --url "$(node_url "$1")" 2>/dev/null
}

wait_until_equal() {
	local begin one two three
	begin=$(milliseconds)
	while true; do
		one=$(digest_of 1) two=$(digest_of 2) three=$(digest_of 3)
		[[ -n $one && $one == "$two" && $two == "$three" ]] && break
		(($(milliseconds) - begin < converge_seconds * 1000)) ||
			fail "the nodes differ: 1: $one 2: $two 3: $three"
		sleep 0.1
	done
	digest=$one
	caught_up=$(($(milliseconds) - begin))
}

ids_of() {
	sed -nE 's/.*"id": ?"([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})".*/\1/p' \
		"$1" | tr -d -
}

read_every_node() {
	local node
	for node in 1 2 3; do
		"$annal" read --all -o ndjson --url "$(node_url "$node")" >"$work/node-$node.ndjson" ||
			fail "node $node cannot be read"
		ids_of "$work/node-$node.ndjson" >"$work/node-$node.ids"
		cmp -s "$work/node-1.ndjson" "$work/node-$node.ndjson" ||
			fail "nodes 1 and $node have different events: compare $work/node-*.ndjson"
	done
}

prove() {
	local stored distinct
	read_every_node
	stored=$(wc -l <"$work/node-1.ids")
	distinct=$(sort -u "$work/node-1.ids" | wc -l)
	((stored == distinct)) || fail "$((stored - distinct)) events are stored twice"
	cmp -s <(sort "$work/node-1.ids") <(ids_of "$work/events.ndjson" | sort) ||
		fail "$count events were imported, $stored are stored: compare $work/*.ids"
	((stored == count)) || fail "$count events were imported, $stored are stored"
}

import_again() {
	"$annal" import "$work/events.ndjson" --url "$url" >"$work/again.log" 2>&1 ||
		fail "the second import failed: $(tail -n 3 "$work/again.log")"
	[[ $(digest_of 1) == "$digest" ]] || fail "the second import wrote something"
}

row() {
	printf '  %-44s %s\n' "$1" "$2"
}

report() {
	printf '\n'
	row "events, of $origin" "$count"
	row "events a second (by --rate)" $((count * 1000 / took))
	row "writes stood still after SIGKILL" "$gap ms"
	row "killed node caught up within" "$caught_up ms"
	row "read from nodes 1, 2, 3" "the same $count events, each once, in one order"
	row "imported again" "nothing was stored twice"
	row "digest on every node" "${digest//[{\"\}]/}"
	printf '%sOK: nothing acknowledged was lost.%s\n\n' "$green" "$plain"
	printf 'The cluster is still running. Try:\n'
	printf '  export ANNAL_URL=%s\n' "$url"
	printf '  %s status\n' "$annal"
	printf '  %s read %s\n' "$annal" "$(example_stream)"
	printf '  %s tail --all --after end\n' "$annal"
	printf 'Stop it with: %s stop --dir %s\n' "$local_sh" "$dir"
}

example_stream() {
	sed -nE '1s/.*"stream": ?"([^"]*)".*/\1/p' "$work/events.ndjson"
}

main() {
	local annal='' url='' origin='' count=0 dead='' gap=0 took=1 caught_up=0 digest=''
	find_annal
	mkdir -p "$work" || exit 1
	step "1. A cluster of three nodes in $dir"
	start_cluster
	make_events
	step "2. $count events of $origin, for $import_seconds seconds; then the leader is killed"
	import_with_a_killed_leader
	step "3. Node $dead comes back"
	"$local_sh" restart "$dead" --dir "$dir" || fail "node $dead does not start again"
	wait_until_equal
	step "4. Every node is read from the first event to the last"
	prove
	step "5. The same events are imported once more"
	import_again
	report
}

main "$@"
