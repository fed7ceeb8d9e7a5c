#!/usr/bin/env bash
# A cluster on this machine, for trying things out and for tests. `local.sh --help` says how.
#
# Below the cluster's folder: `cluster` (how it was made), and for each node `node-N/` with data/,
# annald.conf, annald.log and annald.pid. A process is touched only when the pid file names it and
# /proc says that it runs annald with that node's configuration.
set -u -o pipefail

readonly START_SECONDS=30
readonly STOP_SECONDS=20
readonly PROBE_STREAM=annal-local-probe

usage() {
	cat <<'END'
Usage: cluster/local.sh COMMAND [OPTION]...

Commands:
  start            start all nodes; returns when every one of them takes writes. On an existing
                   folder: start what is stopped there, with its data
  stop [N]...      stop all nodes, or these (SIGTERM; SIGKILL after 20 seconds)
  status           what runs, and what the cluster says of itself
  url              the address of the cluster, for `annal --url` or ANNAL_URL
  kill N...        kill nodes without warning (SIGKILL)
  pause N...       freeze nodes (SIGSTOP)
  resume N...      let them go on (SIGCONT)
  restart N...     stop nodes if they run, and start them
  add N...         start new, empty nodes that are no members yet (cluster_add brings them in)
  wipe N...        delete the data of stopped nodes

Options:
  --nodes N        size of a new cluster: 1 to 9 (default 3)
  --dir DIR        its folder (default ${TMPDIR:-/tmp}/annal-local-UID)
  --base-port P    node N serves clients at port P+N and its peers at P+100+N; P+200+N is kept
                   for HTTP (default 7000)
  --hosts A.B.C    node N is at the address A.B.C.N (default: all at 127.0.0.1)
  --set NAME=VALUE a setting of annald, for all nodes; kept for later starts; may be given again
  -h, --help       this

Environment:
  ANNAL_BIN_DIR    where annald and annal are (default: build/release, else the PATH)

Exit codes: 0 done; 1 it failed; 2 wrong usage; 3 there is no such cluster or node.
END
}

say() {
	printf 'local.sh: %s\n' "$*" >&2
}

die() {
	local code=$1
	shift
	say "$@"
	exit "$code"
}

# ---- programs ----

find_program() {
	local name=$1 here
	if [[ -n ${ANNAL_BIN_DIR:-} ]]; then
		[[ -x $ANNAL_BIN_DIR/$name ]] || die 1 "no $name in ANNAL_BIN_DIR=$ANNAL_BIN_DIR"
		printf '%s\n' "$ANNAL_BIN_DIR/$name"
		return
	fi
	here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
	if [[ -x $here/build/release/$name ]]; then
		printf '%s\n' "$here/build/release/$name"
	else
		command -v "$name" || die 1 "no $name in $here/build/release nor in the PATH: run make"
	fi
}

# ---- the folder ----

node_dir() {
	printf '%s\n' "$dir/node-$1"
}

known_nodes() {
	local folder
	for folder in "$dir"/node-*/; do
		folder=${folder%/}
		[[ -f $folder/annald.conf ]] && printf '%s\n' "${folder##*/node-}"
	done | sort -n
}

require_cluster() {
	[[ -f $dir/cluster ]] || die 3 "there is no cluster in $dir: start one with \`local.sh start\`"
}

require_node() {
	[[ -f $(node_dir "$1")/annald.conf ]] ||
		die 3 "there is no node $1 in $dir: it has $(known_nodes | paste -sd' ')"
}

# One `name=value` a line; settings have the name `set`.
read_cluster() {
	local name value
	while IFS='=' read -r name value; do
		case $name in
		nodes) made_nodes=$value ;;
		base-port) made_port=$value ;;
		hosts) made_hosts=$value ;;
		set) made_settings+=("$value") ;;
		esac
	done <"$dir/cluster"
}

write_cluster() {
	local setting
	{
		printf 'nodes=%s\nbase-port=%s\nhosts=%s\n' "$made_nodes" "$made_port" "$made_hosts"
		for setting in "${made_settings[@]}"; do
			printf 'set=%s\n' "$setting"
		done
	} >"$dir/cluster"
}

