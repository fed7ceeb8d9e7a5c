/* Who forms a cluster and who is let in: decisions over handshakes, without sockets. */
#include "tests/unit/unit.h"

#include "base/file.h"
#include "raft/form.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INITIAL "1=a:1/a:2,2=b:1/b:2,3=c:1/c:2"

struct node {
	struct form form;
	struct peers peers;
	struct raft_configuration configuration;
};

static void node_init(struct node *node, uint64_t id, uint64_t instance, const char *initial)
{
	struct roster roster;
	struct error error;

	memset(node, 0, sizeof *node);
	assert_int_equal(roster_parse(initial, &roster, &error), 0);
	node->peers = (struct peers){.node_id = id, .instance = instance};
	form_init(&node->form, id, "test", &roster, &node->peers);
	snprintf(node->form.endpoint, sizeof node->form.endpoint, "n%d:1/n%d:2#0", (int)id,
		 (int)id);
}

/* Raft runs on it with the first configuration. */
static void node_run(struct node *node)
{
	form_first_configuration(&node->form, &node->configuration);
	node->form.configuration = &node->configuration;
	node->form.configuration_settled = true;
	node->form.running = true;
	node->peers.stage = PEERS_STARTED;
}

static void node_close(struct node *node)
{
	raft_configuration_close(&node->configuration);
}

struct meeting {
	struct handshake hello, welcome;
	unsigned judged, welcomed;
	char problem[HANDSHAKE_REASON_BYTES];
};

/* `from` connects to `to`. */
static struct meeting meet(struct node *from, struct node *to, enum handshake_purpose purpose)
{
	struct meeting meeting = {.hello = {.purpose = purpose}};

	form_hello(&from->form, to->form.node_id, &meeting.hello);
	meeting.judged = form_judge(&to->form, &meeting.hello, &meeting.welcome);
	assert_int_not_equal(meeting.welcome.verdict, HANDSHAKE_NONE);
	meeting.welcomed =
		form_welcomed(&from->form, to->form.node_id, &meeting.welcome, meeting.problem);
	return meeting;
}

static void form_three(struct node nodes[3])
{
	for (uint64_t i = 0; i < 3; i++)
		node_init(&nodes[i], i + 1, 100 + i, INITIAL);
	/* Who asks and who answers both learn. */
	assert_int_equal(meet(&nodes[0], &nodes[1], HANDSHAKE_FORMING).welcomed, FORM_NOTHING);
	struct meeting second = meet(&nodes[0], &nodes[2], HANDSHAKE_FORMING);

	assert_int_equal(second.welcomed, FORM_COMPLETE);
	form_finish(&nodes[0].form);
	/* The others may come after it has formed. */
	assert_int_equal(meet(&nodes[1], &nodes[0], HANDSHAKE_FORMING).welcomed, FORM_COMPLETE);
	assert_int_equal(meet(&nodes[2], &nodes[0], HANDSHAKE_FORMING).welcomed, FORM_COMPLETE);
	form_finish(&nodes[1].form);
	form_finish(&nodes[2].form);
	for (int i = 0; i < 3; i++)
		node_run(&nodes[i]);
}

static void close_three(struct node nodes[3])
{
	for (int i = 0; i < 3; i++)
		node_close(&nodes[i]);
}

static void all_come_to_the_same_cluster(void **state)
{
	struct node nodes[3];

	(void)state;
	form_three(nodes);
	for (int i = 1; i < 3; i++) {
		assert_memory_equal(nodes[i].peers.cluster_id, nodes[0].peers.cluster_id,
				    CLUSTER_ID_BYTES);
		assert_int_equal(nodes[i].configuration.n, 3);
		for (unsigned j = 0; j < 3; j++)
			assert_string_equal(nodes[i].configuration.servers[j].address,
					    nodes[0].configuration.servers[j].address);
	}
	struct meeting raft = meet(&nodes[0], &nodes[1], HANDSHAKE_RAFT);

	assert_int_equal(raft.welcome.verdict, HANDSHAKE_ACCEPTED);
	assert_true(raft.welcomed & FORM_USE);
	close_three(nodes);
}

