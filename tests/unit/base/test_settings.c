#include "base/limits.h"
#include "base/settings.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct config {
	char listen[SETTING_TEXT_BYTES];
	char data_dir[SETTING_TEXT_BYTES];
	uint64_t node_id;
	uint64_t timeout_ms;
	uint64_t tail_bytes;
	bool verify;
};

#define FIELD(field) offsetof(struct config, field)

static const struct setting rows[] = {
	{"node", "node-id", SETTING_U64, FIELD(node_id), NULL, 1, 0, "ID", true,
	 "The number of this node, never given to another one."},
	{"node", "client-listen", SETTING_TEXT, FIELD(listen), "127.0.0.1:7000", 0, 0, "HOST:PORT",
	 true, "Where clients connect."},
	{"store", "data-dir", SETTING_TEXT, FIELD(data_dir), NULL, 0, 0, "PATH", false,
	 "The folder of the store, made when it is not there; it takes everything that the node "
	 "has to remember, and belongs to this node alone."},
	{"store", "tail-bytes", SETTING_BYTES, FIELD(tail_bytes), "64M", 4096, GIB, NULL, false,
	 "Memory for what is not yet in the store."},
	{"node", "timeout-ms", SETTING_U64, FIELD(timeout_ms), "5000", 0, 60000, NULL, false,
	 "Milliseconds | until a request ends."},
	{"store", "verify", SETTING_BOOL, FIELD(verify), "no", 0, 0, NULL, false,
	 "Check every record at the start."},
};

static const struct settings_table table = {rows, COUNT_OF(rows), "ANNALTEST_"};

static int set_up(void **state)
{
	struct config *config = memory_zeroed(1, sizeof *config);

	settings_set_defaults(&table, config);
	*state = config;
	for (size_t i = 0; environ[i] != NULL; i++)
		assert_null(strstr(environ[i], "ANNALTEST_"));
	return 0;
}

static int tear_down(void **state)
{
	memory_free(*state);
	unsetenv("ANNALTEST_NODE_ID");
	unsetenv("ANNALTEST_TAIL_BYTES");
	unsetenv("ANNALTEST_CLIENT_LISTEN");
	return 0;
}

static void assert_says(const struct error *error, const char *part)
{
	if (strstr(error->message, part) == NULL)
		fail_msg("'%s' is not in: %s", part, error->message);
}

/* ---- values ---- */

static void defaults_are_filled_in(void **state)
{
	struct config *config = *state;

	assert_string_equal(config->listen, "127.0.0.1:7000");
	assert_string_equal(config->data_dir, "");
	assert_int_equal(config->node_id, 0);
	assert_int_equal(config->timeout_ms, 5000);
	assert_int_equal(config->tail_bytes, 64 * MIB);
	assert_false(config->verify);
}

static void numbers_of_bytes_take_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* 0: refused */
	} cases[] = {
		{"4096", 4096},
		{"4096 B", 4096},
		{"4096B", 4096},
		{"64K", 64 * KIB},
		{"64 KiB", 64 * KIB},
		{"64kib", 64 * KIB},
		{"1M", MIB},
		{"1MiB", MIB},
		{"1G", GIB},
		{"1024 MiB", GIB},
		{"", 0},
		{"K", 0},
		{"64MB", 0},
		{"64 M iB", 0},
		{"-4096", 0},
		{"4096 ", 4096},
		{"1.5M", 0},
		{"64Kx", 0},
		{"0x1000", 0},
		{"18446744073709551616", 0},
		{"18014398509481988K", 0},
		{"16777217T", 0},
		{"2G", 0},
		{"4095", 0},
		{"64P", 0},
		{"64BiB", 0},
	};
	struct config *config = *state;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct error error;

		config->tail_bytes = 7;
		int status = settings_set(&table, config, "tail-bytes", cases[i].text, &error);

		if (config->tail_bytes != (cases[i].bytes > 0 ? cases[i].bytes : 7) ||
		    status != (cases[i].bytes > 0 ? 0 : -EINVAL))
			fail_msg("'%s': %d, %llu", cases[i].text, status,
				 (unsigned long long)config->tail_bytes);
	}
}

