#!/bin/bash
# Plant each defect of MUTANT_WHOLE_TABLE (base/mutant.h), one at a time: whole nodes and their clients must
# show every one within its bound. Prints a table for docs/testing.md: after how many runs.
#
# usage: mutants.sh SIM_WHOLE [RUNS]    SIM_WHOLE: of the build with planted defects; RUNS: the bound (40)
# Exit codes: 0 all were found and the unchanged program was clean, 1 not.
set -u
sim=$1
runs=${2:-40}
found=0 missed=0

if ! "$sim" --seeds 1-10 >/dev/null; then
	echo "the unchanged program does not pass seeds 1-10: a defect would prove nothing" >&2
	exit 1
fi
printf '| planted | what it does | runs | what was seen |\n|---|---|---|---|\n'
while IFS=$'\t' read -r name text; do
	output=$("$sim" --jobs 1 --expect-violation --mutant "$name" --seeds "1-$runs")
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
done < <("$sim" --mutants)
echo "$((found + missed)) planted, $found found, $missed not"
[ "$missed" -eq 0 ]
