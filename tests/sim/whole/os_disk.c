/*
 * The files of a host. Each has two images: what a read finds, and what a power cut leaves. A sync copies the
 * first to the second where they differ. Names have a journal of their own: a sync of any file or directory
 * writes it out whole, a power cut keeps a beginning of it (as journaling file systems do).
 *
 * A power cut decides for each sector that was written and not synced whether it is on the disk. A sector
 * is never torn.
 */
#include "tests/sim/whole/os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENTRIES_MAX  512
#define PATH_BYTES   160
#define SECTOR_BYTES 512
#define JOURNAL_MAX  4096

struct os_inode {
	bool directory, locked;
	unsigned names, opened;
	struct buffer now, durable;
	struct buffer dirty; /* a byte for each sector: 1 differs */
	uint8_t *mapped;     /* a part that the process sees as memory; NULL: none */
	size_t mapped_at, mapped_size;
	struct os_inode *next;
};

struct entry {
	char path[PATH_BYTES];
	struct os_inode *inode; /* NULL: free */
};

enum change { CHANGE_MAKE, CHANGE_REMOVE, CHANGE_RENAME };

struct journal {
	enum change change;
	char path[PATH_BYTES], to[PATH_BYTES];
	struct os_inode *inode;
};

struct os_write {
	struct os_write *next;
	struct os_disk *disk;
	struct os_inode *inode;
	uint64_t at;
	size_t size;
	bool lost; /* the power went, and it with it */
	uint8_t bytes[];
};

struct os_disk {
	struct entry now[ENTRIES_MAX], durable[ENTRIES_MAX];
	struct journal journal[JOURNAL_MAX]; /* what leads from durable to now */
	unsigned journal_count;
	struct os_inode *inodes;
	struct os_write *writes;
	uint64_t slow_ns;
	bool fails, full;
};

struct os_disk *os_disk_new(void)
{
	return memory_zeroed(1, sizeof(struct os_disk));
}

/* ---- how long it takes ---- */

void os_disk_slow(struct os_disk *disk, uint64_t ns)
{
	disk->slow_ns = ns;
}

uint64_t os_disk_draw_delay(struct os_disk *disk)
{
	uint64_t ns = os_between(os.profile.disk_low_ns, os.profile.disk_high_ns);

	if (disk->slow_ns > 0) {
		os.counters.slow_writes++;
		ns += os_between(disk->slow_ns / 2, disk->slow_ns);
	}
	return ns;
}

void os_disk_delay(struct os_disk *disk)
{
	os_sleep(os_disk_draw_delay(disk));
}

/* ---- when it fails ---- */

void os_disk_fail(struct os_disk *disk, bool fails)
{
	disk->fails = fails;
}

void os_disk_fill(struct os_disk *disk, bool full)
{
	disk->full = full;
}

bool os_disk_is_full(const struct os_disk *disk)
{
	return disk->full;
}

int os_disk_problem(struct os_disk *disk, bool needs_room)
{
	if (disk->fails) {
		disk->fails = false;
		os.counters.failed_writes++;
		return EIO;
	}
	if (!disk->full || !needs_room)
		return 0;
	os.counters.refused_writes++;
	return ENOSPC;
}

/* ---- names ---- */

static struct entry *find(struct entry *entries, const char *path)
{
	for (unsigned i = 0; i < ENTRIES_MAX; i++)
		if (entries[i].inode != NULL && strcmp(entries[i].path, path) == 0)
			return &entries[i];
	return NULL;
}

static void put(struct entry *entries, const char *path, struct os_inode *inode)
{
	struct entry *entry = find(entries, path);

	for (unsigned i = 0; entry == NULL && i < ENTRIES_MAX; i++)
		if (entries[i].inode == NULL)
			entry = &entries[i];
	ASSERT(entry != NULL && strlen(path) < PATH_BYTES);
	snprintf(entry->path, sizeof entry->path, "%s", path);
	entry->inode = inode;
}

static void apply(struct entry *entries, const struct journal *change)
{
	struct entry *entry = find(entries, change->path);

	if (change->change == CHANGE_MAKE) {
		put(entries, change->path, change->inode);
		return;
	}
	ASSERT(entry != NULL);
	entry->inode = NULL;
	if (change->change == CHANGE_RENAME)
		put(entries, change->to, change->inode);
}

static void change(struct os_disk *disk, enum change kind, const char *path, const char *to,
		   struct os_inode *inode)
{
	ASSERT(disk->journal_count < JOURNAL_MAX);
	struct journal *journal = &disk->journal[disk->journal_count++];

	*journal = (struct journal){.change = kind, .inode = inode};
	snprintf(journal->path, sizeof journal->path, "%s", path);
	snprintf(journal->to, sizeof journal->to, "%s", to);
	apply(disk->now, journal);
}

struct os_inode *os_disk_find(struct os_disk *disk, const char *path)
{
	struct entry *entry = find(disk->now, path);

	return entry == NULL ? NULL : entry->inode;
}

struct os_inode *os_disk_make(struct os_disk *disk, const char *path, bool directory)
{
	struct os_inode *inode = memory_zeroed(1, sizeof *inode);