static void another_instance_makes_another_cluster(void **state)
{
	struct node first, second;

	(void)state;
	node_init(&first, 1, 100, "1=a:1/a:2");
	node_init(&second, 1, 101, "1=a:1/a:2");
	assert_true(form_is_complete(&first.form));
	form_finish(&first.form);
	form_finish(&second.form);
	assert_memory_not_equal(first.peers.cluster_id, second.peers.cluster_id, CLUSTER_ID_BYTES);
}

static void a_member_that_lost_its_data_does_not_form_again(void **state)
{
	struct node nodes[3], again;

	(void)state;
	form_three(nodes);
	node_init(&again, 2, 999, INITIAL);
	struct meeting meeting = meet(&again, &nodes[0], HANDSHAKE_FORMING);

	assert_int_equal(meeting.welcomed, FORM_DATA_LOST);
	assert_non_null(strstr(meeting.problem, "node 2 of cluster test was here before"));
	assert_non_null(strstr(meeting.problem, "annal cluster remove 2"));
	assert_false(form_is_complete(&again.form));
	close_three(nodes);
}

static void a_running_member_with_another_directory_is_refused(void **state)
{
	struct node nodes[3];

	(void)state;
	form_three(nodes);
	nodes[1].peers.instance = 999;
	struct meeting meeting = meet(&nodes[1], &nodes[0], HANDSHAKE_RAFT);

	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_DATA_LOST);
	assert_int_equal(meeting.welcomed, FORM_DATA_LOST);
	assert_true(form_believes(&nodes[1].form, 1, nodes[1].configuration.servers[0].address));
	/* Who serves does not take it from a hello, and who said hello does not think it meant. */
	meeting = meet(&nodes[0], &nodes[1], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_MISMATCH);
	assert_int_equal(meeting.judged, FORM_NOTHING);
	assert_int_equal(meeting.welcomed, FORM_NOTHING);
	/* Before it serves, it does. */
	nodes[1].form.running = false;
	nodes[1].peers.stage = PEERS_FORMED;
	meeting = meet(&nodes[0], &nodes[1], HANDSHAKE_RAFT);
	assert_int_equal(meeting.judged, FORM_DATA_LOST);
	assert_int_equal(meeting.welcomed, FORM_NOTHING);
	close_three(nodes);
}

static bool tells_a_secret(const struct node *node, const struct handshake *welcome)
{
	struct endpoint endpoint, own;
	struct error error;
	uint8_t zeros[CLUSTER_ID_BYTES] = {0};

	assert_true(form_find_member(&node->configuration, node->form.node_id, &own));
	assert_int_equal(endpoint_parse(welcome->endpoint, &endpoint, &error), 0);
	return welcome->instance != 0 || welcome->to_instance != 0 || welcome->from_nonce != 0 ||
	       welcome->to_nonce != 0 || welcome->instance_count != 0 ||
	       endpoint.nonce == own.nonce ||
	       memcmp(welcome->cluster_id, zeros, CLUSTER_ID_BYTES) != 0;
}

static void who_is_refused_learns_nothing(void **state)
{
	static const enum handshake_purpose purposes[] = {HANDSHAKE_RAFT, HANDSHAKE_FORMING};
	struct node nodes[3];

	(void)state;
	form_three(nodes);
	for (int i = 0; i < 16; i++) {
		struct handshake hello = {.purpose = purposes[i & 1], .from = 2, .to = 1};
		struct handshake welcome = {0};

		hello.instance = 999;
		hello.to_instance = (i & 2) != 0 ? 998 : 0;
		hello.cluster_id[0] = (i & 4) != 0;
		strcpy(hello.cluster_name, (i & 8) != 0 ? "test" : "else");
		assert_int_equal(form_judge(&nodes[0].form, &hello, &welcome), FORM_NOTHING);
		assert_true(welcome.verdict > HANDSHAKE_ACCEPTED);
		assert_false(tells_a_secret(&nodes[0], &welcome));
	}
	/* What a member gets shows that the check above can fail. */
	struct meeting member = meet(&nodes[1], &nodes[0], HANDSHAKE_RAFT);

	assert_true(tells_a_secret(&nodes[0], &member.welcome));
	close_three(nodes);
}

