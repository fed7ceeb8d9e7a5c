/* Each part is cut out into a buffer of its own and handed to the parser of that part. */
#include "client/uri.h"

#include "base/assert.h"
#include "base/limits.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SCHEME "annal://"
#define SHAPE  "annal://HOST:PORT[,HOST:PORT...][?OPTION=VALUE[&...]]"

typedef int option_parse(struct uri *uri, const char *value, struct error *error);

static int parse_timeout(struct uri *uri, const char *value, struct error *error)
{
	char *end;

	errno = 0;
	unsigned long number = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number == 0 ||
	    number > LIMIT_TIMEOUT_MS_MAX)
		return error_set(error, -EINVAL,
				 "timeout_ms=%s: a number of milliseconds from 1 to %u is wanted",
				 value, LIMIT_TIMEOUT_MS_MAX);
	uri->timeout_ms = (uint32_t)number;
	return 0;
}

static int parse_read_from(struct uri *uri, const char *value, struct error *error)
{
	static const char *const names[] = {[URI_READ_FROM_LEADER] = "leader",
					    [URI_READ_FROM_FOLLOWER] = "follower",
					    [URI_READ_FROM_ANY] = "any"};

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(value, names[i]) == 0) {
			uri->read_from = (enum uri_read_from)i;
			return 0;
		}
	}
	return error_set(error, -EINVAL, "read_from=%s: leader, follower or any is wanted", value);
}

static int parse_switch(const char *name, bool *into, const char *value, struct error *error)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return error_set(error, -EINVAL, "%s=%s: on or off is wanted", name, value);
	*into = strcmp(value, "on") == 0;
	return 0;
}

static int parse_session(struct uri *uri, const char *value, struct error *error)
{
	return parse_switch("session", &uri->session, value, error);
}

static int parse_follow(struct uri *uri, const char *value, struct error *error)
{
	return parse_switch("follow", &uri->follow, value, error);
}

#define TEXT_OPTION(field)                                                                         \
	static int parse_##field(struct uri *uri, const char *value, struct error *error)          \
	{                                                                                          \
		(void)error;                                                                       \
		ASSERT(strlen(value) < sizeof uri->field);                                         \
		memcpy(uri->field, value, strlen(value) + 1);                                      \
		return 0;                                                                          \
	}
TEXT_OPTION(client)
TEXT_OPTION(user)
TEXT_OPTION(password)
TEXT_OPTION(token)

static const struct {
	const char *name;
	option_parse *parse;
} options[] = {
	{"timeout_ms", parse_timeout}, {"read_from", parse_read_from}, {"session", parse_session},
	{"follow", parse_follow},      {"client", parse_client},       {"user", parse_user},
	{"password", parse_password},  {"token", parse_token},
};

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* In place. A zero byte would end the value early: refused. */
static bool percent_decode(char *text)
{
	char *into = text;

	for (const char *at = text; *at != '\0'; at++) {
		if (*at != '%') {
			*into++ = *at;
			continue;
		}
		int high = hex_digit(at[1]);
		int low = high < 0 ? -1 : hex_digit(at[2]);

		if (low < 0 || high + low == 0)
			return false;
		*into++ = (char)(high * 16 + low);
		at += 2;
	}
	*into = '\0';
	return true;
}

static int parse_option(struct uri *uri, char *pair, struct error *error)
{
	char *value = strchr(pair, '=');

	if (value == NULL)
		return error_set(error, -EINVAL,
				 "option '%.100s' has no value: %.100s=... is wanted", pair, pair);
	*value++ = '\0';
	if (!percent_decode(value))
		return error_set(error, -EINVAL,
				 "%.100s=%.200s: behind each %% two hexadecimal digits are wanted, "
				 "not 00",
				 pair, value);
	for (unsigned i = 0; i < sizeof options / sizeof options[0]; i++)
		if (strcmp(pair, options[i].name) == 0)
			return options[i].parse(uri, value, error);
	return error_set(error, -EINVAL,
			 "there is no option '%.100s': timeout_ms, read_from, session, follow, "
			 "client, user, password and token exist",
			 pair);
}

/* Copy text[0…size) into part as a string; false when it is longer than any part may be. */
static bool cut(const char *text, size_t size, char part[URI_TEXT_BYTES + ADDRESS_TEXT_BYTES])
{
	if (size >= URI_TEXT_BYTES)
		return false;
	memcpy(part, text, size);
	part[size] = '\0';
	return true;
}

static int parse_options(struct uri *uri, const char *text, struct error *error)
{
	char part[URI_TEXT_BYTES + ADDRESS_TEXT_BYTES];

	while (*text != '\0') {
		size_t size = strcspn(text, "&");

		if (!cut(text, size, part))
			return error_set(error, -EINVAL,
					 "option '%.40s...' is longer than %d bytes", text,
					 URI_TEXT_BYTES - 1);
		int status = parse_option(uri, part, error);

		if (status != 0)
			return status;
		text += size + (text[size] == '&');
	}
	return 0;
}

static int parse_hosts(struct uri *uri, const char *text, size_t size, struct error *error)
{
	char part[URI_TEXT_BYTES + ADDRESS_TEXT_BYTES];
	const char *end = text + size;

	if (size == 0)
		return error_set(error, -EINVAL, "no HOST:PORT is in it: %s is wanted", SHAPE);
	for (;;) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		size_t length = (size_t)((comma == NULL ? end : comma) - text);

		if (uri->count == ANNAL_NODES_MAX)
			return error_set(error, -EINVAL, "more than %d addresses", ANNAL_NODES_MAX);
		if (!cut(text, length, part))
			return error_set(error, -EINVAL, "address '%.40s...' is too long", text);
		int status = address_parse(part, &uri->addresses[uri->count], error);

		if (status != 0)
			return status;
		if (uri->addresses[uri->count].port == 0)
			return error_set(
				error, -EINVAL,
				"'%s': port 0 cannot be connected to: 1 to 65535 is wanted", part);
		uri->count++;
		if (comma == NULL)
			return 0;
		text = comma + 1;
	}
}

int uri_parse(const char *text, struct uri *uri, struct error *error)
{
	struct uri parsed = {
		.timeout_ms = LIMIT_TIMEOUT_MS_DEFAULT, .session = true, .follow = true};
	size_t scheme = strlen(SCHEME);
	int address = (int)strcspn(text, "?");

	ASSERT(text != NULL && uri != NULL);
	snprintf(parsed.client, sizeof parsed.client, "libannal");
	if (strncasecmp(text, SCHEME, scheme) != 0)
		return error_set(error, -EINVAL, "'%.*s' is no address of a cluster: %s is wanted",
				 address < 200 ? address : 200, text, SHAPE);
	const char *hosts = text + scheme;
	size_t hosts_size = strcspn(hosts, "/?");
	const char *rest = hosts + hosts_size;
	int status = parse_hosts(&parsed, hosts, hosts_size, error);

	if (status == 0 && *rest == '/')
		rest++;
	if (status == 0 && *rest != '\0' && *rest != '?')
		status = error_set(error, -EINVAL, "'/%.100s' behind the addresses: %s is wanted",
				   rest, SHAPE);
	if (status == 0 && *rest == '?')
		status = parse_options(&parsed, rest + 1, error);
	if (status != 0) {
		error_prefix(error, "URL");
		return status;
	}
	*uri = parsed;
	return 0;
}
