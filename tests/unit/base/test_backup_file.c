#include "base/backup_inside.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/msgpack.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	char folder[64], path[96], partial[112];
};

static int make_place(void **state)
{
	struct place *place = memory_zeroed(1, sizeof *place);

	snprintf(place->folder, sizeof place->folder, "/tmp/annal-backup-XXXXXX");
	assert_non_null(mkdtemp(place->folder));
	snprintf(place->path, sizeof place->path, "%s/one", place->folder);
	snprintf(place->partial, sizeof place->partial, "%s.partial", place->path);
	*state = place;
	return 0;
}

static int leave_place(void **state)
{
	struct place *place = *state;

	unlink(place->path);
	unlink(place->partial);
	assert_int_equal(rmdir(place->folder), 0);
	memory_free(place);
	return 0;
}

/* ---- items, as the format tells of them ---- */

struct items {
	struct buffer bytes;
	uint64_t position, hash, records, holes;
};

static void add_record(struct items *items, size_t data_bytes, uint64_t *random)
{
	size_t start = items->bytes.size;
	uint8_t head[46] = {0x99, 0xcf, [10] = 0xcf, [19] = 0xcf, [28] = 0xc4, 0x10};
	uint8_t *data = memory_alloc(data_bytes);

	bytes_set_be64(head + 2, ++items->position);
	buffer_append(&items->bytes, head, sizeof head);
	for (size_t i = 0; i < data_bytes; i++)
		data[i] = (uint8_t)unit_random(random);
	msgpack_write_string(&items->bytes, "Stream-1");
	msgpack_write_string(&items->bytes, "type");
	msgpack_write_bin(&items->bytes, span_of(data, data_bytes));
	msgpack_write_bin(&items->bytes, span_of(data, 0));
	msgpack_write_array(&items->bytes, 1);
	msgpack_write_string(&items->bytes, "tag");
	memory_free(data);
	items->hash = checksum64_seeded(items->bytes.data + start, items->bytes.size - start,
					items->hash);
	items->records++;
}

static void add_hole(struct items *items, uint64_t positions, uint64_t after)
{
	msgpack_write_array(&items->bytes, 4);
	msgpack_write_u64(&items->bytes, items->position + 1);
	msgpack_write_u64(&items->bytes, items->position + positions);
	msgpack_write_u64(&items->bytes, items->hash);
	msgpack_write_u64(&items->bytes, after);
	items->position += positions;
	items->hash = after;
	items->holes++;
}

/* Some megabytes: several frames. */
static void make_items(struct items *items, uint32_t count, size_t data_bytes)
{
	uint64_t random = 7;

	*items = (struct items){0};
	buffer_init(&items->bytes);
	for (uint32_t i = 0; i < count; i++) {
		if (i % 10 == 5)
			add_hole(items, i, unit_random(&random));
		add_record(items, unit_random(&random) % (data_bytes + 1), &random);
	}
}

static struct backup_header header_of(const struct items *items)
{
	return (struct backup_header){.cluster_id = "0123456789abcde",
				      .node_id = 3,
				      .created = 1234567890123456789,
				      .position = items->position,
				      .last_created = -5,
				      .applied_index = 77,
				      .hash = items->hash};
}

static void write_file(const struct place *place, const struct items *items)
{
	struct backup_header header = header_of(items);
	struct backup_writer *writer;
	struct error error;

	assert_int_equal(backup_writer_open(&writer, place->path, &header, &error), 0);
	assert_int_equal(backup_writer_add(writer, buffer_span(&items->bytes), &error), 0);
	assert_int_equal(backup_writer_complete(writer, &error), 0);
	assert_int_not_equal(access(place->path, F_OK), 0);
	assert_int_equal(backup_writer_publish(writer, &error), 0);
	backup_writer_close(writer);
	assert_int_not_equal(access(place->partial, F_OK), 0);
}

static struct buffer load(const struct place *place)
{
	struct buffer bytes;
	struct stat stat;
	int file = open(place->path, O_RDONLY);

	buffer_init(&bytes);
	assert_int_equal(fstat(file, &stat), 0);
	ssize_t size =
		read(file, buffer_reserve(&bytes, (size_t)stat.st_size), (size_t)stat.st_size);
	assert_int_equal(size, stat.st_size);
	bytes.size = (size_t)size;
	close(file);
	return bytes;
}

