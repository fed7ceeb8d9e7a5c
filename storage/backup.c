#include "storage/backup.h"

#include "base/assert.h"
#include "base/clock.h"
#include "storage/tables.h"

#include <errno.h>
#include <inttypes.h>

#define PIECE_BYTES   (512 * KIB) /* of one page: some milliseconds of reading and packing */
#define PIECE_RECORDS 4096u

static_assert(BACKUP_CLUSTER_ID_BYTES == CLUSTER_ID_BYTES, "one cluster id");

/* ---- backup ---- */

static int header_of(struct store *store, struct backup_header *header, struct error *error)
{
	struct store_identity identity;
	struct store_status status;
	struct manifest manifest;
	int rc = store_get_identity(store, &identity, error);

	if (rc != 0)
		return rc;
	do { /* both of one flush */
		store_get_status(store, &status);
		store_get_manifest(store, &manifest);
	} while (status.durable_position != manifest.position ||
		 status.durable_index != manifest.applied_index);
	if (status.ingesting) /* then the index does not tell how far the records go */
		return error_set(error, -EBUSY, "this node lacks records and is catching up");
	*header = (struct backup_header){.node_id = identity.node_id,
					 .created = clock_realtime_ns(),
					 .position = manifest.position,
					 .last_created = manifest.created,
					 .applied_index = manifest.applied_index,
					 .hash = manifest.hash};
	memcpy(header->cluster_id, identity.cluster_id, CLUSTER_ID_BYTES);
	return 0;
}

/* One piece: at least one item. */
static int copy_piece(struct store *store, struct backup_writer *writer, uint64_t from,
		      struct page *page, struct error *error)
{
	const struct read_range range = {
		.from = from, .limit = PIECE_RECORDS, .bytes_max = PIECE_BYTES};

	buffer_clear(&page->records);
	int rc = store_read_raw(store, &range, page, error);

	if (rc == 0 && page->count == 0)
		rc = error_set(error, -EBADMSG, "the store has no record at position %" PRIu64,
			       from);
	return rc != 0 ? rc : backup_writer_add(writer, buffer_span(&page->records), error);
}

static int copy_all(struct store *store, const struct backup_options *options,
		    struct backup_writer *writer, struct backup_progress *progress,
		    struct error *error)
{
	struct page page = {0};
	int rc = 0;

	buffer_init(&page.records);
	while (rc == 0 && progress->position < progress->wanted) {
		if (!options->go_on(options->arg, progress)) {
			rc = -ECANCELED;
			break;
		}
		rc = copy_piece(store, writer, progress->position + 1, &page, error);
		progress->position = backup_writer_position(writer);
		progress->bytes = backup_writer_bytes(writer);
	}
	buffer_close(&page.records);
	return rc;
}

static int finish(const struct backup_options *options, struct backup_writer *writer,
		  struct backup_progress *progress, struct error *error)
{
	int rc = backup_writer_complete(writer, error);

	progress->bytes = backup_writer_bytes(writer);
	if (rc != 0)
		return rc;
	if (!options->publish(options->arg))
		return -ECANCELED;
	return backup_writer_publish(writer, error);
}

static int write_held(struct store *store, const struct backup_options *options,
		      struct backup_progress *progress, struct error *error)
{
	struct backup_writer *writer;
	struct backup_header header;
	int rc = header_of(store, &header, error);

	if (rc == 0)
		rc = backup_writer_open(&writer, options->path, &header, error);
	if (rc != 0)
		return rc;
	progress->wanted = header.position;
	rc = copy_all(store, options, writer, progress, error);
	if (rc == 0)
		rc = finish(options, writer, progress, error);
	backup_writer_close(writer);
	return rc;
}

int backup_write(struct store *store, const struct backup_options *options,
		 struct backup_progress *progress, struct error *error)
{
	int rc;

	*progress = (struct backup_progress){0};
	/* A hole that came while it is written could reach back over what was written. */
	store_hold_trim(store);
	rc = write_held(store, options, progress, error);
	store_release_trim(store);
	return rc;
}

/* ---- restore ---- */

void backup_manifest(const struct backup_header *header, struct manifest *manifest)
{
	*manifest = (struct manifest){.applied_index = header->applied_index,
				      .position = header->position,
				      .created = header->last_created,
				      .hash = header->hash};
	memcpy(manifest->cluster_id, header->cluster_id, CLUSTER_ID_BYTES);
}

int backup_restore(struct store *store, struct backup_reader *reader,
		   const struct manifest *manifest,
		   void (*progress)(void *arg, const struct backup_progress *progress), void *arg,
		   struct error *error)
{
	struct backup_progress done = {.wanted = manifest->position};
	struct span items;

	ASSERT(store_head(store) == 0);
	int rc = store_ingest_begin(store, error);

	while (rc == 0) {
		rc = backup_reader_next(reader, &items, error);
		if (rc != 0 || items.size == 0)
			break;
		rc = store_ingest(store, items, error);
		done.position = store_head(store);
		done.bytes = backup_reader_bytes(reader);
		if (rc == 0 && progress != NULL)
			progress(arg, &done);
	}
	return rc != 0 ? rc : store_ingest_end(store, manifest, error);
}
