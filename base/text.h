/* What names may look like (PROTOCOL section 2). Used by node and client alike. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/span.h"

bool text_is_utf8(struct span text); /* well-formed: no surrogates, no overlong forms */

/* NULL when the name is allowed, else what is wrong with it, as the end of a sentence. */
const char *text_stream_name_problem(struct span name); /* for writing: refuses a leading '$' */
const char *text_label_problem(struct span label); /* event types and tags: 1-255 bytes of UTF-8 */

/* The part of a stream name before the first '-'; the whole name if there is none. */
struct span text_category(struct span stream);

#endif
