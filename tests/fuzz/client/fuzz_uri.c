/*
 * Any text as the address of a cluster: refused with a message that names it, or taken; what is taken
 * and written again from its parts is taken as the same. The same of a single HOST:PORT.
 */
#include "base/assert.h"
#include "base/buffer.h"
#include "base/limits.h"
#include "base/memory.h"
#include "client/uri.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append_text(struct buffer *into, const char *text)
{
	buffer_append(into, text, strlen(text));
}

/* Every byte of the value as %XX. */
static void append_option(struct buffer *into, const char *name, const char *value)
{
	char coded[4];

	append_text(into, "&");
	append_text(into, name);
	append_text(into, "=");
	for (; *value != '\0'; value++) {
		snprintf(coded, sizeof coded, "%%%02x", (unsigned)(unsigned char)*value);
		append_text(into, coded);
	}
}

static void write_again(const struct uri *uri, struct buffer *into)
{
	static const char *const places[] = {"leader", "follower", "any"};
	char text[ADDRESS_TEXT_BYTES + 32];

	append_text(into, "ANNAL://");
	for (uint32_t i = 0; i < uri->count; i++) {
		address_format(&uri->addresses[i], text);
		append_text(into, i > 0 ? "," : "");
		append_text(into, text);
	}
	snprintf(text, sizeof text, "/?timeout_ms=%u", uri->timeout_ms);
	append_text(into, text);
	append_option(into, "read_from", places[uri->read_from]);
	append_option(into, "session", uri->session ? "on" : "off");
	append_option(into, "follow", uri->follow ? "on" : "off");
	append_option(into, "client", uri->client);
	append_option(into, "user", uri->user);
	append_option(into, "password", uri->password);
	append_option(into, "token", uri->token);
	buffer_append(into, "", 1);
}

/* Coded, it may be longer than an option may be. */
static bool is_short(const struct uri *uri)
{
	const size_t most = (URI_TEXT_BYTES - sizeof "password=") / 3;

	return strlen(uri->client) < most && strlen(uri->user) < most &&
	       strlen(uri->password) < most && strlen(uri->token) < most;
}

static void check_same(const struct uri *uri, const struct uri *again)
{
	ASSERT(again->count == uri->count && again->read_from == uri->read_from);
	ASSERT(again->timeout_ms == uri->timeout_ms && again->session == uri->session);
	ASSERT(again->follow == uri->follow && strcmp(again->client, uri->client) == 0);
	ASSERT(strcmp(again->user, uri->user) == 0 && strcmp(again->token, uri->token) == 0);
	ASSERT(strcmp(again->password, uri->password) == 0);
	for (uint32_t i = 0; i < uri->count; i++)
		ASSERT(strcmp(again->addresses[i].host, uri->addresses[i].host) == 0 &&
		       again->addresses[i].port == uri->addresses[i].port);
}

static void check_uri(const char *text)
{
	struct error error = {{0}};
	struct uri uri, again;
	struct buffer bytes;

	if (uri_parse(text, &uri, &error) != 0) {
		ASSERT(strstr(error.message, "URL") != NULL ||
		       strstr(error.message, "is wanted") != NULL);
		return;
	}
	ASSERT(uri.count >= 1 && uri.count <= ANNAL_NODES_MAX);
	ASSERT(uri.timeout_ms >= 1 && uri.timeout_ms <= LIMIT_TIMEOUT_MS_MAX);
	if (!is_short(&uri))
		return;
	buffer_init(&bytes);
	write_again(&uri, &bytes);
	ASSERT(uri_parse((const char *)bytes.data, &again, &error) == 0);
	check_same(&uri, &again);
	buffer_close(&bytes);
}

static void check_address(const char *text)
{
	char formatted[ADDRESS_TEXT_BYTES];
	struct address address, again;
	struct error error = {{0}};

	if (address_parse(text, &address, &error) != 0) {
		ASSERT(strstr(error.message, "is wanted") != NULL);
		return;
	}
	address_format(&address, formatted);
	ASSERT(address_parse(formatted, &again, &error) == 0);
	ASSERT(strcmp(again.host, address.host) == 0 && again.port == address.port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = memory_alloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check_uri(text);
	check_address(text);
	memory_free(text);
	return 0;
}