static void save(const struct place *place, const struct buffer *bytes, size_t size)
{
	int file = open(place->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(file, bytes->data, size), size);
	close(file);
}

static int verify(const struct place *place, struct error *error)
{
	struct backup_report report;

	memset(error, 0, sizeof *error);
	return backup_file_verify(place->path, NULL, NULL, &report, error);
}

/* ---- tests ---- */

static void an_empty_store_is_a_header_and_a_trailer(void **state)
{
	struct place *place = *state;
	struct items items = {0};
	struct backup_report report;
	struct error error;

	write_file(place, &items);
	assert_int_equal(backup_file_verify(place->path, NULL, NULL, &report, &error), 0);
	assert_int_equal(report.frames + report.records + report.holes, 0);
	assert_int_equal(report.file_bytes, BACKUP_HEADER_BYTES + BACKUP_TRAILER_BYTES);
}

static void note_progress(void *arg, uint64_t bytes, uint64_t all)
{
	uint64_t *last = arg;

	assert_true(bytes > *last && bytes <= all);
	*last = bytes;
}

static void what_is_read_is_what_was_written(void **state)
{
	struct place *place = *state;
	struct backup_report report;
	struct backup_reader *reader;
	struct items items;
	struct buffer read;
	struct span part;
	struct error error;
	uint64_t seen = 0;

	make_items(&items, 3000, 6000);
	write_file(place, &items);
	struct backup_header header = header_of(&items);

	assert_int_equal(backup_file_verify(place->path, note_progress, &seen, &report, &error), 0);
	assert_memory_equal(&report.header, &header, sizeof header);
	assert_int_equal(report.records, items.records);
	assert_int_equal(report.holes, items.holes);
	assert_int_equal(report.content_bytes, items.bytes.size);
	assert_true(report.frames > 1 && seen == report.file_bytes);
	buffer_init(&read);
	assert_int_equal(backup_reader_open(&reader, place->path, &error), 0);
	do {
		assert_int_equal(backup_reader_next(reader, &part, &error), 0);
		buffer_append_span(&read, part);
	} while (part.size > 0);
	backup_reader_close(reader);
	assert_true(span_equal(buffer_span(&read), buffer_span(&items.bytes)));
	buffer_close(&read);
	buffer_close(&items.bytes);
}

static void only_its_owner_may_read_it(void **state)
{
	struct place *place = *state;
	struct items items = {0};
	struct stat stat_of;

	write_file(place, &items);
	assert_int_equal(stat(place->path, &stat_of), 0);
	assert_int_equal(stat_of.st_mode & 0777, 0600);
}

static void what_is_there_is_never_replaced(void **state)
{
	struct place *place = *state;
	struct items items = {0};
	struct backup_header header = header_of(&items);
	struct backup_writer *writer, *other;
	struct error error;

	assert_int_equal(backup_writer_open(&writer, place->path, &header, &error), 0);
	assert_int_equal(backup_writer_open(&other, place->path, &header, &error), -EEXIST);
	assert_non_null(strstr(error.message, ".partial"));
	assert_int_equal(backup_writer_complete(writer, &error), 0);
	struct buffer mine = {.data = (uint8_t[]){"mine"}};

	save(place, &mine, 4);
	assert_int_equal(backup_writer_publish(writer, &error), -EEXIST);
	backup_writer_close(writer);
	assert_int_not_equal(access(place->partial, F_OK), 0);
	mine = load(place);
	assert_true(span_equal_string(buffer_span(&mine), "mine"));
	buffer_close(&mine);
	assert_int_equal(backup_writer_open(&writer, place->path, &header, &error), -EEXIST);
	assert_non_null(strstr(error.message, place->path));
}

static void a_writer_that_ends_early_leaves_nothing(void **state)
{
	struct place *place = *state;
	struct backup_writer *writer;
	struct items items;
	struct error error;

	make_items(&items, 100, 100);
	struct backup_header header = header_of(&items);

	assert_int_equal(backup_writer_open(&writer, place->path, &header, &error), 0);
	assert_int_equal(access(place->partial, F_OK), 0);
	assert_int_equal(backup_writer_complete(writer, &error), -EBADMSG);
	backup_writer_close(writer);
	assert_int_not_equal(access(place->partial, F_OK), 0);
	assert_int_not_equal(access(place->path, F_OK), 0);
	buffer_close(&items.bytes);
}

