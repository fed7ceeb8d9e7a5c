#include "raft/libraft_error.h"

#include "base/assert.h"

#include <errno.h>
#include <raft.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *libraft_reason(int status, const char *message)
{
	const char *colon = strrchr(message, ':');
	long number = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;

	ASSERT(status != 0);
	return number < 0 && number > -4096 ? strerror((int)-number) : raft_strerror(status);
}

/* Of a file that ends too early (src/uv_segment.c, src/uv_fs.c), or cannot be unpacked (src/compress.c). */
static bool is_of_content(const char *message)
{
	return strstr(message, "short read") != NULL || strstr(message, "file has only") != NULL ||
	       strstr(message, "LZ4F_getFrameInfo ") != NULL ||
	       strstr(message, "LZ4F_decompress ") != NULL;
}

/* Of what is stored: the last three are of a configuration that no node has written. */
static bool is_damage(int status)
{
	return status == RAFT_CORRUPT || status == RAFT_MALFORMED || status == RAFT_BADROLE ||
	       status == RAFT_DUPLICATEID || status == RAFT_DUPLICATEADDRESS;
}

/* Nothing at all, or only where it happened. */
static bool lacks_reason(const char *message)
{
	size_t size = strlen(message);

	return size == 0 || (size >= 2 && strcmp(message + size - 2, ": ") == 0);
}

int libraft_error(struct error *error, int status, const char *message)
{
	ASSERT(status != 0);
	if (is_damage(status) || (status == RAFT_IOERR && is_of_content(message)))
		return error_set(error, -EBADMSG, "%s%s", message,
				 lacks_reason(message) ? raft_strerror(status) : "");
	/* Some of its errors come without a sentence, and their cause is lost. */
	return error_set(error, -EIO, "%s%s%s", message, message[0] != '\0' ? ": " : "",
			 libraft_reason(status, message));
}
