#!/bin/bash
# Everything that fits in ten minutes: build, lint, unit tests, fuzz corpora, simulator, real processes.
# One line for each suite when it has ended, the log of what failed, and at the end `N passed, N failed`.
# What mostly waits (the system tests) runs beside what mostly computes.
#
# usage: tests/check.sh [SUITE...]     (default: all of them)    Exit codes: 0 all passed, 1 not.
set -u
cd "$(dirname "$0")/.." || exit 1

only=$*
logs=build/check
rm -rf "$logs"
mkdir -p "$logs"

# numbers LOG SCRIPT: the sum of the numbers that sed finds.
numbers() {
	local sum=0 number
	while read -r number; do sum=$((sum + number)); done < <(sed -nE "$2" "$1")
	echo "$sum"
}

# count LOG STATUS: how many tests a log tells of, by the runners that print them: "PASSED FAILED".
count() {
	local log=$1 status=$2 ok bad
	bad=$(grep -cE '^\[  FAILED  \] [A-Za-z_0-9]+$' "$log")
	bad=$((bad + $(numbers "$log" 's/^FAILED \(.*failures=([0-9]+).*$/\1/p')))
	bad=$((bad + $(numbers "$log" 's/^FAILED \(.*errors=([0-9]+).*$/\1/p')))
	ok=$(grep -cE '^\[ +OK +\] ' "$log")
	ok=$((ok + $(numbers "$log" 's/^Ran ([0-9]+) .*tests? (in|with) .*$/\1/p')))
	bad=$((bad + $(numbers "$log" 's/^fail-loops: [0-9]+ tried, ([0-9]+) defects$/\1/p')))
	ok=$((ok + $(numbers "$log" 's/^fail-loops: ([0-9]+) tried, 0 defects$/\1/p')))
	ok=$((ok + $(numbers "$log" 's/^checked ([0-9]+) .*$/\1/p')))
	ok=$((ok - $(numbers "$log" 's/^FAILED \(.*failures=([0-9]+).*$/\1/p')))
	ok=$((ok - $(numbers "$log" 's/^FAILED \(.*errors=([0-9]+).*$/\1/p')))
	# A suite that failed has failed, whatever it printed; one that passed counts at least once.
	[ "$status" -ne 0 ] && [ "$bad" -eq 0 ] && bad=1
	[ "$status" -eq 0 ] && [ "$ok" -le 0 ] && ok=1
	echo "$ok $bad"
}

# suite NAME COMMAND...
suite() {
	local name=$1 log=$logs/$1.log start=$SECONDS status=0 ok bad
	shift
	[ -z "$only" ] || [[ " $only " == *" $name "* ]] || return 0
	timeout --kill-after=20 "$LIMIT_SECONDS" "$@" >"$log" 2>&1 || status=$?
	[ "$status" -eq 124 ] && echo "ended after $LIMIT_SECONDS s: something hangs" >>"$log"
	read -r ok bad < <(count "$log" "$status")
	echo "$ok $bad" >"$logs/$name.result"
	{
		printf '%-12s %5d passed %3d failed  %4d s\n' "$name" "$ok" "$bad" $((SECONDS - start))
		if [ "$status" -ne 0 ]; then
			echo "---- the end of $log:"
			tail -n 40 "$log"
			echo "----"
		fi
	} >"$logs/$name.line"
	cat "$logs/$name.line"
}

# One that hangs must not take the others' results with it.
LIMIT_SECONDS=900
run=(make --no-print-directory)

suite build "${run[@]}" -j2 all
suite lint "${run[@]}" lint
suite unit "${run[@]}" -j2 unit
suite fuzz-replay "${run[@]}" -j2 fuzz-replay
suite system-1 "${run[@]}" system TESTS='--part 1/2' &
suite system-2 "${run[@]}" system TESTS='--part 2/2' &
suite fail-loops "${run[@]}" fail-check
suite simulator "${run[@]}" sim-check
suite failover "${run[@]}" failover
wait

passed=0 failed=0
for result in "$logs"/*.result; do
	read -r ok bad <"$result"
	passed=$((passed + ok)) failed=$((failed + bad))
done
echo "$passed passed, $failed failed" | tee "$logs/summary"
[ "$failed" -eq 0 ]