static void truth_has_several_words(void **state)
{
	static const char *const words[] = {"false", "true", "no", "YES", "off", "On", "0", "1"};
	struct config *config = *state;
	struct error error;

	for (size_t i = 0; i < COUNT_OF(words); i++) {
		config->verify = i % 2 == 0;
		assert_int_equal(settings_set(&table, config, "verify", words[i], &error), 0);
		assert_int_equal(config->verify, i % 2);
	}
	assert_int_equal(settings_set(&table, config, "verify", "2", &error), -EINVAL);
	assert_int_equal(settings_set(&table, config, "verify", "", &error), -EINVAL);
}

static void a_bad_value_is_refused_with_what_would_be_right(void **state)
{
	static const struct {
		const char *name, *value;
		int status;
		const char *says;
	} cases[] = {
		{"timeout-ms", "abc", -EINVAL, "timeout-ms: 'abc' is no decimal number"},
		{"timeout-ms", "60001", -EINVAL, "'60001' is too high: the most is 60000"},
		{"timeout-ms", "18446744073709551616", -EINVAL, "within 64 bits"},
		{"timeout-ms", " 1", -EINVAL, "no decimal number"},
		{"node-id", "0", -EINVAL, "node-id: '0' is too low: the least is 1"},
		{"tail-bytes", "64MB", -EINVAL, "like 4096, 512K, 64M or 64 MiB"},
		{"tail-bytes", "2 GiB", -EINVAL, "the most is 1 GiB"},
		{"tail-bytes", "1", -EINVAL, "the least is 4 KiB"},
		{"verify", "maybe", -EINVAL, "neither true nor false"},
		{"client-listen", "a\nb", -EINVAL, "control character at byte 2"},
		{"client-listen", "a\xff", -EINVAL, "UTF-8"},
		{"client-listen", " a", -EINVAL, "client-listen: ' a' has a blank at an end"},
		{"client-listen", "a ", -EINVAL, "'a ' has a blank at an end"},
		{"client-listen", "a ;b", -EINVAL, "';' at its beginning or behind a blank"},
		{"client-listen", ";b", -EINVAL, "';' at its beginning or behind a blank"},
		{"cleint-listen", "x", -ENOENT,
		 "no setting 'cleint-listen'; near is 'client-listen'"},
		{"verfy", "x", -ENOENT, "near is 'verify'"},
		{"", "x", -ENOENT, "--help lists all"},
		{"something-else-altogether", "x", -ENOENT, "--help lists all"},
	};
	struct config *config = *state;

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct config before = *config;
		struct error error;

		assert_int_equal(
			settings_set(&table, config, cases[i].name, cases[i].value, &error),
			cases[i].status);
		assert_says(&error, cases[i].says);
		assert_memory_equal(config, &before, sizeof before);
	}
}

static void several_near_names_come_nearest_first(void **state)
{
	static const struct setting near_rows[] = {
		{"s", "abcdefXXX", SETTING_BOOL, FIELD(verify), NULL, 0, 0, NULL, false, ""},
		{"s", "abcdefXX", SETTING_BOOL, FIELD(verify), NULL, 0, 0, NULL, false, ""},
		{"s", "abcdefX", SETTING_BOOL, FIELD(verify), NULL, 0, 0, NULL, false, ""},
		{"s", "abcdeX", SETTING_BOOL, FIELD(verify), NULL, 0, 0, NULL, false, ""},
	};
	struct settings_table near_table = {near_rows, COUNT_OF(near_rows), "X_"};
	struct error error;

	assert_int_equal(settings_set(&near_table, *state, "abcdef", "1", &error), -ENOENT);
	assert_says(&error, "near are 'abcdefX', 'abcdeX', 'abcdefXX'");
}

