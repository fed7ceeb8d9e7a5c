#include "node/arguments.h"

#include "base/assert.h"

/* A key that is no string is nobody's argument: its name is empty. */
static bool read_pair(struct msgpack_reader *reader, struct span *name, struct span *value)
{
	if (!msgpack_read_str(reader, name)) {
		*name = span_of(reader->at, 0);
		if (!msgpack_read_skip(reader))
			return false;
	}
	return msgpack_read_raw(reader, value);
}

bool arguments_index(struct arguments *arguments, struct span map)
{
	struct msgpack_reader reader = msgpack_reader_of(map);
	struct span name, value;

	ASSERT(map.size <= UINT32_MAX);
	arguments->map = map;
	arguments->pairs = 0;
	arguments->indexed = 0;
	if (!msgpack_read_map(&reader, &arguments->pairs) || arguments->pairs > ARGUMENTS_MAX)
		return false;
	while (arguments->indexed < arguments->pairs) {
		if (!read_pair(&reader, &name, &value)) {
			arguments->pairs = arguments->indexed = 0;
			return false;
		}
		arguments->places[arguments->indexed++] = (struct argument_place){
			.name_at = (uint32_t)(name.data - map.data),
			.name_size = (uint32_t)name.size,
			.value_at = (uint32_t)(value.data - map.data),
			.value_size = (uint32_t)value.size,
		};
	}
	return true;
}

bool arguments_find(const struct arguments *arguments, const char *name, struct span *value)
{
	struct span wanted = span_of_string(name);

	ASSERT(wanted.size > 0);
	for (uint32_t i = arguments->indexed; i-- > 0;) {
		const struct argument_place *place = &arguments->places[i];
		struct span found = {arguments->map.data + place->name_at, place->name_size};

		if (!span_equal(found, wanted))
			continue;
		struct span last = {arguments->map.data + place->value_at, place->value_size};
		struct msgpack_reader reader = msgpack_reader_of(last);

		if (msgpack_read_nil(&reader))
			return false;
		*value = last;
		return true;
	}
	return false;
}
