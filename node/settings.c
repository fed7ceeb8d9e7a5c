#include "node/settings.h"

#include "base/assert.h"
#include "base/limits.h"
#include <errno.h>
#include <stdio.h>

#define TEXT(section, name, field, default_value, placeholder, required, help)                     \
	{                                                                                          \
		section, name, SETTING_TEXT, offsetof(struct node_settings, field), default_value, \
			0, 0, placeholder, required, help                                          \
	}
#define NUMBER(section, name, field, default_value, min, max, placeholder, help)                   \
	{                                                                                          \
		section, name, SETTING_U64, offsetof(struct node_settings, field), default_value,  \
			min, max, placeholder, false, help                                         \
	}
#define BYTES(section, name, field, default_value, min, max, help)                                 \
	{                                                                                          \
		section, name, SETTING_BYTES, offsetof(struct node_settings, field),               \
			default_value, min, max, "BYTES", false, help                              \
	}

#define SWITCH(section, name, field, default_value, help)                                          \
	{                                                                                          \
		section, name, SETTING_BOOL, offsetof(struct node_settings, field), default_value, \
			0, 0, NULL, false, help                                                    \
	}

static const struct setting rows[] = {
	NUMBER("node", "node-id", node_id, "1", 1, INT64_MAX, "ID",
	       "The number of this node in its cluster. Never give it to another node, nor to the "
	       "same "
	       "one after it has lost its data."),
	TEXT("node", "cluster-name", cluster_name, "annal", "NAME", true,
	     "The name of the cluster, the same on all of its nodes: nodes of differently named "
	     "clusters refuse to talk to each other."),
	TEXT("node", "data-dir", data_dir, NULL, "DIR", true,
	     "The folder of this node's data, made when it is not there. It belongs to this node "
	     "alone."),
	TEXT("node", "log-level", log_level, "info", "LEVEL", true,
	     "What is logged to standard error: error, warn, info or debug."),
	TEXT("client", "client-listen", client_listen, "127.0.0.1:7001", "HOST:PORT", true,
	     "Where clients connect, and other nodes that forward requests or catch up."),
	TEXT("client", "client-advertise", client_advertise, NULL, "HOST:PORT", false,
	     "The address by which clients and other nodes reach client-listen. Default: the "
	     "same."),
	NUMBER("client", "max-connections", max_connections, "4096", 1, 1000000, "COUNT",
	       "Client connections at a time; further ones are told OVERLOADED and closed."),
	TEXT("peer", "peer-listen", peer_listen, "127.0.0.1:7101", "HOST:PORT", true,
	     "Where the other nodes of the cluster connect."),
	TEXT("peer", "peer-advertise", peer_advertise, NULL, "HOST:PORT", false,
	     "The address by which other nodes reach peer-listen. Default: the same."),
	TEXT("peer", "initial-members", initial_members, NULL, "MEMBERS", false,
	     "The nodes that make a new cluster, the same text on each of them: "
	     "ID=PEERHOST:PORT/CLIENTHOST:PORT,… Empty: a cluster of this node alone. Looked at "
	     "only "
	     "while the data folder is new."),
	NUMBER("peer", "election-timeout-ms", election_timeout_ms, "500", 50, 60000, "MS",
	       "Milliseconds without a word from the leader after which a node stands for "
	       "election; at least three times heartbeat-ms."),
	NUMBER("peer", "heartbeat-ms", heartbeat_ms, "50", 10, 20000, "MS",
	       "Milliseconds between two messages of an idle leader."),
	SWITCH("peer", "pack-log", pack_log, "yes",
	       "Whether this node, when it leads, packs what it writes to the log by LZ4 where "
	       "that "
	       "makes it smaller. All nodes unpack. No: while a node of a version without this "
	       "setting "
	       "is in the cluster."),
	BYTES("limits", "max-message", max_message, "16M", 64 * KIB, GIB,
	      "The largest message that a client may send; at least twice max-append."),
	BYTES("limits", "max-append", max_append, "8M", 4 * KIB, LIMIT_APPEND_BYTES,
	      "The largest append: data and metadata of all of its events."),
	BYTES("limits", "max-event", max_event, "4M", KIB, LIMIT_EVENT_BYTES,
	      "The largest event: its data and metadata together."),
	BYTES("limits", "out-queue-bytes", out_queue_bytes, "8M", 64 * KIB, GIB,
	      "Answers that may wait for one connection to read them; above, the connection is not "
	      "read, and cut off after 5 seconds without progress."),
	NUMBER("limits", "timeout-ms", timeout_ms, "5000", 1, LIMIT_TIMEOUT_MS_MAX, "MS",
	       "Milliseconds within which a request is answered that does not say timeout_ms."),
	BYTES("limits", "tail-bytes", tail_bytes, "64M", MIB, 16 * GIB,
	      "Records in memory that are not yet in the tables; above, appends are refused until "
	      "the "
	      "disk has caught up."),
	BYTES("limits", "log-retained-bytes", log_retained_bytes, "48M", MIB, GIB,
	      "Raft log to keep before it is cut. All of it is read at the start."),
	BYTES("limits", "log-trailing-bytes", log_trailing_bytes, "16M", 256 * KIB, GIB,
	      "Raft log that stays when it is cut, so that a node that was away for a moment finds "
	      "what it lacks; less than log-retained-bytes."),
	BYTES("limits", "segment-bytes", segment_bytes, "64M", MIB, GIB,
	      "The size of one file of the raft log; larger than the largest append."),
	BYTES("limits", "disk-free-bytes", disk_free_bytes, "512M", 0, 0,
	      "Appends are refused while the file system of data-dir has less free space."),
	NUMBER("limits", "read-threads", read_threads, "4", 1, 256, "COUNT",
	       "Threads that read from the tables."),
};

