/* Lines of a file, plain or zstd (told apart by the magic number), or of stdin. */
#ifndef CLIENT_TOOL_SOURCE_H
#define CLIENT_TOOL_SOURCE_H

#include "base/buffer.h"
#include "base/error.h"

#include <signal.h>
#include <zstd.h>

struct tool_source {
	const char *name; /* for messages */
	int fd;
	const volatile sig_atomic_t *interrupted; /* set: the file ends here; NULL: never */
	bool end;                                 /* of the file */
	uint64_t line;                            /* number of the line handed out last */
	uint64_t bytes_read;                      /* of the file */
	uint64_t bytes_all;                       /* 0: not known */
	ZSTD_DStream *zstd;                       /* NULL: plain */
	bool frame_open;                          /* the compressed data may not end here */
	struct buffer raw;                        /* compressed bytes not yet looked at */
	struct buffer text;
	size_t taken;    /* of text */
	size_t searched; /* of text: no newline before */
};

/* "-" is stdin. 0, or negative with a message. */
int tool_source_open(struct tool_source *source, const char *path, struct error *error);
void tool_source_close(struct tool_source *source);
/* 1 and the next line without its end, valid until the next call; 0 at the end; negative with a
 * message that names the file, and the line. */
int tool_source_next(struct tool_source *source, struct span *line, struct error *error);

#endif
