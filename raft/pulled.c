/* What a pull did beyond the manifest that it was asked for, noted in the hard state. */
#include "raft/hardstate.h"
#include "raft/replica_inside.h"

#include <stdio.h>

int replica_note_pulled(struct replica *replica, uint64_t index, struct error *error)
{
	char path[REPLICA_PATH_BYTES + sizeof "/hardstate"];
	struct hardstate_file *file;
	struct hardstate state;
	int status;

	/* A witness has it open. */
	status = witness_end_wait(replica, error);
	if (status < 0)
		return status;
	snprintf(path, sizeof path, "%s/hardstate", replica->data_dir);
	status = hardstate_file_open(&file, path, false, &state, error);
	if (status < 0)
		return status;
	if (index > state.pulled_index) {
		struct hardstate_keeper keeper = hardstate_file_keeper(file);

		state.pulled_index = index;
		status = keeper.save(keeper.impl, &state, error);
	}
	hardstate_file_close(file);
	return status;
}