static void a_claim_ends_no_node_that_serves(void **state)
{
	struct node nodes[3];
	struct handshake hello = {.purpose = HANDSHAKE_RAFT}, welcome = {0};

	(void)state;
	form_three(nodes);
	/* Even with all that is secret. */
	form_hello(&nodes[1].form, 1, &hello);
	hello.to_instance = 12345;
	assert_int_equal(form_judge(&nodes[0].form, &hello, &welcome), FORM_NOTHING);
	assert_int_equal(welcome.verdict, HANDSHAKE_MISMATCH);
	/* An answer counts from a member at its own address only. */
	assert_true(form_believes(&nodes[0].form, 2, nodes[0].configuration.servers[1].address));
	assert_false(form_believes(&nodes[0].form, 2, nodes[0].configuration.servers[2].address));
	assert_false(form_believes(&nodes[0].form, 2, "evil:1/evil:2#1"));
	assert_false(form_believes(&nodes[0].form, 9, "evil:1/evil:2#1"));
	/* Not while the snapshot is pulled, either. */
	nodes[0].form.running = false;
	nodes[0].form.configuration = NULL;
	assert_int_equal(form_judge(&nodes[0].form, &hello, &welcome), FORM_NOTHING);
	assert_false(form_believes(&nodes[0].form, 2, nodes[0].configuration.servers[1].address));
	nodes[0].peers.stage = PEERS_NEW;
	assert_true(form_believes(&nodes[0].form, 2, "b:1/b:2"));
	close_three(nodes);
}

/* Who comes to form late and is none of the initial members gets no list. */
static void the_list_is_for_the_initial_members_only(void **state)
{
	struct node nodes[3], other;
	struct meeting meeting;

	(void)state;
	form_three(nodes);
	node_init(&other, 7, 700, "1=a:1/a:2,7=g:1/g:2");
	meeting = meet(&other, &nodes[0], HANDSHAKE_FORMING);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_MISMATCH);
	assert_int_equal(meeting.welcomed, FORM_NOTHING);
	assert_non_null(strstr(meeting.welcome.reason, "formed by other initial members"));
	close_three(nodes);
}

static void strangers_are_told_why_they_are_refused(void **state)
{
	struct node nodes[3], other;
	struct meeting meeting;

	(void)state;
	form_three(nodes);
	node_init(&other, 7, 700, "7=g:1/g:2");
	other.form.cluster_name = "else";
	form_finish(&other.form);
	node_run(&other);
	meeting = meet(&other, &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_MISMATCH);
	assert_non_null(strstr(meeting.welcome.reason, "belongs to another cluster"));
	assert_false(meeting.welcomed & FORM_USE);

	other.form.cluster_name = "test";
	meeting = meet(&other, &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_MISMATCH);
	assert_non_null(strstr(meeting.welcome.reason, "which has the same name"));
	node_close(&other);

	node_init(&other, 2, 201, "2=b:1/b:2,1=a:1/a:9");
	struct node fresh;

	node_init(&fresh, 1, 100, INITIAL);
	meeting = meet(&other, &fresh, HANDSHAKE_FORMING);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_MISMATCH);
	assert_non_null(strstr(meeting.welcome.reason, "different initial members"));
	close_three(nodes);
}

/* Only a refusal comes without an instance. */
static void a_refusal_is_no_hello(void **state)
{
	struct node nodes[3];
	struct handshake hello = {.purpose = HANDSHAKE_RAFT}, welcome = {0};

	(void)state;
	form_three(nodes);
	form_hello(&nodes[1].form, 1, &hello);
	hello.verdict = HANDSHAKE_REMOVED;
	hello.instance = 0;
	assert_int_equal(form_judge(&nodes[0].form, &hello, &welcome), FORM_NOTHING);
	assert_int_equal(welcome.verdict, HANDSHAKE_MISMATCH);
	close_three(nodes);
}

