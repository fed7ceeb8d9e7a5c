#!/bin/bash
# Everything that fits in ten minutes: build, lint, unit tests, fuzz corpora, simulator, real processes.
# One line for each suite while it runs, the log of what failed, and at the end `N passed, N failed`.
#
# usage: tests/check.sh [SUITE...]     (default: all of them)    Exit codes: 0 all passed, 1 not.
set -u
cd "$(dirname "$0")/.." || exit 1

logs=build/check
mkdir -p "$logs"
passed=0 failed=0

# count LOG STATUS: how many tests a log tells of, by the runners that print them.
count() {
	local log=$1 status=$2 ok bad
	ok=$(grep -cE '^\[ +OK +\] ' "$log")
	bad=$(grep -cE '^\[  FAILED  \] [A-Za-z_0-9]+$' "$log")
	local ran
	while read -r ran; do ok=$((ok + ran)); done \
		< <(sed -nE 's/^Ran ([0-9]+) tests? in .*/\1/p' "$log")
	local line
	while read -r line; do
		bad=$((bad + line)) ok=$((ok - line))
	done < <(sed -nE 's/^FAILED \(.*(failures|errors)=([0-9]+).*\)$/\2/p' "$log")
	while read -r line; do ok=$((ok + line)); done \
		< <(sed -nE 's/^checked ([0-9]+) .*/\1/p' "$log")
	# A suite that failed has failed, whatever it printed; one that passed counts at least once.
	[ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
	[ "$status" -eq 0 ] && [ "$ok" -eq 0 ] && ok=1
	passed=$((passed + ok)) failed=$((failed + bad))
	suite_ok=$ok suite_bad=$bad
}

# suite NAME COMMAND...
suite() {
	local name=$1 log=$logs/$1.log start=$SECONDS status=0
	shift
	[ -z "$only" ] || [[ " $only " == *" $name "* ]] || return 0
	printf '%-14s ' "$name"
	"$@" >"$log" 2>&1 || status=$?
	count "$log" "$status"
	printf '%5d passed %3d failed  %4d s\n' "$suite_ok" "$suite_bad" $((SECONDS - start))
	if [ "$status" -ne 0 ]; then
		echo "---- the end of $log:"
		tail -n 40 "$log"
		echo "----"
	fi
	return 0
}

only=$*
suite build make --no-print-directory -j2 all
suite lint make --no-print-directory lint
suite unit make --no-print-directory -j2 unit
suite fuzz-replay make --no-print-directory -j2 fuzz-replay
suite simulator make --no-print-directory -j2 sim-check
suite system make --no-print-directory system
suite failover make --no-print-directory failover

echo "$passed passed, $failed failed" | tee "$logs/summary"
[ "$failed" -eq 0 ]