	inode->directory = directory;
	buffer_init(&inode->now);
	buffer_init(&inode->durable);
	buffer_init(&inode->dirty);
	inode->next = disk->inodes;
	disk->inodes = inode;
	change(disk, CHANGE_MAKE, path, "", inode);
	return inode;
}

bool os_disk_remove(struct os_disk *disk, const char *path)
{
	struct entry *entry = find(disk->now, path);

	if (entry == NULL)
		return false;
	change(disk, CHANGE_REMOVE, path, "", entry->inode);
	return true;
}

bool os_disk_rename(struct os_disk *disk, const char *from, const char *to)
{
	struct entry *entry = find(disk->now, from);

	if (entry == NULL)
		return false;
	change(disk, CHANGE_RENAME, from, to, entry->inode);
	return true;
}

const char *os_disk_list(struct os_disk *disk, const char *directory, unsigned *cursor)
{
	size_t size = strlen(directory);

	while (*cursor < ENTRIES_MAX) {
		const struct entry *entry = &disk->now[(*cursor)++];

		if (entry->inode == NULL || strncmp(entry->path, directory, size) != 0 ||
		    entry->path[size] != '/' || strchr(entry->path + size + 1, '/') != NULL)
			continue;
		return entry->path + size + 1;
	}
	return NULL;
}

/* What no name leads to, and nobody has open, is gone. */
static void forget_inodes(struct os_disk *disk)
{
	for (struct os_inode *inode = disk->inodes; inode != NULL; inode = inode->next)
		inode->names = 0;
	for (unsigned i = 0; i < ENTRIES_MAX; i++) {
		if (disk->now[i].inode != NULL)
			disk->now[i].inode->names++;
		if (disk->durable[i].inode != NULL)
			disk->durable[i].inode->names++;
	}
	for (struct os_inode **at = &disk->inodes; *at != NULL;) {
		struct os_inode *inode = *at;

		if (inode->names > 0 || inode->opened > 0) {
			at = &inode->next;
			continue;
		}
		*at = inode->next;
		buffer_close(&inode->now);
		buffer_close(&inode->durable);
		buffer_close(&inode->dirty);
		memory_free(inode);
	}
}

void os_disk_sync_names(struct os_disk *disk)
{
	if (disk->journal_count == 0)
		return;
	disk->journal_count = 0;
	memcpy(disk->durable, disk->now, sizeof disk->durable);
	forget_inodes(disk);
}

/* ---- bytes ---- */

/* What the process has written into its memory since. */
static void take_mapped(struct os_inode *inode)
{
	for (size_t done = 0; inode->mapped != NULL && done < inode->mapped_size;
	     done += SECTOR_BYTES) {
		const uint8_t *file = inode->now.data + inode->mapped_at + done;

		if (memcmp(file, inode->mapped + done, SECTOR_BYTES) != 0)
			os_inode_write(inode, inode->mapped_at + done, inode->mapped + done,
				       SECTOR_BYTES);
	}
}

void *os_inode_map(struct os_inode *inode, uint64_t at, size_t size)
{
	ASSERT(inode->mapped == NULL && at + size <= inode->now.size && size % SECTOR_BYTES == 0);
	inode->mapped_at = (size_t)at;
	inode->mapped_size = size;
	inode->mapped = memory_copy(inode->now.data + at, size);
	return inode->mapped;
}

bool os_disk_unmap(struct os_disk *disk, const void *mapped)
{
	for (struct os_inode *inode = disk->inodes; inode != NULL; inode = inode->next) {
		if (inode->mapped == NULL || (mapped != NULL && inode->mapped != mapped))
			continue;
		take_mapped(inode);
		memory_free(inode->mapped);
		inode->mapped = NULL;
		if (mapped != NULL)
			return true;
	}
	return false;
}

bool os_inode_is_directory(const struct os_inode *inode)
{
	return inode->directory;
}

size_t os_inode_size(const struct os_inode *inode)
{
	return inode->now.size;
}

size_t os_inode_read(const struct os_inode *inode, uint64_t at, void *into, size_t size)
{
	if (at >= inode->now.size)
		return 0;
	if (size > inode->now.size - at)
		size = inode->now.size - (size_t)at;
	memcpy(into, inode->now.data + at, size);
	return size;
}

static void extend(struct buffer *buffer, size_t size)
{
	if (buffer->size >= size)
		return;
	size_t more = size - buffer->size;

	memset(buffer_reserve(buffer, more), 0, more);
	buffer->size = size;
}

static void mark(struct os_inode *inode, uint64_t at, size_t size, uint8_t dirty)
{
	extend(&inode->dirty, inode->now.size / SECTOR_BYTES + 1);
	for (uint64_t sector = at / SECTOR_BYTES; sector * SECTOR_BYTES < at + size; sector++)
		inode->dirty.data[sector] = dirty;
}

void os_inode_write(struct os_inode *inode, uint64_t at, const void *bytes, size_t size)
{
	extend(&inode->now, (size_t)at + size);
	memcpy(inode->now.data + at, bytes, size);
	mark(inode, at, size, 1);
}