static void an_address_of_another_node_is_noticed(void **state)
{
	struct node nodes[3];
	struct handshake hello = {.purpose = HANDSHAKE_RAFT}, welcome = {0};

	(void)state;
	form_three(nodes);
	form_hello(&nodes[0].form, 2, &hello);
	form_judge(&nodes[2].form, &hello, &welcome);
	assert_int_equal(welcome.verdict, HANDSHAKE_MISMATCH);
	assert_non_null(strstr(welcome.reason, "looks for node 2, but node 3"));
	close_three(nodes);
}

/* Put node 4 into everybody's configuration. */
static void add_fourth(struct node nodes[3], const char *endpoint)
{
	for (int i = 0; i < 3; i++)
		assert_int_equal(
			raft_configuration_add(&nodes[i].configuration, 4, endpoint, RAFT_STANDBY),
			0);
}

static void a_new_node_joins_whoever_has_it_as_a_member(void **state)
{
	struct node nodes[3], fourth;
	struct meeting meeting;

	(void)state;
	form_three(nodes);
	node_init(&fourth, 4, 400, INITIAL);
	assert_true(form_is_joining(&fourth.form));
	/* Not a member yet: it waits. */
	meeting = meet(&nodes[0], &fourth, HANDSHAKE_RAFT);
	assert_int_equal(meeting.judged, FORM_NOTHING);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_LATER);
	add_fourth(nodes, "d:1/d:2#44");
	meeting = meet(&nodes[0], &fourth, HANDSHAKE_RAFT);
	assert_int_equal(meeting.judged, FORM_ADOPTED);
	assert_memory_equal(fourth.peers.cluster_id, nodes[0].peers.cluster_id, CLUSTER_ID_BYTES);
	fourth.form.running = true;
	meeting = meet(&nodes[0], &fourth, HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_ACCEPTED);
	assert_int_equal(meeting.welcomed, FORM_USE | FORM_RECORDED);
	assert_int_equal(peers_instance_of(&nodes[0].peers, 4, 0x44), 400);

	/* The same id with an empty directory. */
	struct node again;

	node_init(&again, 4, 401, INITIAL);
	meeting = meet(&nodes[0], &again, HANDSHAKE_RAFT);
	assert_int_equal(meeting.judged, FORM_DATA_LOST);
	assert_int_equal(again.peers.stage, PEERS_NEW);
	close_three(nodes);
}

static void a_removed_member_is_told_so(void **state)
{
	struct node nodes[3];
	struct meeting meeting;

	(void)state;
	form_three(nodes);
	meeting = meet(&nodes[2], &nodes[0], HANDSHAKE_RAFT);
	assert_false(form_was_removed(&nodes[0].form, &meeting.hello));
	raft_configuration_close(&nodes[0].configuration);
	raft_configuration_init(&nodes[0].configuration);
	raft_configuration_add(&nodes[0].configuration, 1, "a:1/a:2#1", RAFT_VOTER);
	assert_true(form_was_removed(&nodes[0].form, &meeting.hello));
	meeting = meet(&nodes[2], &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_REMOVED);
	assert_int_equal(meeting.welcomed, FORM_REMOVED);
	/* As long as the removal may be taken back, it stays. */
	nodes[0].form.configuration_settled = false;
	meeting = meet(&nodes[2], &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_ACCEPTED);
	close_three(nodes);
}

static void agree(struct node *node, uint64_t index, bool agreed)
{
	node->form.configuration_index = index;
	node->form.configuration_agreed = agreed;
}

