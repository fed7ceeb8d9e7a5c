#include "node/input_bound.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"

#include <inttypes.h>

/* Well below the bound: so that it is said once, and not each time that a message is done. */
#define ROOM_BYTES (LIMIT_NODE_INPUT_BYTES / 4 * 3)

static struct input_list *list_of(struct input_bound *bound, const struct input_share *share)
{
	return share->message != 0 ? &bound->for_turn : &bound->for_room;
}

static void list_remove(struct input_bound *bound, struct input_share *share)
{
	ASSERT(share->state == INPUT_WAITING && bound->waiting > 0);
	*share->link = share->next;
	if (share->next != NULL)
		share->next->link = share->link;
	else
		list_of(bound, share)->last = share->link;
	share->next = NULL;
	share->link = NULL;
	bound->waiting--;
}

static void list_add(struct input_bound *bound, struct input_share *share)
{
	struct input_list *list = list_of(bound, share);

	ASSERT(share->state == INPUT_READ);
	if (list->first == NULL)
		list->last = &list->first;
	share->next = NULL;
	share->link = list->last;
	*list->last = share;
	list->last = &share->next;
	bound->waiting++;
	share->state = INPUT_WAITING;
}

static void leave(struct input_bound *bound, struct input_share *share)
{
	if (share->state == INPUT_WAITING)
		list_remove(bound, share);
	if (share->state == INPUT_TURN) {
		ASSERT(bound->turns > 0);
		bound->turns--;
	}
	share->state = INPUT_READ;
}

/* Those who have waited longest, while there are turns; all of them once there is room. */
static void let_go_on(struct input_bound *bound)
{
	struct input_share *share;

	while (!bound->pressed && (share = bound->for_room.first) != NULL) {
		leave(bound, share);
		share->go_on(share);
	}
	while ((share = bound->for_turn.first) != NULL &&
	       (!bound->pressed || bound->turns < LIMIT_INPUT_TURNS)) {
		leave(bound, share);
		if (bound->pressed) {
			share->state = INPUT_TURN;
			bound->turns++;
		}
		share->go_on(share);
	}
}

static void look_at_room(struct input_bound *bound)
{
	if (!bound->pressed && bound->bytes > LIMIT_NODE_INPUT_BYTES) {
		bound->pressed = true;
		log_warn("input",
			 "what clients have sent takes too much memory: those with much of it are "
			 "read in turns",
			 "input_bytes=%" PRIu64, bound->bytes);
	} else if (bound->pressed && bound->bytes <= ROOM_BYTES) {
		bound->pressed = false;
		log_info("input", "there is room again for what clients send",
			 "input_bytes=%" PRIu64, bound->bytes);
		let_go_on(bound);
	}
}

void input_set(struct input_bound *bound, struct input_share *share, size_t bytes)
{
	ASSERT(bound->bytes >= share->bytes);
	bound->bytes = bound->bytes - share->bytes + bytes;
	share->bytes = bytes;
	look_at_room(bound);
}

bool input_may_read(struct input_bound *bound, struct input_share *share, uint64_t message)
{
	bool over = bound->pressed && share->bytes > LIMIT_PRESSED_IN_BYTES && !share->of_node;

	/* The next message is another turn's, behind all who wait. */
	if (!over || share->message != message) {
		leave(bound, share);
		let_go_on(bound);
	}
	if (!over)
		return true;
	if (share->state == INPUT_READ) {
		share->message = message;
		list_add(bound, share);
		let_go_on(bound);
	}
	return share->state == INPUT_TURN;
}

void input_is_of_node(struct input_bound *bound, struct input_share *share)
{
	if (share->of_node || bound->nodes >= LIMIT_INPUT_NODES)
		return;
	share->of_node = true;
	bound->nodes++;
}

void input_end(struct input_bound *bound, struct input_share *share)
{
	leave(bound, share);
	if (share->of_node)
		bound->nodes--;
	input_set(bound, share, 0);
	let_go_on(bound);
}
