/*
 * A key-value store in front of another one, of which one operation does not do what it should: it
 * fails, or what it finds is damaged on its way (what is stored stays as it is). So that each place
 * that asks can be shown what it may meet: count up `in` until nothing is struck any more.
 */
#ifndef TESTS_STORAGE_FAILING_KV_H
#define TESTS_STORAGE_FAILING_KV_H

#include "tests/unit/unit.h"

#include "base/memory.h"
#include "storage/kv.h"

#include <errno.h>

enum failing_how {
	FAILING_ANY,    /* any operation fails */
	FAILING_WRITES, /* put, delete or commit does */
	FAILING_FLIP,   /* one bit of a value that is found is another */
	FAILING_CUT,    /* its last byte is missing */
	FAILING_EMPTY,  /* all of it is */
	FAILING_KEY,    /* one bit in the last byte of a key that a cursor finds */
};

struct failing_plan {
	enum failing_how how;
	int error;   /* what fails gives it */
	uint64_t in; /* the in-th from now on; 0: none */
	bool struck;
	uint8_t *damaged; /* valid until the next one is, or the plan is closed */
};

struct failing_kv {
	struct kv base;
	struct kv *below;
	struct failing_plan *plan;
};

struct failing_txn {
	struct kv_txn base;
	struct kv_txn *below;
};

struct failing_cursor {
	struct kv_cursor base;
	struct kv_cursor *below;
};

static inline void failing_plan_set(struct failing_plan *plan, enum failing_how how, int error,
				    uint64_t in)
{
	memory_free(plan->damaged);
	*plan = (struct failing_plan){.how = how, .error = error, .in = in};
}

static inline void failing_plan_close(struct failing_plan *plan)
{
	failing_plan_set(plan, FAILING_ANY, 0, 0);
}

static inline bool failing_is_due(struct failing_plan *plan)
{
	if (plan->in == 0 || --plan->in > 0)
		return false;
	plan->struck = true;
	return true;
}

static inline int failing_now(struct kv *kv, bool is_write, const char *what, struct error *error)
{
	struct failing_plan *plan = ((struct failing_kv *)kv)->plan;
	bool meant = plan->how == FAILING_ANY || (plan->how == FAILING_WRITES && is_write);

	return meant && failing_is_due(plan) ? error_set(error, plan->error, "failing: %s", what)
					     : 0;
}

static inline void failing_damage(struct kv *kv, struct span *key, struct span *value)
{
	struct failing_plan *plan = ((struct failing_kv *)kv)->plan;
	struct span *found = plan->how == FAILING_KEY ? key : value;

	if (plan->how < FAILING_FLIP || found == NULL || found->size == 0 || !failing_is_due(plan))
		return;
	plan->damaged = memory_copy(found->data, found->size);
	*found = span_of(plan->damaged, found->size);
	switch (plan->how) {
	case FAILING_FLIP:
		plan->damaged[unit_random(&(uint64_t){found->size}) % found->size] ^= 4;
		break;
	case FAILING_KEY:
		plan->damaged[found->size - 1] ^= 1;
		break;
	case FAILING_CUT:
		found->size--;
		break;
	default:
		found->size = 0;
	}
}

/* ---- operations ---- */

static inline struct kv_txn *failing_below(struct kv_txn *txn)
{
	return ((struct failing_txn *)txn)->below;
}

static inline void failing_close(struct kv *base)
{
	kv_close(((struct failing_kv *)base)->below);
	memory_free(base);
}

static inline int failing_grow(struct kv *base, struct error *error)
{
	int rc = failing_now(base, false, "grow", error);

	return rc != 0 ? rc : kv_grow(((struct failing_kv *)base)->below, error);
}

static inline int failing_begin(struct kv *base, enum kv_begin how, struct kv_txn **txn,
				struct error *error)
{
	struct kv_txn *below;
	int rc = failing_now(base, false, "begin", error);

	if (rc == 0)
		rc = kv_begin(((struct failing_kv *)base)->below, how, &below, error);
	if (rc != 0)
		return rc;
	struct failing_txn *made = memory_zeroed(1, sizeof *made);

