#!/bin/bash
# Plant each defect of base/mutant.h, and leave out each row of the guard, one at a time: the simulator
# must find every one within its bound. Prints a table for docs/testing.md: after how many runs.
#
# usage: mutants.sh SIM [RUNS]    SIM: of the build with planted defects; RUNS: the bound (200)
# Exit codes: 0 all were found and the unchanged program was clean, 1 not.
set -u
sim=$1
runs=${2:-200}
here=$(dirname "$0")
found=0 missed=0

# found_by NAME TEXT ARGS...: the first seeds, 3 and 5 nodes each, until one fails.
found_by() {
	local name=$1 text=$2 output count message
	shift 2
	output=$("$sim" --jobs 1 --expect-violation "$@")
	if message=$(grep -m 1 '^seed ' <<<"$output"); then
		count=$(sed -n 's/^runs *\([0-9]*\).*/\1/p' <<<"$output")
		found=$((found + 1))
		message=${message#*nodes: }
		[ "${#message}" -gt 100 ] && message="${message:0:99}…"
		printf '| %s | %s | %s | %s |\n' "$name" "$text" "$count" "$message"
	else
		missed=$((missed + 1))
		printf '| %s | %s | **not found** | |\n' "$name" "$text"
	fi
}

# What shows seldom is looked for in runs with few other faults.
form_of() {
	case $1 in
	VOTE_NOT_LENT) echo "--seconds 10 --load 1/4 --no-reads --faults 'crash,member change,lost disk,cut change'" ;;
	*_UNCHECKED) echo "--faults 'crash,power cut,damaged table'" ;;
	esac
}

if ! "$sim" --seeds 1-50 >/dev/null; then
	echo "the unchanged program does not pass seeds 1-50: a defect would prove nothing" >&2
	exit 1
fi
printf '| planted | what it does | runs | what was seen |\n|---|---|---|---|\n'
while IFS=$'\t' read -r name text; do
	eval "form=($(form_of "$name"))"
	found_by "$name" "$text" --mutant "$name" "${form[@]}" --seeds "1-$((runs / 2))"
done < <("$sim" --mutants)
# What some rows prevent is rare: their runs begin at a seed that is known (regressions).
while IFS='|' read -r line arguments; do
	read -r row nodes seeds <<<"$line"
	[[ $row == \#* || -z $row ]] && continue
	form=()
	eval "form=(--rows all-$row --nodes $nodes $arguments)" # quoted as a shell has it
	found_by "row $row" "the guard without it, from seed ${seeds%% *} on" "${form[@]}" \
		--seeds "${seeds%% *}-$((${seeds%% *} + runs))"
done <"$here/regressions"
echo "$((found + missed)) planted, $found found, $missed not"
[ "$missed" -eq 0 ]
