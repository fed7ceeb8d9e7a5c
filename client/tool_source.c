#include "client/tool_source.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES      (256 * KIB)
#define LINE_BYTES_MAX   (4 * LIMIT_EVENT_BYTES) /* JSON may be longer than what it says */
#define ZSTD_MAGIC       0xfd2fb528u
#define ZSTD_MAGIC_BYTES 4u

static bool is_interrupted(const struct tool_source *source)
{
	return source->interrupted != NULL && *source->interrupted;
}

/* More bytes of the file. 1, 0 at its end, negative. */
static int read_more(struct tool_source *source, struct buffer *into, struct error *error)
{
	ssize_t got;

	do
		got = read(source->fd, buffer_reserve(into, CHUNK_BYTES), CHUNK_BYTES);
	while (got < 0 && errno == EINTR && !is_interrupted(source));
	if (is_interrupted(source))
		got = 0;
	if (got < 0)
		return error_set_errno(error, errno, "cannot read %s", source->name);
	into->size += (size_t)got;
	source->bytes_read += (uint64_t)got;
	source->end = got == 0;
	return got > 0;
}

int tool_source_open(struct tool_source *source, const char *path, struct error *error)
{
	struct stat stat;
	int status = 1;

	*source = (struct tool_source){.name = path, .fd = STDIN_FILENO};
	buffer_init(&source->raw);
	buffer_init(&source->text);
	buffer_reserve(&source->text, 1); /* there is a place in it from the first line on */
	if (strcmp(path, "-") == 0)
		source->name = "stdin";
	else
		source->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (source->fd < 0)
		return error_set_errno(error, errno, "cannot open %s", path);
	if (fstat(source->fd, &stat) == 0 && S_ISREG(stat.st_mode))
		source->bytes_all = (uint64_t)stat.st_size;
	while (status == 1 && source->raw.size < ZSTD_MAGIC_BYTES)
		status = read_more(source, &source->raw, error);
	if (status < 0)
		return status;
	if (source->raw.size >= ZSTD_MAGIC_BYTES && bytes_le32(source->raw.data) == ZSTD_MAGIC) {
		source->zstd = ZSTD_createDStream();
		if (source->zstd == NULL)
			return error_set(error, -ENOMEM, "no memory to decompress %s", path);
	}
	return 0;
}

void tool_source_close(struct tool_source *source)
{
	if (source->fd > STDERR_FILENO)
		close(source->fd);
	ZSTD_freeDStream(source->zstd);
	buffer_close(&source->raw);
	buffer_close(&source->text);
}

/* Decompress some of what was read. */
static int inflate_some(struct tool_source *source, struct error *error)
{
	size_t room = ZSTD_DStreamOutSize();
	ZSTD_inBuffer in = {source->raw.data, source->raw.size, 0};
	ZSTD_outBuffer out = {buffer_reserve(&source->text, room), room, 0};
	size_t hint = ZSTD_decompressStream(source->zstd, &out, &in);

	if (ZSTD_isError(hint))
		return error_set(error, -EIO, "%s is damaged: zstd says: %s", source->name,
				 ZSTD_getErrorName(hint));
	source->frame_open = hint != 0;
	source->text.size += out.pos;
	buffer_consume(&source->raw, in.pos);
	return 1;
}

/* More text behind what there is. 1, 0 when nothing is left, negative. */
static int more_text(struct tool_source *source, struct error *error)
{
	buffer_consume(&source->text, source->taken);
	source->taken = 0;
	if (source->raw.size == 0 && !source->end) {
		int status = read_more(source, &source->raw, error);

		if (status < 0)
			return status;
	}
	if (source->raw.size == 0 && source->zstd != NULL && source->frame_open)
		return error_set(error, -EIO, "%s is cut short: the compressed data has no end",
				 source->name);
	if (source->raw.size == 0)
		return 0;
	if (source->zstd != NULL)
		return inflate_some(source, error);
	buffer_append_span(&source->text, buffer_span(&source->raw));
	buffer_clear(&source->raw);
	return 1;
}

static void hand_out(struct tool_source *source, size_t size, size_t with_end, struct span *line)
{
	const uint8_t *begin = source->text.data + source->taken;

	*line = span_of(begin, size > 0 && begin[size - 1] == '\r' ? size - 1 : size);
	source->taken += with_end;
	source->searched = 0;
	source->line++;
}

int tool_source_next(struct tool_source *source, struct span *line, struct error *error)
{
	for (;;) {
		const uint8_t *begin = source->text.data + source->taken;
		size_t size = source->text.size - source->taken;
		const uint8_t *newline =
			size > source->searched
				? memchr(begin + source->searched, '\n', size - source->searched)
				: NULL;

		if (newline != NULL) {
			size_t length = (size_t)(newline - begin);

			hand_out(source, length, length + 1, line);
			return 1;
		}
		source->searched = size;
		if (size > LINE_BYTES_MAX)
			return error_set(error, -E2BIG,
					 "%s:%llu: the line is longer than %llu bytes",
					 source->name, (unsigned long long)source->line + 1,
					 (unsigned long long)LINE_BYTES_MAX);
		int status = more_text(source, error);

		if (status < 0)
			return status;
		if (status == 0 && size == 0)
			return 0;
		if (status == 0) {
			begin = source->text.data + source->taken;
			hand_out(source, source->text.size - source->taken,
				 source->text.size - source->taken, line);
			return 1;
		}
	}
}
