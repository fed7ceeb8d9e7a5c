/*
 * A configuration file of any bytes is taken, or refused with a message that names file and line;
 * what is taken and printed as a file reads back as the same values.
 */
#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/settings.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct config {
	char listen[SETTING_TEXT_BYTES];
	char members[SETTING_TEXT_BYTES];
	uint64_t id;
	uint64_t bytes;
	bool verify;
};

static const struct setting rows[] = {
	{"node", "id", SETTING_U64, offsetof(struct config, id), "1", 1, 99, NULL, true, "Number."},
	{"node", "listen", SETTING_TEXT, offsetof(struct config, listen), "h:1", 0, 0, NULL, false,
	 "Address."},
	{"node", "members", SETTING_TEXT, offsetof(struct config, members), NULL, 0, 0, NULL, false,
	 "List."},
	{"store", "bytes", SETTING_BYTES, offsetof(struct config, bytes), "64M", 4096, 0, NULL,
	 false, "Size."},
	{"store", "verify", SETTING_BOOL, offsetof(struct config, verify), "no", 0, 0, NULL, false,
	 "Check."},
};

static const struct settings_table table = {rows, sizeof rows / sizeof rows[0], "FUZZ_"};

static int read_bytes(struct span bytes, struct config *config, struct error *error)
{
	char path[64];
	int fd = memfd_create("settings", MFD_CLOEXEC);

	ASSERT(fd >= 0);
	ASSERT(write(fd, bytes.data, bytes.size) == (ssize_t)bytes.size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	error->message[0] = '\0';
	int status = settings_read_file(&table, config, path, error);

	close(fd);
	ASSERT(status <= 0 && (status < 0) == (error->message[0] != '\0'));
	ASSERT(status == 0 || strncmp(error->message, path, strlen(path)) == 0);
	ASSERT(status == 0 || strstr(error->message, ": line ") != NULL);
	return status;
}

static void check_read_back(const struct config *config)
{
	struct config *again = memory_zeroed(1, sizeof *again);
	struct buffer text;
	struct error error;

	buffer_init(&text);
	settings_print_file(&table, config, &text);
	settings_set_defaults(&table, again);
	/* A value that no line may end within for two hundred bytes cannot be printed. */
	if (read_bytes(buffer_span(&text), again, &error) != 0)
		ASSERT(strstr(error.message, "longer than 198 bytes") != NULL);
	else
		ASSERT(strcmp(again->listen, config->listen) == 0 &&
		       strcmp(again->members, config->members) == 0 && again->id == config->id &&
		       again->bytes == config->bytes && again->verify == config->verify);
	buffer_close(&text);
	memory_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = memory_zeroed(1, sizeof *config);
	struct error error;

	settings_set_defaults(&table, config);
	if (read_bytes(span_of(data, size), config, &error) == 0) {
		ASSERT(config->id >= 1 && config->id <= 99 && config->bytes >= 4096);
		check_read_back(config);
	}
	memory_free(config);
	return 0;
}
