/*
 * The ordered key-value store under the tables: LMDB (kv_lmdb.c), or memory (kv_memory.c, for the
 * simulator and for tests). One writer at a time, any number of readers, snapshot isolation: a read
 * transaction sees what was committed before it began, and nothing later.
 *
 * Keys are at most 500 bytes and compare as bytes (memcmp, shorter first); numbers are stored
 * big-endian in keys so that they sort. This contract may be refined by the storage engineer.
 */
#ifndef STORAGE_KV_H
#define STORAGE_KV_H

#include "base/error.h"
#include "base/span.h"

#endif
