#include "node/write.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "node/route.h"
#include "node/stats.h"

/* Writes are kept for the next ones, with buffers that are no larger than most. */
#define SMALL_BYTES  640u
#define SMALL_KEPT   1024u
#define BUFFER_BYTES 2048u

static void clear_buffer(struct buffer *buffer)
{
	if (buffer->capacity > BUFFER_BYTES)
		buffer_close(buffer);
	buffer_clear(buffer);
}

static struct write *take_small(struct node *node, size_t bytes)
{
	struct write *write = spare_take(&node->spare_writes, SMALL_BYTES);
	struct buffer item = write->item, answer = write->answer;

	memset(write, 0, bytes);
	write->item = item;
	write->answer = answer;
	return write;
}

struct write *write_new(struct request *request, const struct write_kind *kind)
{
	struct write *write = kind->bytes <= SMALL_BYTES ? take_small(request->node, kind->bytes)
							 : memory_zeroed(1, kind->bytes);

	ASSERT(kind->bytes >= sizeof *write && write->item.size == 0 && write->answer.size == 0);
	write->kind = kind;
	write->request = request;
	request->node->writes_in_flight++;
	return write;
}

static void close_write(struct write *write)
{
	buffer_close(&write->item);
	buffer_close(&write->answer);
	memory_free(write);
}

/* Hands the reference to the request back. */
static struct request *free_write(struct write *write)
{
	struct request *request = write->request;

	ASSERT(request->node->writes_in_flight > 0);
	request->node->writes_in_flight--;
	clear_buffer(&write->item);
	clear_buffer(&write->answer);
	if (write->kind->bytes > SMALL_BYTES ||
	    !spare_give(&request->node->spare_writes, write, SMALL_KEPT))
		close_write(write);
	return request;
}

void write_free_spare(struct node *node)
{
	struct write *kept;

	while ((kept = spare_take_kept(&node->spare_writes)) != NULL)
		close_write(kept);
}

void write_end(struct write *write)
{
	request_release(free_write(write));
}

void write_answer(struct write *write)
{
	ASSERT(write->answer.size > 0);
	if (write->code == ANSWER_OK)
		request_answer_result(write->request, buffer_span(&write->answer));
	else
		request_answer_error_map(write->request, buffer_span(&write->answer));
	write_end(write);
}

void write_result_empty(struct write *write, const struct outcome *outcome)
{
	struct span raw;
	bool forwarded = arguments_find(&write->request->arguments, "forward_turn", &raw);

	ASSERT(outcome->code == ANSWER_OK);
	msgpack_write_map(&write->answer, forwarded ? 1 : 0);
	if (forwarded) {
		msgpack_write_string(&write->answer, "log_position");
		msgpack_write_u64(&write->answer, outcome->position);
	}
}

/* ---- the outcome ---- */

/* Apply thread: the outcome is gone after it. */
static void on_decided(struct proposal *proposal, const struct outcome *outcome)
{
	struct write *write = (struct write *)proposal;

	ASSERT(write->answer.size == 0);
	write->kind->encode(write, outcome);
}

static void on_done(struct proposal *proposal, enum proposal_result result)
{
	struct write *write = (struct write *)proposal;

	if (result == PROPOSAL_DECIDED) {
		if (write->kind->decided != NULL)
			write->kind->decided(write);
		else
			write_answer(write);
		return;
	}
	struct request *request = free_write(write);

	if (result == PROPOSAL_UNKNOWN && !MUTANT(PROPOSAL_LOST_REFUSED))
		request_answer_unknown(request);
	else
		route_answer_no_leader(request);
	request_release(request);
}

/* ---- proposing ---- */

static void refuse_overload(struct request *request, const char *reason, const char *message)
{
	request->node->counters->append_overloads++;
	if (!request_answer_if_unsure(request))
		request_answer_retry(request, ANSWER_OVERLOADED, reason, message);
	request_release(request);
}

static void finish_refused(struct request *request, const struct write_kind *kind,
			   enum propose_refusal refusal)
{
	switch (refusal) {
	case PROPOSE_NOT_LEADER:
		route_again(request, kind->here);
		break;
	case PROPOSE_OVERLOADED_QUEUE:
		refuse_overload(request, "queue", "too many appends wait to be proposed");
		break;
	case PROPOSE_OVERLOADED_STORE:
		refuse_overload(request, "store", "the tables do not keep up with the log");
		break;
	case PROPOSE_OVERLOADED_DISK:
		refuse_overload(request, "disk", "the disk has too little free space");
		break;
	case PROPOSE_STOPPING:
	case PROPOSE_ACCEPTED:
		if (!request_answer_if_unsure(request))
			request_answer_error(request, ANSWER_SHUTTING_DOWN,
					     "this node is stopping; nothing was proposed");
		request_release(request);
		break;
	}
}

void write_propose(struct write *write)
{
	const struct write_kind *kind = write->kind;

	ASSERT(write->item.size > 0 && write->answer.size == 0);
	write->proposal.item = buffer_span(&write->item);
	write->proposal.decided = on_decided;
	write->proposal.done = on_done;
	enum propose_refusal refusal =
		replica_propose(write->request->node->replica, &write->proposal);

	if (refusal == PROPOSE_ACCEPTED)
		write->request->maybe_proposed = true;
	else
		finish_refused(free_write(write), kind, refusal);
}

void write_begin(struct request *request, const struct write_kind *kind)
{
	struct write *write = write_new(request, kind);

	if (kind->make(write))
		write_propose(write);
	else
		write_end(write);
}

/* ---- on a worker ---- */

void write_on_worker(struct write *write, void (*run)(struct work *work))
{
	write->work.run = run;
	workers_submit(write->request->node->workers, &write->work);
}

struct write *write_of_work(struct work *work)
{
	return TABLE_ENTRY(work, struct write, work);
}

void write_come_back(struct write *write, void (*then)(struct node_post *post))
{
	write->post.run = then;
	node_post(write->request->node, &write->post);
}

struct write *write_of_post(struct node_post *post)
{
	return TABLE_ENTRY(post, struct write, post);
}