static void a_text_takes_1023_bytes(void **state)
{
	struct config *config = *state;
	char text[SETTING_TEXT_BYTES + 1];
	struct error error;

	memset(text, 'x', sizeof text);
	text[SETTING_TEXT_BYTES] = '\0';
	assert_int_equal(settings_set(&table, config, "data-dir", text, &error), -EINVAL);
	assert_says(&error, "1024 bytes, the most is 1023");
	text[SETTING_TEXT_BYTES - 1] = '\0';
	assert_int_equal(settings_set(&table, config, "data-dir", text, &error), 0);
	assert_string_equal(config->data_dir, text);
}

static void what_is_required_and_missing_is_named_with_the_ways_to_give_it(void **state)
{
	struct config *config = *state;
	struct error error;

	assert_int_equal(settings_check(&table, config, &error), -EINVAL);
	assert_says(&error, "--node-id ID, ANNALTEST_NODE_ID or 'node-id' in section [node]");
	config->node_id = 1;
	assert_int_equal(settings_check(&table, config, &error), 0);
	config->listen[0] = '\0';
	assert_int_equal(settings_check(&table, config, &error), -EINVAL);
	assert_says(&error, "client-listen");
}

/* ---- the file ---- */

static int read_text(struct config *config, const char *text, size_t size, char path[32],
		     struct error *error)
{
	strcpy(path, "/tmp/test_settings.XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, size), size);
	close(fd);
	int status = settings_read_file(&table, config, path, error);

	unlink(path);
	return status;
}

static void a_file_is_read(void **state)
{
	static const char text[] = "\xef\xbb\xbf; a comment\n"
				   "[node]\r\n"
				   "node-id = 3   ; another\n"
				   "client-listen: [::1]:80\n"
				   "\n"
				   "# one more\n"
				   "[store]\n"
				   "data-dir = /var/lib\n"
				   "\t/annal\n"
				   "  ; between\n"
				   "  /3\n"
				   "tail-bytes = 1 MiB\n"
				   "verify=on";
	struct config *config = *state;
	struct error error = {""};
	char path[32];

	if (read_text(config, text, sizeof text - 1, path, &error) != 0)
		fail_msg("%s", error.message);
	assert_int_equal(config->node_id, 3);
	assert_string_equal(config->listen, "[::1]:80");
	assert_string_equal(config->data_dir, "/var/lib/annal/3");
	assert_int_equal(config->tail_bytes, MIB);
	assert_true(config->verify);
}

static void a_bad_line_is_named(void **state)
{
	static const char longest[300] = "[store]\ndata-dir = xxxxxxxxxxxxxxxxxxxx";
	static const struct {
		const char *text;
		int status;
		const char *says;
	} cases[] = {
		{"[node]\nnode-id = x\n", -EINVAL, ": line 2: node-id: 'x' is no decimal number"},
		{"[node]\n\nnode_id = 1\n", -ENOENT,
		 ": line 3: there is no setting 'node_id'; near"},
		{"[store]\nnode-id = 1\n", -EINVAL,
		 ": line 2: 'node-id' belongs in section [node], not in [store]"},
		{"node-id = 1\n", -EINVAL,
		 ": line 1: 'node-id' belongs in section [node], not in []"},
		{"[node]\nnode-id = 1\nnode-id = 2\n", -EINVAL,
		 ": line 3: 'node-id' is given twice"},
		{"[node]\nnode-id = 1\n[node]\n node-id = 2\n", -EINVAL,
		 ": line 4: 'node-id' is given"},
		{"[node]\nnode-id = 1\n  2x\n", -EINVAL, ": line 3: node-id: '12x'"},
		{"[node]\nnode-id = 1\n  timeout-ms = 2\n", -EINVAL,
		 ": line 3: 'timeout-ms = 2' is indented: that would go on with the value of "
		 "'node-id'"},
		{"[node\nnode-id = 1\n", -EINVAL, ": line 1: is neither '[section]'"},
		{"[node]\nnode-id\ntimeout-ms = x\n", -EINVAL, ": line 2: is neither '[section]'"},
		{"[node]\nnode-id = x\ntimeout-ms\n", -EINVAL, ": line 2: node-id"},
		{"[node]\nnode-id = x\ntimeout-ms = y\n", -EINVAL, ": line 2: node-id"},
		{"[node]\n= 3\n", -ENOENT, ": line 2: there is no setting ''"},
		{longest, -EINVAL, ": line 2: the line is longer than 198 bytes"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[400], path[32];
		struct error error = {""};
		size_t size = strlen(cases[i].text);

		memset(text, 'x', sizeof text);
		memcpy(text, cases[i].text, size);
		if (cases[i].text == longest)
			size = 300;
		if (read_text(*state, text, size, path, &error) != cases[i].status)
			fail_msg("case %zu: %s", i, error.message);
		assert_says(&error, cases[i].says);
		assert_says(&error, path);
	}
}

static void a_line_of_198_bytes_is_taken_with_and_without_its_end(void **state)
{
	struct config *config = *state;

	for (size_t end = 0; end < 2; end++) {
		char text[300] = "[store]\ndata-dir = ", path[32];
		struct error error = {""};
		size_t size = 8 + SETTINGS_LINE_BYTES;

		memset(text + 19, 'x', sizeof text - 19);
		text[size] = '\n';
		if (read_text(config, text, size + end, path, &error) != 0)
			fail_msg("%s", error.message);
		assert_int_equal(strlen(config->data_dir), SETTINGS_LINE_BYTES - 11);
		text[size] = 'x';
		assert_int_equal(read_text(config, text, size + 2, path, &error), -EINVAL);
	}
}

static void a_file_that_cannot_be_read_is_named(void **state)
{
	struct error error;

	assert_int_equal(settings_read_file(&table, *state, "/nonexistent/x.conf", &error),
			 -ENOENT);
	assert_says(&error, "/nonexistent/x.conf: No such file");
	assert_int_equal(settings_read_file(&table, *state, "/tmp", &error), -EISDIR);
	assert_says(&error, "/tmp");
}

static void what_is_printed_as_a_file_is_read_back(void **state)
{
	struct config *config = *state, *again = memory_zeroed(1, sizeof *again);
	struct buffer text;
	char path[32];
	struct error error = {""};

	buffer_init(&text);
	config->node_id = 12;
	config->verify = true;
	config->tail_bytes = 4097;
	for (size_t i = 0; i + 16 < SETTING_TEXT_BYTES; i += 15) /* far longer than a line */
		strcpy(config->data_dir + i, "node-id=1234,;;x");
	settings_print_file(&table, config, &text);
	settings_set_defaults(&table, again);
	if (read_text(again, (char *)text.data, text.size, path, &error) != 0)
		fail_msg("%s", error.message);
	assert_string_equal(again->data_dir, config->data_dir);
	assert_string_equal(again->listen, config->listen);
	assert_int_equal(again->node_id, 12);
	assert_int_equal(again->tail_bytes, 4097);
	assert_int_equal(again->timeout_ms, 5000);
	assert_true(again->verify);
	buffer_close(&text);
	memory_free(again);
}

/* ---- environment and command line ---- */

static void the_environment_is_read(void **state)
{
	struct config *config = *state;
	struct error error;

	setenv("ANNALTEST_NODE_ID", "9", 1);
	setenv("ANNALTEST_CLIENT_LISTEN", "h:1", 1);
	assert_int_equal(settings_read_environment(&table, config, &error), 0);
	assert_int_equal(config->node_id, 9);
	assert_string_equal(config->listen, "h:1");
	setenv("ANNALTEST_NODE_ID", "", 1);
	assert_int_equal(settings_read_environment(&table, config, &error), -EINVAL);
	assert_says(&error, "environment variable ANNALTEST_NODE_ID: '' is no decimal number");
}

#define ARGUMENTS(...) ((char *[]){(char[]){"annald"}, __VA_ARGS__, NULL})
#define ARGUMENT(text) ((char[]){text})

static int read_arguments(struct config *config, char **argv, int *first_operand,
			  struct error *error)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	return settings_read_arguments(&table, config, argc, argv, first_operand, error);
}

static void flags_are_read_up_to_the_first_operand(void **state)
{
	struct config *config = *state;
	struct error error;
	int operand = 0;
	char **argv =
		ARGUMENTS(ARGUMENT("--node-id"), ARGUMENT("4"), ARGUMENT("--client-listen=a:1=b"),
			  ARGUMENT("--verify"), ARGUMENT("serve"), ARGUMENT("--unknown"));

	assert_int_equal(read_arguments(config, argv, &operand, &error), 0);
	assert_int_equal(config->node_id, 4);
	assert_string_equal(config->listen, "a:1=b");
	assert_true(config->verify);
	assert_int_equal(operand, 5);
}

static void two_dashes_end_the_flags(void **state)
{
	struct config *config = *state;
	struct error error;
	int operand = 0;

	assert_int_equal(read_arguments(config,
					ARGUMENTS(ARGUMENT("--verify"), ARGUMENT("--"),
						  ARGUMENT("--node-id")),
					&operand, &error),
			 0);
	assert_int_equal(operand, 3);
	assert_true(config->verify);
	assert_int_equal(read_arguments(config, ARGUMENTS(NULL), &operand, &error), 0);
	assert_int_equal(operand, 1);
	assert_int_equal(read_arguments(config, ARGUMENTS(ARGUMENT("-")), &operand, &error), 0);
	assert_int_equal(operand, 1);
}

static void a_truth_may_have_its_word_behind_it(void **state)
{
	struct config *config = *state;
	struct error error;
	int operand = 0;

	config->verify = true;
	assert_int_equal(read_arguments(config,
					ARGUMENTS(ARGUMENT("--verify"), ARGUMENT("off"),
						  ARGUMENT("--node-id=3")),
					&operand, &error),
			 0);
	assert_false(config->verify);
	assert_int_equal(config->node_id, 3);
	assert_int_equal(operand, 4);
}

static void bad_flags_are_named(void **state)
{
	static const struct {
		const char *first, *second;
		int status;
		const char *says;
	} cases[] = {
		{"--node-id", NULL, -EINVAL, "--node-id needs a value: ID"},
		{"--timeout-ms", NULL, -EINVAL, "--timeout-ms needs a value: NUMBER"},
		{"--config", NULL, -EINVAL, "--config needs a value: FILE"},
		{"--config", "/nonexistent", -ENOENT, "/nonexistent: No such file"},
		{"--node-id", "x", -EINVAL, "--node-id: 'x' is no decimal number"},
		{"--node-id=", NULL, -EINVAL, "--node-id: '' is no decimal number"},
		{"--nodeid=3", NULL, -ENOENT, "there is no setting 'nodeid'; near is 'node-id'"},
		{"--nodeid", "3", -ENOENT, "there is no setting 'nodeid'; near is 'node-id'"},
		{"--verify=maybe", NULL, -EINVAL, "--verify: 'maybe' is neither"},
		{"--=3", NULL, -ENOENT, "there is no setting ''"},
		{"-n", "3", -EINVAL, "'-n' is no flag: all begin with '--'"},
		{"--a-name-that-is-longer-than-any-name-of-a-setting-can-be", NULL, -ENOENT,
		 "there is no setting 'a-name-that-is"},
	};

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char first[80], second[80];
		char *argv[] = {first, first, NULL, NULL};
		int operand = 77;
		struct error error = {""};

		strcpy(first, cases[i].first);
		if (cases[i].second != NULL)
			argv[2] = strcpy(second, cases[i].second);
		assert_int_equal(read_arguments(*state, argv, &operand, &error), cases[i].status);
		assert_says(&error, cases[i].says);
		assert_int_equal(operand, 77);
	}
}