const struct settings_table node_settings_table = {rows, sizeof rows / sizeof rows[0], "ANNAL_"};

static int prepare_address(const char *name, const char *text, struct address *address,
			   struct error *error)
{
	int status = address_parse(text, address, error);

	if (status != 0)
		error_prefix(error, "%s", name);
	return status;
}

/* Nobody can connect to a wildcard, nor to port 0. */
static int prepare_advertised(const char *name, char *text, const struct address *listen,
			      struct error *error)
{
	struct address address;
	char listened[ADDRESS_TEXT_BYTES];
	bool given = text[0] != '\0';

	if (!given) {
		address_format(listen, listened);
		snprintf(text, SETTING_TEXT_BYTES, "%s", listened);
	}
	int status = prepare_address(name, text, &address, error);

	if (status != 0)
		return status;
	if (address.port == 0 || strcmp(address.host, "0.0.0.0") == 0 ||
	    strcmp(address.host, "::") == 0)
		return error_set(error, -EINVAL,
				 "%s: %s is no address to connect to: set %s to one by which other "
				 "machines reach this node",
				 name, text, name);
	return 0;
}

static int check_relations(const struct node_settings *settings, struct error *error)
{
	if (settings->election_timeout_ms < 3 * settings->heartbeat_ms)
		return error_set(error, -EINVAL,
				 "election-timeout-ms is %llu: it must be at least three times "
				 "heartbeat-ms, which is %llu",
				 (unsigned long long)settings->election_timeout_ms,
				 (unsigned long long)settings->heartbeat_ms);
	if (settings->max_event > settings->max_append)
		return error_set(error, -EINVAL, "max-event must not be larger than max-append");
	if (settings->max_message < 2 * settings->max_append)
		return error_set(error, -EINVAL, "max-message must be at least twice max-append");
	if (settings->log_trailing_bytes >= settings->log_retained_bytes)
		return error_set(error, -EINVAL,
				 "log-trailing-bytes must be less than log-retained-bytes");
	if (settings->segment_bytes < settings->max_append + 2 * MIB)
		return error_set(error, -EINVAL,
				 "segment-bytes must be at least 2 MiB more than max-append");
	return 0;
}

int node_settings_prepare(struct node_settings *settings, struct error *error)
{
	int status = settings_check(&node_settings_table, settings, error);

	if (status != 0)
		return status;
	if (!log_level_parse(settings->log_level, &settings->level))
		return error_set(error, -EINVAL,
				 "log-level: \"%.64s\" is none of error, warn, info, debug",
				 settings->log_level);
	status = prepare_address("client-listen", settings->client_listen,
				 &settings->client_address, error);
	if (status != 0)
		return status;
	status = prepare_address("peer-listen", settings->peer_listen, &settings->peer_address,
				 error);
	if (status != 0)
		return status;
	status = prepare_advertised("client-advertise", settings->client_advertise,
				    &settings->client_address, error);
	if (status != 0)
		return status;
	status = prepare_advertised("peer-advertise", settings->peer_advertise,
				    &settings->peer_address, error);
	if (status != 0)
		return status;
	return check_relations(settings, error);
}
