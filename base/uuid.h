/* Event ids: UUIDs of 16 bytes. New ones are version 7 (RFC 9562: milliseconds, then a counter,
 * then random). */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#define UUID_BYTES      16
#define UUID_TEXT_BYTES 37 /* with the closing zero */

/* Ids drawn by one thread are strictly increasing. Any thread. */
void uuid7_generate(uint8_t id[UUID_BYTES]);
void uuid_format(const uint8_t id[UUID_BYTES], char text[UUID_TEXT_BYTES]);
/* 8-4-4-4-12 hexadecimal digits, either case; false (id untouched) for anything else. */
bool uuid_parse(const char *text, uint8_t id[UUID_BYTES]);

#endif