static void items_that_do_not_follow_are_refused(void **state)
{
	struct place *place = *state;
	struct backup_header header = {.position = 9};
	struct backup_writer *writer;
	struct items first, second;
	struct error error;

	make_items(&first, 2, 10);
	make_items(&second, 1, 10);
	struct span bytes = buffer_span(&first.bytes);
	static const uint8_t wrong[][3] = {
		{0xc0}, {0x94, 1, 2}, {0x99}, {0xc1}, {0x91, 0x91, 0x91}};

	assert_int_equal(backup_writer_open(&writer, place->path, &header, &error), 0);
	assert_int_equal(backup_writer_add(writer, span_of(bytes.data, bytes.size - 1), &error),
			 -EBADMSG);
	assert_int_equal(backup_writer_add(writer, buffer_span(&second.bytes), &error), -EBADMSG);
	assert_non_null(strstr(error.message, "behind position 1 comes a record of position 1"));
	for (size_t i = 0; i < COUNT_OF(wrong); i++)
		assert_int_equal(backup_writer_add(writer, span_of(wrong[i], 3), &error), -EBADMSG);
	buffer_clear(&second.bytes);
	second.position = 2;
	add_hole(&second, 3, 4);
	assert_int_equal(backup_writer_add(writer, buffer_span(&second.bytes), &error), -EBADMSG);
	backup_writer_close(writer);
	buffer_close(&first.bytes);
	buffer_close(&second.bytes);
}

static void what_is_behind_the_position_wanted_is_left_out(void **state)
{
	struct place *place = *state;
	struct backup_writer *writer;
	struct items some, all;
	struct error error;

	make_items(&some, 30, 100);
	make_items(&all, 50, 100);
	struct backup_header header = header_of(&some);

	assert_int_equal(backup_writer_open(&writer, place->path, &header, &error), 0);
	assert_int_equal(backup_writer_add(writer, buffer_span(&all.bytes), &error), 0);
	assert_int_equal(backup_writer_position(writer), some.position);
	assert_int_equal(backup_writer_complete(writer, &error), 0);
	assert_int_equal(backup_writer_publish(writer, &error), 0);
	backup_writer_close(writer);
	assert_int_equal(verify(place, &error), 0);
	buffer_close(&some.bytes);
	buffer_close(&all.bytes);
}

static void every_flipped_bit_is_found_and_named(void **state)
{
	struct place *place = *state;
	struct items items;
	struct error error;

	make_items(&items, 40, 60);
	write_file(place, &items);
	struct buffer bytes = load(place);
	size_t trailer = bytes.size - BACKUP_TRAILER_BYTES;

	for (size_t bit = 0; bit < 8 * bytes.size; bit += 1 + bit % 3) {
		size_t at = bit / 8;

		bytes.data[at] ^= (uint8_t)(1u << bit % 8);
		save(place, &bytes, bytes.size);
		assert_int_equal(verify(place, &error), -EBADMSG);
		assert_non_null(strstr(error.message, place->path));
		if (at < 8)
			assert_non_null(strstr(error.message, "ANNALBK1"));
		else if (at < BACKUP_HEADER_BYTES)
			assert_non_null(strstr(error.message, "header is damaged"));
		else if (at < trailer)
			assert_non_null(strstr(error.message, "damaged in frame 1"));
		else if (at >= trailer + BACKUP_MAGIC_BYTES)
			assert_non_null(strstr(error.message, "trailer"));
		bytes.data[at] ^= (uint8_t)(1u << bit % 8);
	}
	save(place, &bytes, bytes.size);
	assert_int_equal(verify(place, &error), 0);
	buffer_close(&bytes);
	buffer_close(&items.bytes);
}

static void a_file_that_is_cut_off_says_so(void **state)
{
	struct place *place = *state;
	struct items items;
	struct error error;

	make_items(&items, 40, 60);
	write_file(place, &items);
	struct buffer bytes = load(place);

	for (size_t size = 0; size < bytes.size; size++) {
		save(place, &bytes, size);
		assert_int_equal(verify(place, &error), -EBADMSG);
		assert_non_null(strstr(error.message, "cut off"));
	}
	buffer_append(&bytes, "x", 1);
	save(place, &bytes, bytes.size);
	assert_int_equal(verify(place, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "behind its trailer"));
	buffer_close(&bytes);
	buffer_close(&items.bytes);
}