	made->base = (struct kv_txn){.kv = base, .write = how == KV_WRITE};
	made->below = below;
	*txn = &made->base;
	return 0;
}

static inline void failing_abort(struct kv_txn *txn)
{
	kv_abort(failing_below(txn));
	memory_free(txn);
}

static inline int failing_commit(struct kv_txn *txn, struct error *error)
{
	int rc = failing_now(txn->kv, true, "commit", error);

	if (rc != 0) {
		failing_abort(txn);
		return rc;
	}
	rc = kv_commit(failing_below(txn), error);
	memory_free(txn);
	return rc;
}

static inline int failing_get(struct kv_txn *txn, enum kv_table table, struct span key,
			      struct span *value, struct error *error)
{
	int rc = failing_now(txn->kv, false, "get", error);

	if (rc == 0)
		rc = kv_get(failing_below(txn), table, key, value, error);
	if (rc == 0)
		failing_damage(txn->kv, NULL, value);
	return rc;
}

static inline int failing_around(struct kv_txn *txn, enum kv_table table, struct span key,
				 struct kv_around *around, struct error *error)
{
	int rc = failing_now(txn->kv, false, "look around", error);

	if (rc == 0)
		rc = kv_find_around(failing_below(txn), table, key, around, error);
	if (rc == 0)
		failing_damage(txn->kv, &around->after.key, &around->after.value);
	return rc;
}

static inline int failing_put(struct kv_txn *txn, enum kv_table table, struct span key,
			      struct span value, bool append, struct error *error)
{
	int rc = failing_now(txn->kv, true, "put", error);

	return rc != 0 ? rc : kv_put(failing_below(txn), table, key, value, append, error);
}

static inline int failing_delete(struct kv_txn *txn, enum kv_table table, struct span key,
				 struct error *error)
{
	int rc = failing_now(txn->kv, true, "delete", error);

	return rc != 0 ? rc : kv_delete(failing_below(txn), table, key, error);
}

static inline int failing_cursor_open(struct kv_txn *txn, enum kv_table table,
				      struct kv_cursor **cursor, struct error *error)
{
	struct kv_cursor *below;
	int rc = failing_now(txn->kv, false, "open a cursor", error);

	if (rc == 0)
		rc = kv_cursor_open(failing_below(txn), table, &below, error);
	if (rc != 0)
		return rc;
	struct failing_cursor *made = memory_zeroed(1, sizeof *made);

	made->base.txn = txn;
	made->below = below;
	*cursor = &made->base;
	return 0;
}

static inline int failing_cursor_seek(struct kv_cursor *cursor, enum kv_seek how, struct span key,
				      struct kv_pair *pair, struct error *error)
{
	int rc = failing_now(cursor->txn->kv, false, "seek", error);

	if (rc == 0)
		rc = kv_cursor_seek(((struct failing_cursor *)cursor)->below, how, key, pair,
				    error);
	if (rc == 0)
		failing_damage(cursor->txn->kv, &pair->key, &pair->value);
	return rc;
}

static inline void failing_cursor_close(struct kv_cursor *cursor)
{
	kv_cursor_close(((struct failing_cursor *)cursor)->below);
	memory_free(cursor);
}

/* Takes `below` over. The plan outlives it. */
static inline struct kv *failing_kv_new(struct kv *below, struct failing_plan *plan)
{
	static const struct kv_operations operations = {
		.close = failing_close,
		.grow = failing_grow,
		.begin = failing_begin,
		.commit = failing_commit,
		.abort = failing_abort,
		.get = failing_get,
		.around = failing_around,
		.put = failing_put,
		.delete = failing_delete,
		.cursor_open = failing_cursor_open,
		.cursor_seek = failing_cursor_seek,
		.cursor_close = failing_cursor_close,
	};
	struct failing_kv *kv = memory_zeroed(1, sizeof *kv);

	kv->base = (struct kv){.operations = &operations, .name = below->name};
	kv->below = below;
	kv->plan = plan;
	return &kv->base;
}

#endif
