/* Names of stream states. */
#include "storage/outcome.h"

#include "base/assert.h"

const char *stream_state_name(enum stream_state state)
{
	static const char *const names[] = {
		[STREAM_NONE] = "none",
		[STREAM_LIVE] = "live",
		[STREAM_DELETED] = "deleted",
		[STREAM_TOMBSTONED] = "tombstoned",
	};
	ASSERT(state <= STREAM_TOMBSTONED);
	return names[state];
}