/* Nothing is recorded of node 4 here: it counts whose configuration is the later one. */
static void a_removed_member_is_told_so_by_whoever_never_met_it(void **state)
{
	static const struct {
		uint64_t theirs, ours;
		bool agreed;
		enum handshake_verdict verdict;
	} cases[] = {
		{7, 9, true, HANDSHAKE_REMOVED},
		{7, 9, false, HANDSHAKE_ACCEPTED}, /* the removal may be taken back */
		{7, 3, true, HANDSHAKE_ACCEPTED},  /* this member lags: it may be new */
		{0, 9, true, HANDSHAKE_ACCEPTED},  /* it does not know of itself yet */
	};
	struct node nodes[3], fourth;

	(void)state;
	form_three(nodes);
	node_init(&fourth, 4, 400, INITIAL);
	memcpy(fourth.peers.cluster_id, nodes[0].peers.cluster_id, CLUSTER_ID_BYTES);
	form_first_configuration(&nodes[0].form, &fourth.configuration);
	raft_configuration_add(&fourth.configuration, 4, "d:1/d:2#44", RAFT_VOTER);
	fourth.form.configuration = &fourth.configuration;
	fourth.form.running = fourth.form.configuration_settled = true;
	fourth.peers.stage = PEERS_STARTED;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		agree(&fourth, cases[i].theirs, true);
		agree(&nodes[0], cases[i].ours, cases[i].agreed);
		struct meeting meeting = meet(&fourth, &nodes[0], HANDSHAKE_RAFT);

		assert_int_equal(meeting.welcome.verdict, cases[i].verdict);
		assert_true(cases[i].verdict != HANDSHAKE_REMOVED ||
			    meeting.welcomed == FORM_REMOVED);
	}
	node_close(&fourth);
	close_three(nodes);
}

/* It was added, and removed before it had that from the log; its first hello had no nonce. */
static void a_member_that_never_knew_of_itself_is_told_that_it_was_removed(void **state)
{
	struct node nodes[3], fourth;
	struct meeting meeting;

	(void)state;
	form_three(nodes);
	node_init(&fourth, 4, 400, INITIAL);
	add_fourth(nodes, "d:1/d:2#44");
	meet(&nodes[0], &fourth, HANDSHAKE_RAFT);
	fourth.form.running = true;
	meeting = meet(&fourth, &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_ACCEPTED);
	assert_int_equal(meeting.hello.from_nonce, 0);
	assert_false(form_was_removed(&nodes[0].form, &meeting.hello));
	raft_configuration_close(&nodes[0].configuration);
	form_first_configuration(&nodes[0].form, &nodes[0].configuration);
	assert_true(form_was_removed(&nodes[0].form, &meeting.hello));
	meeting = meet(&fourth, &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_REMOVED);
	/* Another one of this id that starts anew is not meant. */
	fourth.peers.instance = 401;
	meeting = meet(&fourth, &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_LATER);
	close_three(nodes);
}

static enum handshake_verdict judged_as(struct node *node, const struct handshake *hello)
{
	struct handshake welcome = {0};

	form_judge(&node->form, hello, &welcome);
	return welcome.verdict;
}

static void who_is_no_member_is_not_let_in(void **state)
{
	struct node nodes[3];
	struct handshake hello = {.purpose = HANDSHAKE_RAFT};

	(void)state;
	form_three(nodes);
	form_hello(&nodes[1].form, 1, &hello);
	assert_int_equal(judged_as(&nodes[0], &hello), HANDSHAKE_ACCEPTED);
	/* An id that nobody has, and a member's id with a nonce that it never had. */
	hello.to_nonce = 0;
	hello.from = 9;
	assert_int_equal(judged_as(&nodes[0], &hello), HANDSHAKE_LATER);
	hello.from = 2;
	hello.from_nonce ^= 1;
	assert_int_equal(judged_as(&nodes[0], &hello), HANDSHAKE_LATER);
	/* A node that is being added knows nobody, or not itself. */
	raft_configuration_close(&nodes[0].configuration);
	raft_configuration_init(&nodes[0].configuration);
	assert_int_equal(judged_as(&nodes[0], &hello), HANDSHAKE_ACCEPTED);
	raft_configuration_add(&nodes[0].configuration, 3, "c:1/c:2#3", RAFT_VOTER);
	assert_int_equal(judged_as(&nodes[0], &hello), HANDSHAKE_ACCEPTED);
	close_three(nodes);
}

