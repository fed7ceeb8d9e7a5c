#!/bin/bash
# The table of tests/sim/regressions: for each row of the guard, the first seed that fails without it and
# passes with it. What is rare is looked for in runs that are short and have few kinds of faults.
#
# usage: rows.sh SIM [RUNS]    RUNS: seeds to try for each row (2000)
# Exit codes: 0 each row has a seed, 1 not.
set -u
sim=$1
runs=${2:-2000}
missing=0
short="--seconds 8 --load 1/4 --no-reads --faults"
elections="$short 'crash,power cut,fresh leader,isolated node,cut direction,lonely candidate,crash of all'"

# first_seed ROW NODES ARGUMENTS: prints its line.
first_seed() {
	local row=$1 nodes=$2 arguments=$3 from=1 seed form output
	eval "form=(--nodes $nodes $arguments)"
	while [ "$from" -le "$runs" ]; do
		output=$("$sim" "${form[@]}" --rows "all-$row" --seeds "$from-$runs" --expect-violation 2>/dev/null) ||
			break
		seed=$(sed -n 's/^seed \([0-9]*\),.*/\1/p' <<<"$output" | sort -n | head -n 1)
		if "$sim" "${form[@]}" --one "$seed" >/dev/null; then
			printf '%-12s %-6s %s%s\n' "$row" "$nodes" "$seed" "${arguments:+ | $arguments}"
			return
		fi
		from=$((seed + 1))
	done
	missing=$((missing + 1))
	echo "# $row: none of $runs seeds fails without it"
}

for row in clamp commit serial jump vote failstop elect payload memory; do
	first_seed "$row" 3 ""
done
first_seed flow 5 ""
first_seed barrier 3 "$elections"
first_seed hold 3 "$elections"
first_seed members 3 "--seconds 10 --load 1/4 --no-reads --faults 'crash,member change,lost disk,cut change'"
[ "$missing" -eq 0 ]
