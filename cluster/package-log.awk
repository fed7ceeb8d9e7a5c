# dpkg's log, oldest line first, into events for `annal import`: one JSON object a line.
# With -v source=git: lines of `git log --reverse --format='%aI %H %an%x09%s'` instead.
#
# An event's id is a hash over its line (and how often that line came before), so that the same log gives
# the same ids: importing it again stores nothing twice.

BEGIN {
	for (i = 1; i < 256; i++)
		code[sprintf("%c", i)] = i
	name["install"] = "Installed"
	name["upgrade"] = "Upgraded"
	name["remove"] = "Removed"
	name["purge"] = "Purged"
	name["configure"] = "Configured"
	name["trigproc"] = "TriggersProcessed"
	name["status"] = "StatusChanged"
}

# Four polynomial hashes of 32 bits, each exact in a double.
function id_of(text,   i, c, a, b, d, e) {
	a = 1; b = 2; d = 3; e = 4
	for (i = 1; i <= length(text); i++) {
		c = code[substr(text, i, 1)]
		a = (a * 131 + c) % 4294967291
		b = (b * 257 + c) % 4294967279
		d = (d * 8191 + c) % 4294967231
		e = (e * 65599 + c) % 4294967197
	}
	# Version 8 of UUID: made as its maker likes.
	return sprintf("%08x-%04x-8%03x-8%03x-%04x%08x", a, b / 65536, b % 4096, d / 1048576, d % 65536, e)
}

function quoted(text) {
	gsub(/\\/, "\\\\", text)
	gsub(/"/, "\\\"", text)
	gsub(/[\001-\037\177]/, " ", text)
	return "\"" text "\""
}

function event(stream, type, data, metadata, tags) {
	printf "{\"stream\":%s,\"id\":\"%s\",\"type\":\"%s\",\"data\":{%s},\"metadata\":{%s},\"tags\":[%s]}\n",
		quoted(stream), id_of($0 "#" seen[$0]++), type, data, metadata, tags
}

source == "git" {
	split($0, half, "\t")
	author = half[1]
	sub(/^[^ ]+ [^ ]+ /, "", author)
	event("Author-" author, "Committed",
		"\"commit\":" quoted($2) ",\"subject\":" quoted(half[2]),
		"\"at\":" quoted($1), "\"git\"")
	next
}

$3 in name {
	# "DATE TIME ACTION package:arch old new", but "DATE TIME status STATE package:arch version".
	package = $3 == "status" ? $5 : $4
	split(package, part, ":")
	data = $3 == "status" ? "\"status\":" quoted($4) ",\"version\":" quoted($6) \
		: "\"from\":" quoted($5) ",\"to\":" quoted($6)
	event("Package-" part[1], name[$3], data,
		"\"at\":" quoted($1 "T" $2), part[2] == "" ? "" : quoted("arch:" part[2]))
}
