/* What an append is answered with, and other writes that are refused (PROTOCOL sections 3 and 4). Any thread. */
#ifndef NODE_APPEND_ANSWER_H
#define NODE_APPEND_ANSWER_H

#include "storage/outcome.h"

/* outcome->code is ANSWER_OK: the result map. */
void append_answer_result(struct buffer *into, const struct outcome *outcome, bool one_stream);
/*
 * Any other code: the error map. `extra` further pairs follow, added by the caller, which are counted
 * in its header.
 */
void append_answer_error(struct buffer *into, const struct outcome *outcome, uint32_t extra);

#endif
