/*
 * annald: one node in a process.
 *
 *   exit code   0 stopped as asked        3 data folder unreadable, in use, or somebody else's
 *               1 usage, configuration    4 the data is damaged
 *               2 port cannot be had      5 the data is of another cluster or node
 *              70 out of memory          71 stopped by an error it cannot go on after
 *             130 ended by a second signal
 */
#include "base/memory.h"
#include "node/memory_bound.h"
#include "node/node.h"
#include "node/recover.h"
#include "node/restore.h"
#include "node/stats.h"
#include "node/verify.h"
#include "raft/libraft.h"
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define MMAP_BYTES  (512 * 1024)
#define ARENAS      4
#define THREAD_POOL "8" /* writes of the raft log, names that are resolved */

static const char usage[] =
	"Usage: annald [--config FILE] [--SETTING VALUE]...\n"
	"       annald verify DIR            check the data of a node that does not run\n"
	"       annald restore FILE --data DIR [--join] [--SETTING VALUE]...\n"
	"                                    make the data of a node from a backup\n"
	"       annald recover --data DIR [--inspect | --accept-loss] [--SETTING VALUE]...\n"
	"                                    go on with one node when most are gone for good\n"
	"       annald verify|restore|recover --help\n"
	"       annald --version | --help | --print-settings-markdown | --print-stats-markdown\n"
	"\n"
	"Runs a node of an annal cluster until SIGTERM or SIGINT. Every setting can be given in "
	"the\n"
	"configuration file, as an environment variable, and as a flag; the last of them counts.\n"
	"\n";

static const char exit_codes[] = "\n"
				 "Exit codes: 0 stopped as asked; 1 usage or configuration; 2 a "
				 "port cannot be had; 3 the data\n"
				 "folder is unreadable, in use, or somebody else's; 4 the data is "
				 "damaged; 5 the data is of\n"
				 "another cluster or node; 70 out of memory; 71 an error it cannot "
				 "go on after; 130 a second\n"
				 "signal.\n";

static int print(struct buffer *text)
{
	bool written =
		fwrite(text->data, 1, text->size, stdout) == text->size && fflush(stdout) == 0;

	buffer_close(text);
	return written ? NODE_EXIT_OK : NODE_EXIT_USAGE;
}

static int print_help(void)
{
	struct buffer text;

	buffer_init(&text);
	buffer_append(&text, usage, sizeof usage - 1);
	settings_print_help(&node_settings_table, &text);
	buffer_append(&text, exit_codes, sizeof exit_codes - 1);
	return print(&text);
}

/* What is done without running a node. */
static bool handle_command(int argc, char **argv, int *code)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{"verify", verify_command},
		{"restore", restore_command},
		{"recover", recover_command},
	};

	for (size_t i = 0; argc >= 2 && i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		*code = commands[i].run(argc - 2, argv + 2);
		return true;
	}
	return false;
}

/* docs/settings.md. */
static void print_settings(struct buffer *into)
{
	struct node_settings *settings = memory_zeroed(1, sizeof *settings);

	settings_print_markdown(&node_settings_table, into);
	settings_set_defaults(&node_settings_table, settings);
	buffer_append(into, "\n", 1);
	memory_bound_print_markdown(settings, into);
	memory_free(settings);
}

/* What only prints something, or is a command; false: run a node. */
static bool handle_words(int argc, char **argv, int *code)
{
	struct buffer text;

	if (handle_command(argc, argv, code))
		return true;
	buffer_init(&text);
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			*code = print_help();
			return true;
		}
		if (strcmp(argv[i], "--version") == 0) {
			buffer_append(&text, "annald " ANNAL_VERSION "\n",
				      strlen("annald " ANNAL_VERSION "\n"));
		} else if (strcmp(argv[i], "--print-settings-markdown") == 0) {
			print_settings(&text);
		} else if (strcmp(argv[i], "--print-stats-markdown") == 0) {
			stats_print_markdown(&text);
		} else {
			continue;
		}
		*code = print(&text);
		return true;
	}
	return false;
}

static int complain(int code, const struct error *error)
{
	fprintf(stderr, "annald: %s\n", error->message);
	return code;
}

static int read_settings(int argc, char **argv, struct node_settings *settings, struct error *error)
{
	int first_operand;

	settings_set_defaults(&node_settings_table, settings);
	int status = settings_read_arguments(&node_settings_table, settings, argc, argv,
					     &first_operand, error);

	if (status != 0)
		return status;
	if (first_operand < argc)
		return error_set(error, -1,
				 "\"%.100s\" is neither a setting nor a command: see annald --help",
				 argv[first_operand]);
	return node_settings_prepare(settings, error);
}

/* Before libuv starts, and before any thread. */
static void prepare_process(void)
{
	struct rlimit files;

	/* Pages and large messages go back to the system when they are freed: left alone, glibc raises
	 * the bound up to 32 MiB and keeps what was freed in one arena for each thread. */
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	(void)mallopt(M_ARENA_MAX, ARENAS);
	signal(SIGPIPE, SIG_IGN);
	libraft_prepare();
	setenv("UV_THREADPOOL_SIZE", THREAD_POOL, 0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int main(int argc, char **argv)
{
	struct node_settings settings = {0};
	struct node *node;
	struct error error;
	int code;

	prepare_process();
	if (handle_words(argc, argv, &code))
		return code;
	if (read_settings(argc, argv, &settings, &error) != 0)
		return complain(NODE_EXIT_USAGE, &error);
	log_set_level(settings.level);
	log_set_node(settings.node_id);
	code = (int)node_start(&node, &settings, &error);
	if (code != NODE_EXIT_OK)
		return complain(code, &error);
	node_stop_on_signals(node);
	node_run(node);
	return NODE_EXIT_OK;
}
