/*
 * The settings of annald: one table (settings.c) feeds the configuration file, the environment, the
 * flags, --help and the page in docs/. Constant after the start: any thread may read them.
 */
#ifndef NODE_SETTINGS_H
#define NODE_SETTINGS_H

#include "base/address.h"
#include "base/log.h"
#include "base/settings.h"

struct node_settings {
	uint64_t node_id;
	char cluster_name[SETTING_TEXT_BYTES];
	char data_dir[SETTING_TEXT_BYTES];
	char log_level[SETTING_TEXT_BYTES];
	char client_listen[SETTING_TEXT_BYTES];
	char client_advertise[SETTING_TEXT_BYTES]; /* never empty once prepared */
	uint64_t max_connections;
	char peer_listen[SETTING_TEXT_BYTES];
	char peer_advertise[SETTING_TEXT_BYTES]; /* never empty once prepared */
	char initial_members[SETTING_TEXT_BYTES];
	uint64_t election_timeout_ms, heartbeat_ms;
	bool pack_log;
	uint64_t max_message, max_append, max_event; /* bytes */
	uint64_t out_queue_bytes;                    /* of one connection */
	uint64_t timeout_ms;                         /* of a request that says none */
	uint64_t tail_bytes, log_retained_bytes, log_trailing_bytes, segment_bytes;
	uint64_t disk_free_bytes;
	uint64_t read_threads;
	/* Made from the texts above by node_settings_prepare. */
	struct address client_address, peer_address; /* to listen on */
	enum log_level level;
};

extern const struct settings_table node_settings_table;

/* Check what the table cannot: addresses, relations between settings. Fill in what follows from
 * others. -EINVAL, naming the setting. */
int node_settings_prepare(struct node_settings *settings, struct error *error);

#endif