static void later_sources_win_whatever_the_order_of_flags(void **state)
{
	static const char text[] = "[node]\nnode-id = 2\nclient-listen = file:1\ntimeout-ms = 222\n"
				   "[store]\ntail-bytes = 2M\n";
	char path[] = "/tmp/test_settings.XXXXXX";
	struct config *config = *state;
	struct error error = {""};
	int operand, fd = mkstemp(path);

	assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
	close(fd);
	setenv("ANNALTEST_NODE_ID", "3", 1);
	setenv("ANNALTEST_CLIENT_LISTEN", "environment:1", 1);
	int status = read_arguments(
		config, ARGUMENTS(ARGUMENT("--node-id"), ARGUMENT("4"), ARGUMENT("--config"), path),
		&operand, &error);

	unlink(path);
	if (status != 0)
		fail_msg("%s", error.message);
	assert_int_equal(config->node_id, 4);                 /* flag */
	assert_string_equal(config->listen, "environment:1"); /* environment */
	assert_int_equal(config->timeout_ms, 222);            /* file */
	assert_int_equal(config->tail_bytes, 2 * MIB);        /* file */
	assert_string_equal(config->data_dir, "");            /* default */
}

/* ---- prose ---- */

static void help_fits_80_columns_and_tells_all(void **state)
{
	static const char *const parts[] = {"\n[node]\n  --node-id ID\n",
					    "\n[store]\n",
					    "  --client-listen HOST:PORT\n",
					    "  --tail-bytes BYTES\n",
					    "  --verify true|false\n",
					    "default 64M",
					    "required",
					    "from 4 KiB to 1",
					    "at least",
					    "ANNALTEST_TIMEOUT_MS",
					    "--config FILE"};
	struct buffer help;
	size_t column = 0;

	(void)state;
	buffer_init(&help);
	settings_print_help(&table, &help);
	for (size_t i = 0; i < help.size; i++) {
		column = help.data[i] == '\n' ? 0 : column + 1;
		assert_true(column <= 80);
	}
	buffer_append(&help, "", 1);
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		if (strstr((char *)help.data, parts[i]) == NULL)
			fail_msg("'%s' is not in: %s", parts[i], (char *)help.data);
	/* A section comes once, though the table comes back to it. */
	char *node = strstr((char *)help.data, "[node]\n");

	assert_null(strstr(node + 1, "[node]\n"));
	buffer_close(&help);
}