/* The places of the frames' headers, and of the trailer behind them. */
static uint32_t find_frames(const struct buffer *bytes, size_t at[], uint32_t max)
{
	uint32_t count = 0;

	at[0] = BACKUP_HEADER_BYTES;
	while (memcmp(bytes->data + at[count], BACKUP_FRAME_MAGIC, BACKUP_MAGIC_BYTES) == 0) {
		assert_true(count + 1 < max);
		at[count + 1] = at[count] + BACKUP_FRAME_HEADER_BYTES +
				bytes_le32(bytes->data + at[count] + 8);
		count++;
	}
	return count;
}

static void frames_cannot_be_left_out_or_change_places(void **state)
{
	struct place *place = *state;
	struct items items;
	struct error error;
	struct buffer other;
	size_t at[16];

	make_items(&items, 2500, 12000);
	write_file(place, &items);
	struct buffer bytes = load(place);
	uint32_t frames = find_frames(&bytes, at, COUNT_OF(at));

	assert_true(frames >= 3);
	for (uint32_t left_out = 0; left_out < frames; left_out++) {
		buffer_init(&other);
		buffer_append(&other, bytes.data, at[left_out]);
		buffer_append(&other, bytes.data + at[left_out + 1], bytes.size - at[left_out + 1]);
		save(place, &other, other.size);
		assert_int_equal(verify(place, &error), -EBADMSG);
		buffer_close(&other);
	}
	buffer_init(&other);
	buffer_append(&other, bytes.data, at[1]);
	buffer_append(&other, bytes.data + at[2], at[3] - at[2]);
	buffer_append(&other, bytes.data + at[1], at[2] - at[1]);
	buffer_append(&other, bytes.data + at[3], bytes.size - at[3]);
	save(place, &other, other.size);
	assert_int_equal(verify(place, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "frame 2"));
	buffer_close(&other);
	buffer_close(&bytes);
	buffer_close(&items.bytes);
}

/* With every checksum made right again: what is said must be believed nowhere. */
static void sizes_out_of_bounds_are_refused_before_memory_is_taken(void **state)
{
	static const uint32_t sizes[][2] = {
		{0, 1},       {1, 0}, {UINT32_MAX, 1}, {1, UINT32_MAX}, {20 << 20, 16 << 20},
		{9, 17 << 20}};
	struct place *place = *state;
	struct items items;
	struct error error;

	make_items(&items, 40, 60);
	write_file(place, &items);
	struct buffer bytes = load(place);
	uint64_t seed = bytes_le64(bytes.data + BACKUP_HEADER_BYTES - 8);

	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct backup_frame frame = {.number = 1,
					     .packed_bytes = sizes[i][0],
					     .content_bytes = sizes[i][1],
					     .position = 1};

		(void)backup_frame_encode(&frame, seed, bytes.data + BACKUP_HEADER_BYTES);
		save(place, &bytes, bytes.size);
		assert_int_equal(verify(place, &error), -EBADMSG);
		assert_non_null(strstr(error.message, "out of bounds"));
	}
	buffer_close(&bytes);
	buffer_close(&items.bytes);
}

static void what_is_no_file_is_refused(void **state)
{
	struct place *place = *state;
	struct backup_report report;
	struct error error;

	assert_int_equal(verify(place, &error), -ENOENT);
	assert_int_equal(backup_file_verify(place->folder, NULL, NULL, &report, &error), -EINVAL);
	assert_int_equal(backup_file_verify("/dev/null", NULL, NULL, &report, &error), -EINVAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, leave_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_empty_store_is_a_header_and_a_trailer),
		TEST(what_is_read_is_what_was_written),
		TEST(only_its_owner_may_read_it),
		TEST(what_is_there_is_never_replaced),
		TEST(a_writer_that_ends_early_leaves_nothing),
		TEST(items_that_do_not_follow_are_refused),
		TEST(what_is_behind_the_position_wanted_is_left_out),
		TEST(every_flipped_bit_is_found_and_named),
		TEST(a_file_that_is_cut_off_says_so),
		TEST(frames_cannot_be_left_out_or_change_places),
		TEST(sizes_out_of_bounds_are_refused_before_memory_is_taken),
		TEST(what_is_no_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