void os_inode_truncate(struct os_inode *inode, uint64_t size)
{
	if (size < inode->now.size)
		inode->now.size = (size_t)size;
	extend(&inode->now, (size_t)size);
}

/* One sector from what is read to what is kept. */
static void keep_sector(struct os_inode *inode, size_t sector)
{
	size_t begin = sector * SECTOR_BYTES, size = SECTOR_BYTES;

	if (begin >= inode->now.size)
		return;
	if (size > inode->now.size - begin)
		size = inode->now.size - begin;
	extend(&inode->durable, begin + size);
	memcpy(inode->durable.data + begin, inode->now.data + begin, size);
}

void os_inode_sync(struct os_inode *inode)
{
	take_mapped(inode);
	for (size_t i = 0; i < inode->dirty.size; i++) {
		if (inode->dirty.data[i])
			keep_sector(inode, i);
		inode->dirty.data[i] = 0;
	}
	if (inode->durable.size > inode->now.size)
		inode->durable.size = inode->now.size;
	extend(&inode->durable, inode->now.size);
}

bool os_inode_lock(struct os_inode *inode)
{
	if (inode->locked)
		return false;
	inode->locked = true;
	return true;
}

void os_inode_unlock(struct os_inode *inode)
{
	inode->locked = false;
}

void os_inode_opened(struct os_inode *inode)
{
	inode->opened++;
}

void os_inode_closed(struct os_inode *inode)
{
	ASSERT(inode->opened > 0);
	inode->opened--;
}

/* ---- writes under way ---- */

struct os_write *os_write_begin(struct os_disk *disk, struct os_inode *inode, uint64_t at,
				const struct iovec *parts, int count)
{
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	struct os_write *write = memory_zeroed(1, sizeof *write + size);

	*write = (struct os_write){.next = disk->writes, .disk = disk, .inode = inode, .at = at};
	for (int i = 0; i < count; i++) {
		memcpy(write->bytes + write->size, parts[i].iov_base, parts[i].iov_len);
		write->size += parts[i].iov_len;
	}
	os_inode_opened(inode);
	disk->writes = write;
	return write;
}

static void unlink_write(struct os_write *write)
{
	struct os_write **at = &write->disk->writes;

	while (*at != write)
		at = &(*at)->next;
	*at = write->next;
	os_inode_closed(write->inode);
}

size_t os_write_end(struct os_write *write)
{
	size_t size = write->size;
	struct os_inode *inode = write->inode;

	if (!write->lost) {
		os_inode_write(inode, write->at, write->bytes, size);
		for (uint64_t sector = write->at / SECTOR_BYTES;
		     sector * SECTOR_BYTES < write->at + size; sector++) {
			keep_sector(inode, (size_t)sector);
			inode->dirty.data[sector] = 0;
		}
		extend(&inode->durable, inode->now.size);
		unlink_write(write);
	}
	memory_free(write);
	return size;
}

/* ---- a power cut ---- */

/* Of what was not synced: nothing, all, or each sector by chance. */
static void cut_file(struct os_inode *inode)
{
	unsigned chance = (unsigned)os_between(0, 2) * 500;
	unsigned dirty = 0, kept = 0;

	for (size_t i = 0; i < inode->dirty.size; i++) {
		if (inode->dirty.data[i] == 0)
			continue;
		dirty++;
		inode->dirty.data[i] = 0;
		if (!os_chance(chance))
			continue;
		kept++;
		keep_sector(inode, i);
	}
	os.counters.lost_writes += kept < dirty;
	os.counters.torn_writes += kept > 0 && kept < dirty;
	if (inode->durable.size > inode->now.size && os_chance(500))
		inode->durable.size = inode->now.size;
	buffer_clear(&inode->now);
	buffer_append(&inode->now, inode->durable.data, inode->durable.size);
}

static void cut_writes(struct os_disk *disk)
{
	while (disk->writes != NULL) {
		struct os_write *write = disk->writes;

		/* It was on its way: like any that is not synced. */
		os_inode_write(write->inode, write->at, write->bytes, write->size);
		write->lost = true;
		unlink_write(write);
	}
}

static void cut_names(struct os_disk *disk)
{
	unsigned kept = (unsigned)os_between(0, disk->journal_count);

	os.counters.lost_names += disk->journal_count - kept;
	memcpy(disk->now, disk->durable, sizeof disk->now);
	for (unsigned i = 0; i < kept; i++)
		apply(disk->now, &disk->journal[i]);
	disk->journal_count = 0;
	memcpy(disk->durable, disk->now, sizeof disk->durable);
}

void os_disk_power_cut(struct os_disk *disk)
{
	cut_writes(disk);
	for (struct os_inode *inode = disk->inodes; inode != NULL; inode = inode->next)
		cut_file(inode);
	cut_names(disk);
	forget_inodes(disk);
}

void os_disk_wipe(struct os_disk *disk)
{
	memset(disk->now, 0, sizeof disk->now);
	memset(disk->durable, 0, sizeof disk->durable);
	disk->journal_count = 0;
	cut_writes(disk);
	forget_inodes(disk);
}
