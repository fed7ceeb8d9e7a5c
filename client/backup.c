/* Backups: asked for once, of one node. */
#include "client/client.h"

static struct call *new_backup(struct annal_client *client, const char *path)
{
	struct call *call = call_new(client);

	if (call == NULL)
		return NULL;
	call->route = CALL_ROUTE_READ; /* any node can, and it is about its own disk */
	call->idempotent = false;
	call->writes = true;
	call->once = true;
	wire_request_begin(&call->request, "backup", 1, false);
	wire_write_text(&call->request.bytes, "path", path);
	return call;
}

static bool decode_backup(struct span answer, struct annal_backup *backup)
{
	const struct decode_field fields[] = {{"path", DECODE_TEXT, &backup->path},
					      {"position", DECODE_U64, &backup->position},
					      {"bytes", DECODE_U64, &backup->bytes}};

	*backup = (struct annal_backup){0};
	return DECODE_FIELDS(answer, fields) && backup->path.size > 0;
}

enum annal_code annal_backup(struct annal_client *client, const char *path, uint32_t timeout_ms,
			     struct annal_backup *backup)
{
	struct call *call = call_may_block(client) ? new_backup(client, path) : NULL;
	struct annal_backup decoded;
	struct span answer;

	if (call == NULL)
		return ANNAL_MISUSE;
	enum annal_code code = call_run(client, call, timeout_ms, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!decode_backup(answer, &decoded))
		return call_bad_answer(client, "backup");
	*backup = decoded;
	return ANNAL_OK;
}

static void backup_done(struct annal_client *client, struct call *call, enum annal_code code,
			struct span answer)
{
	struct annal_backup backup;

	if (code == ANNAL_OK && !decode_backup(answer, &backup)) {
		decode_error_set(&client->answer_error, ANNAL_BAD_ANSWER,
				 "the answer to backup is not as specified");
		code = ANNAL_BAD_ANSWER;
	}
	if (code == ANNAL_OK)
		call->backup_done(call->arg, code, &backup, NULL);
	else
		call->backup_done(call->arg, code, NULL, &client->answer_error.public);
}

enum annal_code annal_backup_async(struct annal_client *client, const char *path,
				   uint32_t timeout_ms, annal_backup_done *done, void *arg)
{
	struct call *call = new_backup(client, path);

	if (call == NULL)
		return ANNAL_MISUSE;
	call->done = backup_done;
	call->backup_done = done;
	call->arg = arg;
	call_start(client, call, timeout_ms);
	return ANNAL_OK;
}