client_port() { printf '%s\n' $((made_port + $1)); }
peer_port() { printf '%s\n' $((made_port + 100 + $1)); }
node_host() {
	if [[ -n $made_hosts ]]; then printf '%s.%s\n' "$made_hosts" "$1"; else echo 127.0.0.1; fi
}
client_address() { printf '%s:%s\n' "$(node_host "$1")" "$(client_port "$1")"; }
peer_address() { printf '%s:%s\n' "$(node_host "$1")" "$(peer_port "$1")"; }

initial_members() {
	local node members=
	for ((node = 1; node <= made_nodes; node++)); do
		members+="${members:+,}$node=$(peer_address "$node")/$(client_address "$node")"
	done
	printf '%s\n' "$members"
}

cluster_url() {
	local node url=
	for node in $(known_nodes); do
		url+="${url:+,}$(client_address "$node")"
	done
	printf 'annal://%s\n' "$url"
}

write_node() {
	local node=$1 folder
	folder=$(node_dir "$node")
	mkdir -p "$folder" || die 1 "cannot make $folder"
	cat >"$folder/annald.conf" <<END
[node]
node-id = $node
cluster-name = local
data-dir = $folder/data

[client]
client-listen = $(client_address "$node")
client-advertise = $(client_address "$node")

[peer]
peer-listen = $(peer_address "$node")
peer-advertise = $(peer_address "$node")
initial-members = $(initial_members)
END
}

# ---- processes ----

# Prints the pid when the process of that node runs.
node_pid() {
	local folder pid
	folder=$(node_dir "$1")
	[[ -r $folder/annald.pid ]] && read -r pid <"$folder/annald.pid" || return 1
	[[ $pid =~ ^[0-9]+$ ]] && is_our_process "$pid" "$folder/annald.conf" || return 1
	printf '%s\n' "$pid"
}

