/*-------------------------------------------------------------------------
 *
 * engine_error.c
 *	  the core's errors as PostgreSQL's
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "adapter.h"
#include "catalog/pg_authid.h"
#include "engine_error.h"
#include "miscadmin.h"
#include "utils/acl.h"

int
engine_error_sqlstate(dsr1_status status)
{
	switch (status)
	{
		case DSR1_ERR_NOMEM:
			return ERRCODE_OUT_OF_MEMORY;
		case DSR1_ERR_IO:
			return ERRCODE_IO_ERROR;
		case DSR1_ERR_FORMAT:
			return ERRCODE_DATA_CORRUPTED;
		case DSR1_ERR_UNSUPPORTED:
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		case DSR1_ERR_LIMIT:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case DSR1_ERR_ARGUMENT:
			return ERRCODE_INVALID_PARAMETER_VALUE;
		case DSR1_ERR_BUSY:
			return ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
		case DSR1_ERR_CANCELLED:
			return ERRCODE_QUERY_CANCELED;
		case DSR1_OK:
		case DSR1_ERR_INTERNAL:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

char *
engine_error_clean(struct wire_text message)
{
	char	   *clean = pnstrdup(message.data, message.size);

	state_clean_message(clean);
	return clean;
}

void
engine_error_answer(dsr1_status status, char *message)
{
	state_clean_message(message);
	adapter_raise_unfit(message, NULL, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
	ereport(ERROR,
			(errcode(engine_error_sqlstate(status)),
			 errmsg("%s", message),
			 status == DSR1_ERR_LIMIT ?
			 errhint("Shorten the prompt, or raise dsr1.context_size.") : 0,
			 status == DSR1_ERR_BUSY ?
			 errhint("Try again later, or raise dsr1.max_queue.") : 0));
}

void
engine_error_failed(const State *state)
{
	/* a file that cannot be opened is as good as an engine that is not ready */
	bool		broken = state->last_status == DSR1_ERR_FORMAT ||
		state->last_status == DSR1_ERR_UNSUPPORTED;

	ereport(ERROR,
			(errcode(broken ? engine_error_sqlstate(state->last_status) : ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("inference engine does not start"),
			 engine_error_shows_files() ? errdetail("%s", state->last_error) : 0,
			 errhint("Check dsr1.model and the server log.  It is tried again every few seconds.")));
}

bool
engine_error_shows_files(void)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
}