/* It lags: it does not know the node that leads now. */
static void a_member_that_is_not_known_here_yet_is_let_in(void **state)
{
	struct node nodes[3], fourth;
	struct meeting meeting;

	(void)state;
	form_three(nodes);
	node_init(&fourth, 4, 400, INITIAL);
	memcpy(fourth.peers.cluster_id, nodes[0].peers.cluster_id, CLUSTER_ID_BYTES);
	form_first_configuration(&nodes[0].form, &fourth.configuration);
	raft_configuration_add(&fourth.configuration, 4, "d:1/d:2#44", RAFT_VOTER);
	fourth.form.configuration = &fourth.configuration;
	fourth.form.running = fourth.form.configuration_settled = true;
	fourth.peers.stage = PEERS_STARTED;
	meeting = meet(&fourth, &nodes[0], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_ACCEPTED);
	assert_int_equal(meeting.judged, FORM_NOTHING); /* and nothing is recorded of it */
	node_close(&fourth);
	close_three(nodes);
}

static void a_node_where_raft_does_not_run_asks_to_come_later(void **state)
{
	struct node nodes[3];
	struct meeting meeting;

	(void)state;
	form_three(nodes);
	nodes[1].form.running = false;
	meeting = meet(&nodes[0], &nodes[1], HANDSHAKE_RAFT);
	assert_int_equal(meeting.welcome.verdict, HANDSHAKE_LATER);
	assert_false(meeting.welcomed & FORM_USE);
	close_three(nodes);
}

/* ---- the peers file ---- */

static void the_peers_file_comes_back_or_says_that_it_is_damaged(void **state)
{
	char path[] = "/tmp/annal-peers-XXXXXX";
	int file = mkstemp(path);
	struct peers first = {.node_id = 3, .instance = 5, .stage = PEERS_STARTED}, second;
	struct buffer bytes;
	struct error error;

	(void)state;
	close(file);
	first.initial_count = 2;
	first.initial[1] = (struct handshake_instance){8, 9};
	for (uint64_t i = 1; i <= PEERS_RECORDS + 10; i++)
		assert_true(peers_record(&first, i, i, i + 1000));
	assert_false(peers_record(&first, PEERS_RECORDS, PEERS_RECORDS, 1));
	assert_int_equal(first.record_count, PEERS_RECORDS);
	assert_int_equal(peers_save(path, &first, &error), 0);
	assert_int_equal(peers_read(path, &second, &error), 0);
	assert_memory_equal(&first, &second, sizeof first);
	buffer_init(&bytes);
	peers_encode(&first, &bytes);
	for (size_t i = 0; i < bytes.size; i += 97) {
		bytes.data[i] ^= 1;
		assert_int_equal(file_replace(path, buffer_span(&bytes), &error), 0);
		assert_int_equal(peers_read(path, &second, &error), -EBADMSG);
		bytes.data[i] ^= 1;
	}
	assert_int_equal(file_replace(path, span_of(bytes.data, 20), &error), 0);
	assert_int_equal(peers_read(path, &second, &error), -EBADMSG);
	buffer_close(&bytes);
	unlink(path);
	assert_int_equal(peers_read(path, &second, &error), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_peers_file_comes_back_or_says_that_it_is_damaged),
		cmocka_unit_test(all_come_to_the_same_cluster),
		cmocka_unit_test(another_instance_makes_another_cluster),
		cmocka_unit_test(a_member_that_lost_its_data_does_not_form_again),
		cmocka_unit_test(a_running_member_with_another_directory_is_refused),
		cmocka_unit_test(who_is_refused_learns_nothing),
		cmocka_unit_test(a_claim_ends_no_node_that_serves),
		cmocka_unit_test(the_list_is_for_the_initial_members_only),
		cmocka_unit_test(strangers_are_told_why_they_are_refused),
		cmocka_unit_test(a_refusal_is_no_hello),
		cmocka_unit_test(an_address_of_another_node_is_noticed),
		cmocka_unit_test(a_new_node_joins_whoever_has_it_as_a_member),
		cmocka_unit_test(a_removed_member_is_told_so),
		cmocka_unit_test(a_removed_member_is_told_so_by_whoever_never_met_it),
		cmocka_unit_test(a_member_that_never_knew_of_itself_is_told_that_it_was_removed),
		cmocka_unit_test(who_is_no_member_is_not_let_in),
		cmocka_unit_test(a_member_that_is_not_known_here_yet_is_let_in),
		cmocka_unit_test(a_node_where_raft_does_not_run_asks_to_come_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