is_our_process() {
	local pid=$1 conf=$2 argument program=no config=no
	while IFS= read -r -d '' argument; do
		[[ ${argument##*/} == annald ]] && program=yes
		[[ $argument == "$conf" ]] && config=yes
	done 2>/dev/null <"/proc/$pid/cmdline"
	[[ $program == yes && $config == yes && $(process_state "$pid") != Z ]]
}

process_state() {
	local stat
	stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	stat=${stat##*) } # the name in brackets may hold anything
	printf '%s\n' "${stat%% *}"
}

# With a pid: as that process sees it, which may be in a network of its own.
is_port_open() {
	awk -v port="$(printf ':%04X' "$1")" \
		'$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' \
		"/proc/${2:-self}/net/tcp" "/proc/${2:-self}/net/tcp6" 2>/dev/null
}

require_free_ports() {
	local node=$1 port
	for port in "$(client_port "$node")" "$(peer_port "$node")"; do
		is_port_open "$port" && die 1 "port $port is in use, node $node needs it:" \
			"stop what listens there or choose another --base-port"
	done
	return 0
}

launch() {
	local node=$1 annald folder setting flags=()
	annald=$(find_program annald) || exit
	folder=$(node_dir "$node")
	require_free_ports "$node"
	for setting in "${made_settings[@]}"; do
		flags+=("--${setting%%=*}" "${setting#*=}")
	done
	setsid "$annald" --config "$folder/annald.conf" "${flags[@]}" \
		>>"$folder/annald.log" 2>&1 </dev/null &
	printf '%s\n' $! >"$folder/annald.pid"
	disown
}

explain_death() {
	local log
	log=$(node_dir "$1")/annald.log
	say "node $1 has ended; the last lines of $log:"
	tail -n 5 "$log" | sed 's/^/  /' >&2
	exit 1
}

# Until the condition holds for the node: 0. Its process ended: exit 1. Too long: 1.
wait_for_node() {
	local condition=$1 node=$2 deadline=$((SECONDS + START_SECONDS))
	sleep 0.02 # between fork and exec /proc shows the shell
	until "$condition" "$node"; do
		node_pid "$node" >/dev/null || sleep 0.2
		node_pid "$node" >/dev/null || explain_death "$node"
		((SECONDS < deadline)) || return 1
		sleep 0.05
	done
}

is_listening() {
	is_port_open "$(client_port "$1")" "$(node_pid "$1")"
}

# An append that must be refused by its expectation: decided by the whole cluster, writes nothing.
takes_writes() {
	local answer
	answer=$("$annal" append "$PROBE_STREAM" --type probe --data '{}' --expect stream_exists \
		--url "annal://$(client_address "$1")" 2>&1) && return 0
	[[ $answer == *WRONG_EXPECTED_VERSION* ]]
}

# Its memory goes first, its files and ports later, with its last thread.
is_gone() {
	local threads
	[[ -d /proc/$1 ]] || return 0
	[[ $(process_state "$1") == Z ]] || return 1
	threads=(/proc/"$1"/task/*)
	((${#threads[@]} <= 1))
}

stop_nodes() {
	local node pid deadline=$((SECONDS + STOP_SECONDS)) pids=()
	for node in "$@"; do
		pid=$(node_pid "$node") || continue
		kill -TERM "$pid" && kill -CONT "$pid" 2>/dev/null
		pids[node]=$pid
	done
	for node in "${!pids[@]}"; do
		pid=${pids[node]}
		until is_gone "$pid"; do
			if ((SECONDS >= deadline)) && node_pid "$node" >/dev/null; then
				say "node $node does not end after $STOP_SECONDS seconds: killed"
				kill -KILL "$pid"
				deadline=$((SECONDS + STOP_SECONDS))
			fi
			sleep 0.02
		done
		rm -f "$(node_dir "$node")/annald.pid"
	done
}

kill_node() {
	local node=$1 pid
	pid=$(node_pid "$node") || die 3 "node $node does not run"
	kill -KILL "$pid"
	until is_gone "$pid"; do
		sleep 0.01
	done
	rm -f "$(node_dir "$node")/annald.pid"
}

signal_node() {
	local signal=$1 node=$2 pid
	pid=$(node_pid "$node") || die 3 "node $node does not run"
	kill "-$signal" "$pid" || die 1 "cannot signal node $node (pid $pid)"
	# A signal is on its way for a moment.
	while [[ $signal == STOP && $(process_state "$pid") != [TZ]* ]]; do
		sleep 0.01
	done
}

# ---- commands ----

make_cluster() {
	local node
	for node in "$dir"/*; do
		[[ -e $node ]] && die 1 "$dir is not empty and holds no cluster: choose another --dir"
	done
	made_nodes=${nodes:-3}
	made_port=${base_port:-7000}
	made_hosts=$hosts
	made_settings=("${settings[@]}")
	for ((node = 1; node <= made_nodes; node++)); do
		require_free_ports "$node"
	done
	mkdir -p "$dir" || die 1 "cannot make $dir"
	for ((node = 1; node <= made_nodes; node++)); do
		write_node "$node"
	done
	write_cluster
}

check_existing_cluster() {
	read_cluster
	[[ -z $base_port || $base_port == "$made_port" ]] ||
		die 2 "the cluster in $dir has base port $made_port, its members know each other by it"
	[[ -z $hosts || $hosts == "$made_hosts" ]] ||
		die 2 "the nodes in $dir are at ${made_hosts:-127.0.0.1}, they know each other by it"
	[[ -z $nodes || $nodes -le $made_nodes ]] ||
		die 2 "the cluster in $dir was made with $made_nodes nodes: more come by \`local.sh add\`"
	if ((${#settings[@]})); then
		made_settings=("${settings[@]}")
		write_cluster
	fi
}

command_start() {
	local node annal launched=()
	annal=$(find_program annal) || exit
	if [[ -f $dir/cluster ]]; then check_existing_cluster; else make_cluster; fi
	for node in $(known_nodes); do
		((node > made_nodes || node <= ${nodes:-$made_nodes})) || continue
		node_pid "$node" >/dev/null && continue
		launch "$node"
		launched+=("$node")
	done
	for node in "${launched[@]}"; do
		if ((node > made_nodes)); then # perhaps no member
			wait_for_node is_listening "$node"
		else
			wait_for_node takes_writes "$node"
		fi || die 1 "node $node does not work after $START_SECONDS seconds:" \
			"see $(node_dir "$node")/annald.log"
	done
	cluster_url
}

command_stop() {
	if (($#)); then
		stop_nodes "$@"
	else
		# shellcheck disable=SC2046 # node ids are numbers
		stop_nodes $(known_nodes)
	fi
}

command_status() {
	local node pid state all_run=0
	require_cluster
	read_cluster
	printf '%-6s %-8s %-9s %-18s %s\n' NODE PID STATE CLIENTS FOLDER
	for node in $(known_nodes); do
		state=running
		if pid=$(node_pid "$node"); then
			[[ $(process_state "$pid") == T ]] && state=paused
		else
			pid=- state=stopped
		fi
		[[ $state == running ]] || all_run=1
		printf '%-6s %-8s %-9s %-18s %s\n' "$node" "$pid" "$state" \
			"$(client_address "$node")" "$(node_dir "$node")"
	done
	printf '\n'
	"$(find_program annal)" status --url "$(cluster_url)" || all_run=1
	return "$all_run"
}

command_restart() {
	local node
	stop_nodes "$@"
	for node in "$@"; do
		launch "$node"
	done
	for node in "$@"; do
		wait_for_node is_listening "$node" || die 1 "node $node does not listen after" \
			"$START_SECONDS seconds: see $(node_dir "$node")/annald.log"
	done
}

command_add() {
	local node
	for node in "$@"; do
		[[ -e $(node_dir "$node") ]] && die 1 "node $node exists already: take a new number"
		require_free_ports "$node"
	done
	for node in "$@"; do
		write_node "$node"
	done
	command_restart "$@"
}

command_wipe() {
	local node
	for node in "$@"; do
		node_pid "$node" >/dev/null && die 1 "node $node runs: stop it before its data is deleted"
		rm -rf -- "$(node_dir "$node")/data"
	done
}

on_each_node() {
	local node
	require_cluster
	read_cluster
	((${#operands[@]})) || [[ $command == stop ]] || die 2 "$command which node? Say \`local.sh $command N\`"
	for node in "${operands[@]}"; do
		[[ $node =~ ^[1-9][0-9]?$ ]] || die 2 "'$node' is no node number (1 to 99)"
		[[ $command == add ]] || require_node "$node"
	done
	case $command in
	kill) for node in "${operands[@]}"; do kill_node "$node"; done ;;
	pause) for node in "${operands[@]}"; do signal_node STOP "$node"; done ;;
	resume) for node in "${operands[@]}"; do signal_node CONT "$node"; done ;;
	*) "command_$command" "${operands[@]}" ;;
	esac
}

# ---- the command line ----

number_option() {
	local name=$1 value=$2 least=$3 most=$4
	if ! [[ $value =~ ^[1-9][0-9]{0,4}$ ]] || ((value < least || value > most)); then
		die 2 "$name takes a number from $least to $most, not '$value'"
	fi
}

parse() {
	while (($#)); do
		case $1 in
		-h | --help)
			usage
			exit 0
			;;
		--nodes | --dir | --base-port | --hosts | --set)
			(($# > 1)) || die 2 "$1 needs a value"
			parse_option "$1" "$2"
			shift
			;;
		--*=*) parse_option "${1%%=*}" "${1#*=}" ;;
		-*) die 2 "unknown option $1: see local.sh --help" ;;
		*) if [[ -z $command ]]; then command=$1; else operands+=("$1"); fi ;;
		esac
		shift
	done
}

parse_option() {
	case $1 in
	--nodes) number_option --nodes "$2" 1 9 && nodes=$2 ;;
	--base-port) number_option --base-port "$2" 1024 65236 && base_port=$2 ;;
	--dir) dir=$2 ;;
	--hosts)
		[[ $2 =~ ^([0-9]{1,3}\.){2}[0-9]{1,3}$ ]] || die 2 "--hosts takes A.B.C, not '$2'"
		hosts=$2
		;;
	--set)
		[[ $2 == ?*=* ]] || die 2 "--set takes NAME=VALUE, not '$2'"
		settings+=("$2")
		;;
	*) die 2 "unknown option $1: see local.sh --help" ;;
	esac
}

main() {
	local command='' nodes='' base_port='' hosts='' dir=${TMPDIR:-/tmp}/annal-local-$UID
	local operands=() settings=() made_nodes=3 made_port=7000 made_hosts='' made_settings=()
	parse "$@"
	dir=$(realpath -m -- "$dir") # the configuration's path tells our processes from others
	case $command in
	start | status | url)
		((${#operands[@]} == 0)) || die 2 "$command takes no '${operands[0]}'"
		;;
	esac
	case $command in
	start | status) "command_$command" ;;
	url) require_cluster && read_cluster && cluster_url ;;
	stop | kill | pause | resume | restart | add | wipe) on_each_node ;;
	'') usage >&2 && exit 2 ;;
	*) die 2 "unknown command $command: see local.sh --help" ;;
	esac
}

main "$@"
