#include "base/log.h"

#include "base/assert.h"
#include "base/clock.h"
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES     2048 /* below PIPE_BUF: one write to a pipe is never torn */
#define RECENT_LINES   64
#define WINDOW_MS      1000
#define LINES_A_WINDOW 10

/* A line under construction; what does not fit is cut, room for the newline is kept. */
struct line {
	char text[LINE_BYTES];
	size_t size;
};

struct recent_line {
	size_t size;
	char text[LINE_BYTES];
};

/* What the process says to its stderr: the one thing that nodes in one process share. */
static struct {
	atomic_int level;
	atomic_uint_fast64_t node_id;
	pthread_mutex_t lock; /* of the places and the recent lines */
	pthread_once_t once;
	bool to_journal;
	atomic_uint_fast64_t recent_count; /* lines ever kept */
	struct recent_line recent[RECENT_LINES];
} logger = {
	.level = LOG_LEVEL_INFO,
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.once = PTHREAD_ONCE_INIT,
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
	ASSERT(level <= LOG_LEVEL_DEBUG);
	atomic_store(&logger.level, (int)level);
}

bool log_level_parse(const char *text, enum log_level *level)
{
	for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

void log_set_node(uint64_t node_id)
{
	atomic_store(&logger.node_id, node_id);
}

uint64_t log_node(void)
{
	return atomic_load(&logger.node_id);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

/* systemd names the stream that it gave us in JOURNAL_STREAM, as device:inode. */
static void find_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	if (stream == NULL || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
		return;
	if (fstat(STDERR_FILENO, &status) != 0)
		return;
	logger.to_journal = status.st_dev == device && status.st_ino == inode;
}

__attribute__((format(printf, 2, 0))) static void line_add_list(struct line *line,
								const char *format, va_list args)
{
	size_t room = sizeof line->text - line->size - 1;
	int wanted = vsnprintf(line->text + line->size, room, format, args);

	ASSERT(wanted >= 0);
	line->size += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

__attribute__((format(printf, 2, 3))) static void line_add(struct line *line, const char *format,
							   ...)
{
	va_list args;

	va_start(args, format);
	line_add_list(line, format, args);
	va_end(args);
}

static void line_begin(struct line *line, enum log_level level, const char *module,
		       const char *message)
{
	static const int priorities[] = {3, 4, 6, 7}; /* of syslog, as journald wants them */
	int64_t now_ns = clock_realtime_ns();
	time_t seconds = (time_t)(now_ns / 1000000000);
	int milliseconds = (int)(now_ns / 1000000 % 1000);
	uint64_t node_id = log_node();
	struct tm utc;

	line->size = 0;
	gmtime_r(&seconds, &utc);
	if (logger.to_journal)
		line_add(line, "<%d>", priorities[level]);
	line_add(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ %s %s", utc.tm_year + 1900,
		 utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, milliseconds,
		 level_names[level], module);
	if (node_id != 0)
		line_add(line, " node=%llu", (unsigned long long)node_id);
	line_add(line, " msg=\"");
	for (const char *at = message; *at != '\0'; at++)
		line_add(line, *at == '"' || *at == '\\' ? "\\%c" : "%c", *at);
	line_add(line, "\"");
}

/* Keep it among the recent lines, and write it in one go. */
static void line_end(struct line *line)
{
	while (line->size > 0 && line->text[line->size - 1] == ' ')
		line->size--;
	for (size_t i = 0; i < line->size; i++) /* a value must not forge a line */
		if ((unsigned char)line->text[i] < 0x20 || line->text[i] == 0x7f)
			line->text[i] = '?';
	line->text[line->size++] = '\n';
	ASSERT(line->size <= sizeof line->text);

	pthread_mutex_lock(&logger.lock);
	uint64_t number = atomic_load(&logger.recent_count);
	struct recent_line *recent = &logger.recent[number % RECENT_LINES];

	memcpy(recent->text, line->text, line->size);
	recent->size = line->size;
	atomic_store(&logger.recent_count, number + 1);
	pthread_mutex_unlock(&logger.lock);

	ssize_t written = write(STDERR_FILENO, line->text, line->size);

	(void)written; /* there is nowhere left to complain */
}

/* Whether this line may go out; *suppressed is how many of the last window did not. */
static bool place_admits(struct log_place *place, uint32_t *suppressed)
{
	int64_t now_ms = clock_monotonic_ms();

	*suppressed = 0;
	pthread_mutex_lock(&logger.lock);
	if (place->in_window == 0 || now_ms - place->window_start_ms >= WINDOW_MS ||
	    now_ms < place->window_start_ms) {
		*suppressed = place->suppressed;
		*place = (struct log_place){.window_start_ms = now_ms};
	}
	bool admitted = place->in_window < LINES_A_WINDOW;

	if (admitted)
		place->in_window++;
	else
		place->suppressed++;
	pthread_mutex_unlock(&logger.lock);
	return admitted;
}

void log_write(struct log_place *place, enum log_level level, const char *module,
	       const char *message, const char *format, ...)
{
	struct line line;
	uint32_t suppressed;
	va_list args;

	ASSERT(level <= LOG_LEVEL_DEBUG);
	pthread_once(&logger.once, find_journal);
	if (!place_admits(place, &suppressed))
		return;
	if (suppressed > 0) {
		line_begin(&line, level, module, message);
		line_add(&line, " suppressed=%u", suppressed);
		line_end(&line);
	}
	line_begin(&line, level, module, message);
	if (format[0] != ' ')
		line_add(&line, " ");
	va_start(args, format);
	line_add_list(&line, format, args);
	va_end(args);
	line_end(&line);
}

void log_dump_recent(int fd)
{
	/* No lock: a signal may have come while it was held. A line being written may be torn. */
	uint64_t count = atomic_load(&logger.recent_count);
	uint64_t first = count > RECENT_LINES ? count - RECENT_LINES : 0;

	for (uint64_t number = first; number < count; number++) {
		const struct recent_line *recent = &logger.recent[number % RECENT_LINES];
		size_t size = recent->size <= LINE_BYTES ? recent->size : LINE_BYTES;
		ssize_t written = write(fd, recent->text, size);

		(void)written;
	}
}
