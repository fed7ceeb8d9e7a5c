#!/bin/bash
# The simulator's share of `make check`: the guarded cluster is clean, the unguarded one is not, each row
# of the guard is missed when it is left out, and a seed gives the same run twice.
#
# usage: check.sh SIM       Exit codes: 0 all held, 1 not.
set -u
sim=$1
here=$(dirname "$0")
failed=0 passed=0

# expect DESCRIPTION COMMAND...: count it, and show the end of what a failure said.
expect() {
	local what=$1 output
	shift
	if output=$("$@" 2>&1); then
		passed=$((passed + 1))
		echo "ok      $what"
	else
		failed=$((failed + 1))
		echo "FAILED  $what"
		echo "$output" | tail -n 40 | sed 's/^/        /'
	fi
}

# One of the seeds must show a violation without the row; all of them must be clean with it.
row_is_missed() {
	local row=$1 nodes=$2 seed missed=1 form=()
	eval "form=(--nodes $nodes $3)" # quoted as a shell has it: names of faults have blanks
	shift 3
	for seed in "$@"; do
		"$sim" --one "$seed" "${form[@]}" || return 1
		[ "$missed" -eq 0 ] && continue
		# A crash of libraft is a violation, too: run it as a range, which survives that.
		"$sim" --seeds "$seed" "${form[@]}" --rows "all-$row" --expect-violation &&
			missed=0
	done
	return "$missed"
}

same_twice() {
	local seed=$1 nodes=$2 first second
	first=$("$sim" --one "$seed" --nodes "$nodes") || return 1
	second=$("$sim" --one "$seed" --nodes "$nodes") || return 1
	printf '%s\n%s\n' "$first" "$second"
	[ "$first" = "$second" ]
}

other_seed_differs() {
	[ "$("$sim" --one 1 --nodes 3 | sed 's/.*trace hash//')" != \
		"$("$sim" --one 2 --nodes 3 | sed 's/.*trace hash//')" ]
}

# A failing seed, made smaller: the command that is printed fails in the same way, with fewer strikes.
shrinks() {
	local row=$1 seed=$2 nodes=$3 output again
	output=$("$sim" --shrink "$seed" --nodes "$nodes" --seconds 8 --rows "all-$row") || return 1
	echo "$output"
	again=$(sed -n 's/^ *again: sim //p' <<<"$output")
	eval "set -- $again" # quoted by the simulator: names of faults have blanks
	output=$("$sim" "$@" --expect-violation) || return 1
	tail -n 3 <<<"$output"
	[ "$(grep -c 'nemesis, strike' <<<"$output")" -le 3 ]
}

expect "120 seeds of 3 and of 5 nodes hold" "$sim" --seeds 1-120
expect "a witness stays one while nobody has a manifest for it" \
	"$sim" --one 10 --nodes 3 --faults 'crash,power cut,damaged table'
expect "without the guard, 10 seeds do not" "$sim" --seeds 1-10 --rows none --expect-violation
while IFS='|' read -r line form; do
	read -r row nodes seeds <<<"$line"
	[[ $row == \#* || -z $row ]] && continue
	# shellcheck disable=SC2086  # the seeds are words
	expect "without row $row, a cluster fails" row_is_missed "$row" "$nodes" "$form" $seeds
done <"$here/regressions"
expect "a failing seed is made smaller" shrinks clamp 11 3
expect "a seed of 3 nodes runs the same way twice" same_twice 7 3
expect "a seed of 5 nodes runs the same way twice" same_twice 8 5
expect "another seed is another run" other_seed_differs

echo "checked $((passed + failed)) promises of the simulator, $failed failed"
[ "$failed" -eq 0 ]
