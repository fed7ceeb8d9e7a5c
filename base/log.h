/*
 * One key=value line per event to stderr: `time level module msg="…" key=value …`, with a journald
 * prefix when stderr is the journal. Any thread; lines never interleave. The last 64 lines are kept
 * for assert.h. Each place is rate-limited (10 lines a second, then one that counts the rest).
 *
 * error: someone must act; warn: degraded; info: once per change of state; debug: off by default.
 * Never called from storage/machine.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log_place {
	int64_t window_start_ms;
	uint32_t in_window;
	uint32_t suppressed;
};

void log_set_level(enum log_level level);
bool log_level_parse(const char *text, enum log_level *level);
void log_set_node(uint64_t node_id); /* shown in every line once set */
uint64_t log_node(void);             /* 0 until set */
bool log_enabled(enum log_level level);
void log_write(struct log_place *place, enum log_level level, const char *module,
	       const char *message, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Print the last lines, oldest first, to a file descriptor; async-signal-safe. */
void log_dump_recent(int fd);

/* format, a literal: further `key=value` pairs, e.g. "term=%llu peer=%s"; "" for none. */
#define LOG(level, module, message, ...)                                                           \
	do {                                                                                       \
		static struct log_place log_place_;                                                \
		if (log_enabled(level))                                                            \
			log_write(&log_place_, level, module, message, " " __VA_ARGS__);           \
	} while (0)
#define log_error(module, message, ...) LOG(LOG_LEVEL_ERROR, module, message, __VA_ARGS__)
#define log_warn(module, message, ...)  LOG(LOG_LEVEL_WARN, module, message, __VA_ARGS__)
#define log_info(module, message, ...)  LOG(LOG_LEVEL_INFO, module, message, __VA_ARGS__)
#define log_debug(module, message, ...) LOG(LOG_LEVEL_DEBUG, module, message, __VA_ARGS__)

#endif
