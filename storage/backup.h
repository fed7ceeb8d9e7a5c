/*
 * Between a store and a backup file (base/backup_file.h).
 *
 *   backup    store_flush ─► manifest ─► pages of store_read_raw up to its position ─► writer
 *   restore   reader ─► store_ingest ─► store_ingest_end with the file's manifest
 *
 * A backup runs beside everything else, in pieces; nothing that is applied after it began is in it, and
 * no record is dropped from the store meanwhile. A restore has the store for itself.
 *
 * Errors: negative errno with a message; -ECANCELED without one: the caller said so.
 */
#ifndef STORAGE_BACKUP_H
#define STORAGE_BACKUP_H

#include "base/backup_file.h"
#include "storage/store.h"

struct backup_progress {
	uint64_t position, wanted; /* records up to it are in the file, and will be */
	uint64_t bytes;            /* of the file */
};

struct backup_options {
	const char *path; /* see backup_writer_open */
	/* Before each piece; false: give up. */
	bool (*go_on)(void *arg, const struct backup_progress *progress);
	/* All is written; false: give up. Once it was true, the file appears under its name. */
	bool (*publish)(void *arg);
	void *arg;
};

/*
 * Write what the last flush made durable (flush before it). *progress is kept up to date, also when it
 * fails. -EBUSY: records are being ingested; -EEXIST and others: backup_writer_open.
 */
int backup_write(struct store *store, const struct backup_options *options,
		 struct backup_progress *progress, struct error *error);

/* What a backup says that it holds. */
void backup_manifest(const struct backup_header *header, struct manifest *manifest);

/*
 * Take everything that the reader has into an empty store with this identity, and make it durable; its
 * applied index is that of the manifest, which is the file's but for cluster id and index.
 */
int backup_restore(struct store *store, struct backup_reader *reader,
		   const struct manifest *manifest,
		   void (*progress)(void *arg, const struct backup_progress *progress), void *arg,
		   struct error *error);

#endif
