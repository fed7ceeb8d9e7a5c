/* The names of the tables. */
#include "storage/kv.h"

#include "base/assert.h"

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
