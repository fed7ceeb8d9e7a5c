/*
 * Operating errors: disk full, peer gone, file unreadable. A function that can meet one returns 0
 * or a negative errno-like code and has written a sentence for people into `struct error`, which
 * each caller on the way up may prefix. Answers of the protocol (wrong expected version, not
 * leader) are not errors in this sense: see answer.h. Broken invariants are not either: see
 * assert.h.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#define ERROR_MESSAGE_BYTES 512

struct error {
	char message[ERROR_MESSAGE_BYTES]; /* zero-terminated, cut if too long */
};

/* Write the message; return `code` (negative), so that a caller can `return error_set(...)`. */
int error_set(struct error *error, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same, with ": " and the text of `errno_value` behind the message; returns -errno_value. */
int error_set_errno(struct error *error, int errno_value, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "<prefix>: " before the message that is there. */
void error_prefix(struct error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
