/*
 * Answers as structs. Nothing that a node sends is trusted: a message comes from a scanner that has
 * bounded it, every value is checked for its type, and every count against what there is and what a
 * node may answer at most, so that memory stays in proportion to what the protocol allows. Functions
 * return false for an answer that is not one; out-parameters may be half filled then. Everything
 * decoded points into the bytes given.
 */
#ifndef CLIENT_DECODE_H
#define CLIENT_DECODE_H

#include "base/msgpack.h"
#include "client/annal.h"

/* ---- messages ---- */

enum decode_kind { DECODE_RESPONSE, DECODE_NOTIFICATION };

struct decode_message {
	enum decode_kind kind;
	uint32_t msgid;     /* of a response */
	bool failed;        /* of a response: `body` is the error */
	struct span method; /* of a notification */
	struct span body;   /* one value: result, error, or the array of parameters */
};

/* `bytes` are exactly one value, as a scanner found it. */
bool decode_message(struct span bytes, struct decode_message *message);

/* ---- maps ---- */

enum decode_type {
	DECODE_U64,    /* uint64_t */
	DECODE_I64,    /* int64_t */
	DECODE_BOOL,   /* bool */
	DECODE_TEXT,   /* struct annal_bytes, from str */
	DECODE_BIN,    /* struct annal_bytes, from bin or str */
	DECODE_RAW,    /* struct span: the value's bytes, whatever it is */
	DECODE_EVENTS, /* struct decode_events: emptied before, and `found` */
};

struct decode_field {
	const char *name;
	enum decode_type type;
	void *into; /* untouched when the map does not have it, or has nil */
};

/* Unknown keys are passed over. */
bool decode_fields(struct span map, const struct decode_field *fields, size_t count);
#define DECODE_FIELDS(map, fields) decode_fields(map, fields, sizeof(fields) / sizeof((fields)[0]))

/* ---- events ---- */

struct decode_events {
	struct annal_event *events;
	size_t count, capacity;
	struct annal_bytes *tags; /* of all events, one after the other */
	size_t tags_count, tags_capacity;
	bool found; /* by decode_fields */
};

void decode_events_init(struct decode_events *events);
void decode_events_close(struct decode_events *events);
/* Replace what is in it by the events of a msgpack array. */
bool decode_events(struct span array, struct decode_events *events);
/* One event, into a list that is emptied before. */
bool decode_event(struct span event, struct decode_events *events);

/* ---- answers ---- */

/* Room for item number `count` in an array that doubles. */
void *decode_make_room(void *items, size_t count, size_t *capacity, size_t item_size);

struct decode_versions {
	struct annal_stream_version *items;
	size_t capacity;
};

/* Without events there are no positions. */
bool decode_append_result(struct span map, bool has_events, struct annal_append_result *result,
			  struct decode_versions *versions);

/* An error with the memory behind it. */
struct decode_error {
	struct annal_error public;
	struct buffer raw;
	struct annal_violation *violations;
	size_t violations_capacity;
	struct decode_events events;
};

void decode_error_init(struct decode_error *error);
void decode_error_close(struct decode_error *error);
void decode_error_clear(struct decode_error *error);
/* Take in the error of a response, copying its bytes. */
bool decode_error(struct span map, struct decode_error *error);
/* One of the client's own making. */
void decode_error_set(struct decode_error *error, enum annal_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ANNAL_UNKNOWN_ERROR for a name that this version does not know. */
enum annal_code decode_code(struct annal_bytes name);

static inline struct annal_bytes decode_bytes(struct span span)
{
	return (struct annal_bytes){span.data, span.size};
}

static inline struct span decode_span(struct annal_bytes bytes)
{
	return span_of(bytes.data, bytes.size);
}

#endif
