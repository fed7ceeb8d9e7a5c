/*
 * A page that a peer answered to read_all {raw: true}: records, and holes where the peer has dropped
 * superseded checkpoints (storage/hole.h).
 *
 * What a hole lacks was superseded by a record up to the peer's horizon. So a store that took a hole is
 * that of the cluster at the horizon or later only, and the manifest that came before may be too old:
 * the page brings that of the peer.
 */
#ifndef NODE_PULL_PAGE_H
#define NODE_PULL_PAGE_H

#include "storage/manifest.h"

struct pull_page {
	struct span items;
	uint32_t count;
	uint64_t horizon;         /* 0: the peer has dropped nothing */
	bool has_manifest;        /* not while the peer itself catches up */
	struct manifest manifest; /* of the peer's store when it answered, or later than the page */
};

/* The result of a call: 0, or -EBADMSG without a message. The page points into it. */
int pull_page_parse(struct span result, struct pull_page *page);
/*
 * Of a page that was asked for from `from` on: what is behind `head`, which may have come as far as into
 * it, and does not begin behind `to`. Checks that positions follow each other: -EBADMSG. *has_hole: a
 * hole is in it.
 */
int pull_page_cut(const struct pull_page *page, uint64_t from, uint64_t to, uint64_t head,
		  struct span *items, bool *has_hole, struct error *error);

#endif