static void the_page_has_a_row_for_each_setting(void **state)
{
	struct buffer page;
	size_t table_rows = 0;

	(void)state;
	buffer_init(&page);
	settings_print_markdown(&table, &page);
	buffer_append(&page, "", 1);
	for (char *at = (char *)page.data; (at = strstr(at, "\n| `")) != NULL; at++)
		table_rows++;
	assert_int_equal(table_rows, COUNT_OF(rows));
	assert_non_null(
		strstr((char *)page.data,
		       "| `timeout-ms` | `5000` | from 0 to 60000 | "
		       "`ANNALTEST_TIMEOUT_MS` | Milliseconds \\| until a request ends. |"));
	buffer_close(&page);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(defaults_are_filled_in),
		TEST(numbers_of_bytes_take_units),
		TEST(truth_has_several_words),
		TEST(a_bad_value_is_refused_with_what_would_be_right),
		TEST(several_near_names_come_nearest_first),
		TEST(a_text_takes_1023_bytes),
		TEST(what_is_required_and_missing_is_named_with_the_ways_to_give_it),
		TEST(a_file_is_read),
		TEST(a_bad_line_is_named),
		TEST(a_line_of_198_bytes_is_taken_with_and_without_its_end),
		TEST(a_file_that_cannot_be_read_is_named),
		TEST(what_is_printed_as_a_file_is_read_back),
		TEST(the_environment_is_read),
		TEST(flags_are_read_up_to_the_first_operand),
		TEST(two_dashes_end_the_flags),
		TEST(a_truth_may_have_its_word_behind_it),
		TEST(bad_flags_are_named),
		TEST(later_sources_win_whatever_the_order_of_flags),
		TEST(help_fits_80_columns_and_tells_all),
		TEST(the_page_has_a_row_for_each_setting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
