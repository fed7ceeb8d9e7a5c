/* `host:port` as text: a name or IPv4 address, or an IPv6 address in brackets. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include "base/error.h"
#include <stdint.h>

#define ADDRESS_HOST_BYTES 256
#define ADDRESS_TEXT_BYTES 272

struct address {
	char host[ADDRESS_HOST_BYTES]; /* without brackets */
	uint16_t port;
};

/*
 * 0, or -EINVAL with a message that shows what was given and what is wanted. Port 0 is let through:
 * it asks for any free port to listen on.
 */
int address_parse(const char *text, struct address *address, struct error *error);
/* Why getaddrinfo failed, right after it did. */
const char *address_resolve_error(int status);
void address_format(const struct address *address, char text[ADDRESS_TEXT_BYTES]);

#endif
