#include "base/address.h"

#include "base/assert.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WANTED "HOST:PORT, like db1.example:7001, 10.0.0.1:7001 or [::1]:7001, is wanted"

static int refuse(struct error *error, const char *text, const char *problem)
{
	return error_set(error, -EINVAL, "'%.300s' is no address: %s; " WANTED, text, problem);
}

static bool parse_port(const char *text, uint16_t *port)
{
	uint32_t value = 0;
	size_t digits = strlen(text);

	if (digits == 0 || digits > 5)
		return false;
	for (size_t i = 0; i < digits; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(text[i] - '0');
	}
	if (value > UINT16_MAX)
		return false;
	*port = (uint16_t)value;
	return true;
}

/* Letters, digits and -._ as names and IPv4 addresses have them. */
static bool is_name(const char *host)
{
	for (const char *at = host; *at != '\0'; at++)
		if (!isascii(*at) || (!isalnum((unsigned char)*at) && strchr("-._", *at) == NULL))
			return false;
	return true;
}

/* A scope (fe80::1%eth0) is left to the resolver. */
static bool is_ipv6(const char *host)
{
	char bare[INET6_ADDRSTRLEN];
	struct in6_addr parsed;
	size_t size = strcspn(host, "%");

	if (size >= sizeof bare || (host[size] == '%' && !is_name(host + size + 1)))
		return false;
	memcpy(bare, host, size);
	bare[size] = '\0';
	return inet_pton(AF_INET6, bare, &parsed) == 1;
}

int address_parse(const char *text, struct address *address, struct error *error)
{
	struct address parsed = {0};
	const char *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[';

	ASSERT(address != NULL);
	if (colon == NULL)
		return refuse(error, text, "the port is missing");
	const char *host = bracketed ? text + 1 : text;
	const char *host_end = bracketed ? colon - 1 : colon;

	if (bracketed && (host_end < host || *host_end != ']'))
		return refuse(error, text, "the bracket is not closed before the port");
	if (host_end == host)
		return refuse(error, text, "the host is empty");
	if ((size_t)(host_end - host) >= sizeof parsed.host)
		return refuse(error, text, "the host is longer than 255 bytes");
	memcpy(parsed.host, host, (size_t)(host_end - host));
	if (bracketed && !is_ipv6(parsed.host))
		return refuse(error, text, "no IPv6 address stands between the brackets");
	if (!bracketed && strchr(parsed.host, ':') != NULL)
		return refuse(error, text, "an IPv6 address needs brackets");
	if (!bracketed && !is_name(parsed.host))
		return refuse(error, text, "the host has characters that no name has");
	if (!parse_port(colon + 1, &parsed.port))
		return refuse(error, text, "the port is no number from 0 to 65535");
	*address = parsed;
	return 0;
}

void address_format(const struct address *address, char text[ADDRESS_TEXT_BYTES])
{
	bool brackets = strchr(address->host, ':') != NULL;
	int size = snprintf(text, ADDRESS_TEXT_BYTES, brackets ? "[%s]:%u" : "%s:%u", address->host,
			    (unsigned)address->port);

	ASSERT(size > 0 && size < ADDRESS_TEXT_BYTES);
}

const char *address_resolve_error(int status)
{
	ASSERT(status != 0);
	return status == EAI_SYSTEM ? strerror(errno) : gai_strerror(status);
}
