/*
 * Broken invariants. ASSERT is on in every build: it prints the node id, the expression, the last
 * log lines and a backtrace to stderr, and aborts. It is never used for bad input or a failing
 * disk.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#define ASSERT(expression)                                                                         \
	((expression) ? (void)0 : assert_failed(#expression, __FILE__, __LINE__, __func__))

_Noreturn void assert_failed(const char *expression, const char *file, int line,
			     const char *function);

#endif
