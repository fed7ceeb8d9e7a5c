/*
 * Any bytes as a command: refused, or applied so that the store is whole, twice: the second time every
 * append is a duplicate of the first, a conflict, or refused again.
 */
#include "base/assert.h"
#include "base/memory.h"
#include "storage/kv.h"
#include "storage/store.h"
#include "storage/verify.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The head when each item is decided is at or behind what the outcome tells. */
static void check_outcome(void *arg, uint32_t item, const struct outcome *outcome)
{
	struct store *store = arg;

	(void)item;
	ASSERT((outcome->code == ANSWER_OK) == (outcome->message[0] == 0));
	ASSERT(outcome->first_position <= outcome->position);
	ASSERT(outcome->position <= store_head(store));
	ASSERT(outcome->condition_position <= store_head(store));
}

static int apply(struct store *store, uint64_t index, const uint8_t *data, size_t size,
		 uint64_t *records)
{
	struct apply_sink sink = {.decided = check_outcome, .arg = store};
	struct apply_result result = {0};
	struct error error;
	int rc = store_apply(store, index, memory_copy(data, size), size, &sink, &result, &error);

	if (rc == 0 && result.first_position > 0)
		*records = result.last_position - result.first_position + 1;
	return rc;
}

static void check_whole(struct kv_memory_disk *disk, uint64_t records)
{
	static const struct verify_options options;
	static struct verify_report report;
	struct kv *kv = kv_memory_open(disk);
	struct error error;

	int rc = verify_store(kv, &options, &report, &error);
	ASSERT(rc == 0 && report.problem_count == 0 && report.records == records);
	kv_close(kv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kv_memory_disk *disk = kv_memory_disk_new();
	struct store_options options = {.kv = kv_memory_open(disk), .tail_bytes_max = 1 * MIB};
	struct store *store;
	struct error error;
	uint64_t records = 0, again = 0;
	int rc = store_open(&store, &options, &error);

	ASSERT(rc == 0);
	rc = apply(store, 1, data, size, &records);
	ASSERT(rc == 0 || rc == -EBADMSG);
	if (rc == 0) {
		rc = store_flush(store, &error);
		ASSERT(rc == 0 && store_head(store) == records);
		rc = apply(store, 2, data, size, &again);
		/* What was refused for its expectations may be possible by now. */
		ASSERT(rc == 0 && store_head(store) == records + again);
		rc = store_flush(store, &error);
		ASSERT(rc == 0);
		check_whole(disk, records + again);
	}
	store_close(store);
	kv_memory_disk_free(disk);
	return 0;
}
