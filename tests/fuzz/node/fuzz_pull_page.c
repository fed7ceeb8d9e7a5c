/*
 * A page that a peer answered while this node catches up: refused, or cut so that what is taken follows
 * the head. What is cut goes into a store: refused there with a message, or taken so that the store is
 * whole, and ends where the page said.
 *
 * Input: where the page was asked for, and up to where, as small numbers; the result of the call.
 */
#include "base/assert.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "base/msgpack.h"
#include "node/pull_page.h"
#include "storage/hole.h"
#include "storage/kv.h"
#include "storage/record.h"
#include "storage/store.h"
#include "storage/verify.h"

#include <errno.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The manifest among the bytes gets its checksum, so that the fuzzer gets behind it. */
static void mend_manifest(uint8_t *bytes, size_t size)
{
	static const char magic[] = "ANNALMF1";

	for (size_t at = 0; at + MANIFEST_BYTES <= size; at++)
		if (memcmp(bytes + at, magic, sizeof magic - 1) == 0) {
			uint64_t checksum = checksum64(bytes + at, MANIFEST_BYTES - 8);

			for (int i = 0; i < 8; i++)
				bytes[at + MANIFEST_BYTES - 8 + (size_t)i] =
					(uint8_t)(checksum >> 8 * i);
			return;
		}
}

/* Positions of what was cut: one behind the other, from at most the one behind the head. */
static uint64_t check_cut(struct span items, uint64_t head, uint64_t to, bool has_hole)
{
	uint64_t next = 0, holes = 0;

	while (items.size > 0) {
		struct hole item;
		struct record record;
		size_t bytes = HOLE_BYTES;

		if (hole_is_next(items)) {
			ASSERT(hole_parse(items, &item) == 0);
			holes++;
		} else {
			ASSERT(record_parse(items, &record) == 0);
			item.first = item.last = record.position;
			bytes = record.bytes.size;
		}
		ASSERT(next == 0 ? item.first <= head + 1 && item.last > head : item.first == next);
		ASSERT(item.first <= to);
		next = item.last + 1;
		items = span_of(items.data + bytes, items.size - bytes);
		ASSERT(next > 0 || items.size == 0);
	}
	ASSERT(has_hole == (holes > 0));
	return next == 0 && holes == 0 ? head : next - 1;
}

static void check_whole(struct kv_memory_disk *disk)
{
	static const struct verify_options options;
	static struct verify_report report;
	struct kv *kv = kv_memory_open(disk);
	struct error error;
	int status = verify_store(kv, &options, &report, &error);

	if (report.problem_count > 0)
		fprintf(stderr, "%s\n", report.problems[0]);
	ASSERT(status == 0 && report.problem_count == 0);
	kv_close(kv);
}

/* The manifest is that of the page, or one that fits what came. */
static void end_ingest(struct store *store, const struct pull_page *page)
{
	struct store_status status;
	struct error error = {{0}};

	if (page->has_manifest && store_ingest_end(store, &page->manifest, &error) == 0)
		return;
	ASSERT(!page->has_manifest || error.message[0] != '\0');
	store_get_status(store, &status);
	struct manifest fitting = {.applied_index = 5,
				   .position = status.head,
				   .created = status.created,
				   .hash = status.hash};
	int rc = store_ingest_end(store, &fitting, &error);

	ASSERT(rc == 0 || (rc == -EINVAL && status.head < status.horizon));
}

static void ingest(const struct pull_page *page, struct span items, uint64_t last)
{
	struct kv_memory_disk *disk = kv_memory_disk_new();
	struct store_options options = {.kv = kv_memory_open(disk), .tail_bytes_max = 1 * MIB};
	struct store *store;
	struct error error = {{0}};
	int rc = store_open(&store, &options, &error);

	ASSERT(rc == 0);
	rc = store_ingest_begin(store, &error);
	ASSERT(rc == 0);
	store_ingest_horizon(store, page->horizon);
	rc = store_ingest(store, items, &error);
	ASSERT(rc == 0 || (rc == -EBADMSG && error.message[0] != '\0'));
	ASSERT(rc != 0 || items.size == 0 || store_head(store) == last);
	rc = store_flush(store, &error);
	ASSERT(rc == 0);
	check_whole(disk);
	end_ingest(store, page);
	check_whole(disk);
	store_close(store);
	kv_memory_disk_free(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msgpack_scanner scanner;
	struct pull_page page;
	struct error error = {{0}};
	struct span items;
	bool has_hole;

	if (size < 4)
		return 0;
	uint64_t from = 1 + data[0] % 4u, head = from - 1 + data[1] % 4u;
	uint64_t to = (data[2] & 1) != 0 ? UINT64_MAX : from + data[2] / 2u;
	uint8_t *copy = memory_copy(data + 3, size - 3);

	mend_manifest(copy, size - 3);
	/* What arrives has passed the scanner. */
	msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH);
	if (msgpack_scan(&scanner, copy, size - 3) == MSGPACK_SCAN_VALUE &&
	    pull_page_parse(span_of(copy, scanner.offset), &page) == 0) {
		int rc = pull_page_cut(&page, from, to, head, &items, &has_hole, &error);

		ASSERT(rc == 0 || (rc == -EBADMSG && error.message[0] != '\0'));
		if (rc == 0) {
			uint64_t last = check_cut(items, head, to, has_hole);

			if (head == 0)
				ingest(&page, items, last);
		}
	}
	memory_free(copy);
	return 0;
}
