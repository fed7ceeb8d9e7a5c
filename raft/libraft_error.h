/* What an error of libraft 0.15 is about: it says RAFT_IOERR of a damaged file and of one that cannot be read. */
#ifndef RAFT_LIBRAFT_ERROR_H
#define RAFT_LIBRAFT_ERROR_H

#include "base/error.h"

/*
 * What opening or loading a log ended with: -EBADMSG when what is there is damaged, -EIO when it could not be
 * read or written. `status` is libraft's, `message` its sentence, "" when it has none.
 */
int libraft_error(struct error *error, int status, const char *message);

/* The text of an error number that ends the message ("write failed: -28"), else that of the status. */
const char *libraft_reason(int status, const char *message);

#endif
