/* The names of the tables, and whole write transactions. */
#include "storage/kv.h"

#include "base/assert.h"

#include <errno.h>

const char *kv_table_name(enum kv_table table)
{
	static const char *const names[] = {
#define X(name, text) [KV_##name] = text,
		KV_TABLE(X)
#undef X
	};
	ASSERT(table < KV_TABLE_COUNT);
	return names[table];
}

static int write_once(struct kv *kv,
		      int (*write)(struct kv_txn *txn, void *arg, struct error *error), void *arg,
		      struct error *error)
{
	struct kv_txn *txn;
	int rc = kv_begin(kv, KV_WRITE, &txn, error);

	if (rc != 0)
		return rc;
	rc = write(txn, arg, error);
	if (rc == 0)
		return kv_commit(txn, error);
	kv_abort(txn);
	return rc;
}

int kv_write(struct kv *kv, int (*write)(struct kv_txn *txn, void *arg, struct error *error),
	     void *arg, struct error *error)
{
	for (;;) {
		int rc = write_once(kv, write, arg, error);

		if (rc != -ENOBUFS)
			return rc;
		rc = kv_grow(kv, error);
		if (rc != 0)
			return rc;
	}
}
