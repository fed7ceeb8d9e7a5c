#include "node/verify.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/settings.h"
#include "node/command.h"
#include "node/node.h"
#include "storage/verify.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static int complain(enum node_exit code, const char *message)
{
	fprintf(stderr, "annald: %s\n", message);
	return (int)code;
}

static void print_report(const char *path, const struct verify_report *report)
{
	uint64_t described = report->problem_count < VERIFY_PROBLEMS_MAX ? report->problem_count
									 : VERIFY_PROBLEMS_MAX;

	printf("%s: %" PRIu64 " records (%" PRIu64 " bytes), %" PRIu64 " events in %" PRIu64
	       " streams, %" PRIu64 " blocks\n",
	       path, report->records, report->record_bytes, report->events, report->streams,
	       report->blocks);
	printf("position %" PRIu64 ", applied index %" PRIu64 ", hash %016" PRIx64 "%s\n",
	       report->position, report->applied_index, report->hash,
	       report->ingesting ? ", in the middle of catching up" : "");
	if (report->holes > 0)
		printf("%" PRIu64 " superseded checkpoints were dropped, in %" PRIu64 " holes\n",
		       report->dropped, report->holes);
	for (uint64_t i = 0; i < described; i++)
		printf("damaged: %s\n", report->problems[i]);
	if (report->problem_count > described)
		printf("and %" PRIu64 " more\n", report->problem_count - described);
	printf(report->problem_count == 0 ? "whole\n"
					  : "NOT whole: empty the folder and add the node again "
					    "under a new id; the others bring its data back\n");
}

static const char usage[] =
	"usage: annald verify DIR\n"
	"Checks every record, index and hash in the data folder DIR of a node that does not run.";

int verify_command(int argc, char **argv)
{
	char path[SETTING_TEXT_BYTES];
	const struct kv_lmdb_options options = {.path = path, .read_only = true};
	const struct verify_options verify = {0};
	struct error error;
	struct kv *kv;

	if (command_help(argc, argv, usage))
		return NODE_EXIT_OK;
	if (argc != 1 || argv[0][0] == '-')
		return complain(NODE_EXIT_USAGE, usage);
	if (snprintf(path, sizeof path, "%s/store", argv[0]) >= (int)sizeof path)
		return complain(NODE_EXIT_USAGE, "the name of the folder is too long");
	int status = kv_lmdb_open(&kv, &options, &error);

	if (status != 0)
		return complain(status == -EBADMSG ? NODE_EXIT_DAMAGE : NODE_EXIT_DIRECTORY,
				error.message);
	struct verify_report *report = memory_zeroed(1, sizeof *report);

	status = verify_store(kv, &verify, report, &error);
	kv_close(kv);
	bool whole = status == 0 && report->problem_count == 0;

	if (status == 0)
		print_report(argv[0], report);
	memory_free(report);
	if (status != 0)
		return complain(status == -EBADMSG ? NODE_EXIT_DAMAGE : NODE_EXIT_DIRECTORY,
				error.message);
	return whole ? NODE_EXIT_OK : NODE_EXIT_DAMAGE;
}
