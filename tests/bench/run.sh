#!/usr/bin/env bash
# Measure a fresh cluster of three nodes on this machine with `annal bench`; see --help.
set -u -o pipefail

usage() {
	cat <<'END'
Usage: tests/bench/run.sh [OPTION]... [-- BENCH_OPTION...]

Starts three nodes in a new folder, runs all rows of `annal bench`, failover, restart and backup among
them, stops the nodes and removes the folder. What stands behind -- goes to `annal bench`.

  --file FILE      import that file, too
  --seconds N      how long each timed row runs (default 2)
  --times N        how many failovers and restarts (default 6)
  --dir DIR        folder of the cluster, on the disk to be measured (default: a new one in TMPDIR)
  --base-port P    see cluster/local.sh (default 17600)
  --json FILE      the results as JSON, too
  --last FILE      compare with the run kept there, and keep this one
  --set NAME=VALUE a setting of annald; may be given again
  --keep           leave the folder, for its logs

Environment: ANNAL_BIN_DIR, where annald and annal are (default build/release)
END
}

die() {
	printf 'run.sh: %s\n' "$*" >&2
	exit 2
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export ANNAL_BIN_DIR=${ANNAL_BIN_DIR:-$root/build/release}
local_sh=$root/cluster/local.sh
file='' seconds=2 times=6 dir='' base_port=17600 json='' last='' keep=no settings=() extra=()

while (($#)); do
	case $1 in
	-h | --help) usage && exit 0 ;;
	--keep) keep=yes && shift && continue ;;
	--) shift && extra=("$@") && break ;;
	esac
	(($# > 1)) || die "$1: unknown, or its value is missing; see --help"
	case $1 in
	--file) file=$2 ;;
	--seconds) seconds=$2 ;;
	--times) times=$2 ;;
	--dir) dir=$2 ;;
	--base-port) base_port=$2 ;;
	--json) json=$2 ;;
	--last) last=$2 ;;
	--set) settings+=(--set "$2") ;;
	*) die "$1: there is no such option; see --help" ;;
	esac
	shift 2
done

for program in annald annal; do
	[[ -x $ANNAL_BIN_DIR/$program ]] || die "no $program in $ANNAL_BIN_DIR: run make"
done
[[ -z $last || -n $json ]] || die "--last wants --json"
[[ -z $file || -r $file ]] || die "cannot read $file"
made=no
if [[ -z $dir ]]; then
	dir=$(mktemp -d "${TMPDIR:-/tmp}/annal-bench-XXXXXX") || die "cannot make a folder"
	made=yes
fi

dir=$(realpath -m -- "$dir") # the nodes write backups there

finish() {
	local code=$?
	[[ -f $dir/cluster ]] && "$local_sh" stop --dir "$dir"
	if [[ $keep == yes || $made == no || $code -ne 0 ]]; then
		printf 'run.sh: the nodes and their logs are in %s\n' "$dir" >&2
	else
		rm -rf -- "$dir"
	fi
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# What tells whether two runs can be compared; into the results.
add_machine() {
	python3 - "$1" "$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)" \
		"$(nproc)" "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		"$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)" \
		"$(df --output=fstype "$dir" | tail -n 1)" "$(date -u '+%F %R UTC')" <<'END'
import json, sys
path, *values = sys.argv[1:]
names = ("commit", "processors", "model", "memory", "file_system", "when")
with open(path, encoding="utf-8") as file:
    results = json.load(file)
results["machine"] = dict(zip(names, values))
with open(path, "w", encoding="utf-8") as file:
    json.dump(results, file, indent=1)
END
}

describe_machine() {
	printf 'annal %s, commit %s; %s\n' "$("$ANNAL_BIN_DIR/annal" --version | cut -d' ' -f2)" \
		"$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)" \
		"$(uname -srm)"
	printf '%s processors (%s), %s memory, data on %s; load before: %s\n\n' "$(nproc)" \
		"$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" \
		"$(awk '/^MemTotal/ { printf "%.0f GiB", $2 / 1048576 }' /proc/meminfo)" \
		"$(df --output=fstype "$dir" | tail -n 1)" "$(cut -d' ' -f1-3 /proc/loadavg)"
}

url=$("$local_sh" start --nodes 3 --dir "$dir" --base-port "$base_port" "${settings[@]}") ||
	die "the cluster does not start"
describe_machine
printf -v quoted '%q' "$dir"
bench=("$ANNAL_BIN_DIR/annal" bench --url "$url" --cluster-dir "$dir" --seconds "$seconds"
	--times "$times" --kill "$local_sh kill --dir $quoted"
	--restart "$local_sh restart --dir $quoted")
[[ -n $file ]] && bench+=(--file "$file")
[[ -n $json ]] && bench+=(--json "$json")
"${bench[@]}" --output table "${extra[@]}" || exit
[[ -n $json ]] || exit 0
add_machine "$json" || exit
[[ -z $last ]] || python3 "$root/tests/bench/compare.py" "$json" "$last"
