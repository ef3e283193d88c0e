/*-------------------------------------------------------------------------
 *
 * model.c
 *	  the model that the engine serves: dsr1_models, dsr1_reload(), dsr1_prewarm()
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "complete.h"
#include "engine_error.h"
#include "engine_text.h"
#include "miscadmin.h"
#include "model.h"
#include "options.h"
#include "prompt.h"
#include "rows.h"
#include "settings.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "wait_event.h"

/* ------------------------------------------------------------------
 *	What the engine tells
 * ------------------------------------------------------------------
 */

static void
ask_engine(EngineRequest *request, bool put)
{
	if (!put)
		elog(ERROR, "out of memory");
	engine_request_send(request);
	engine_request_wait(request);
}

/* The answer lives as long as the request, which the caller frees. */
static EngineRequest *
ask_model(struct wire_model *model)
{
	EngineRequest *request = engine_request_new();
	struct wire_frame frame;

	ask_engine(request, wire_put_bare(&request->frame, WIRE_MODEL, request->id));
	frame = engine_request_answer(request);
	if (frame.type != WIRE_MODEL_RESULT || wire_get_model_result(&frame, model) < 0)
		engine_answer_broken();
	return request;
}

/*
 * The same when the engine knows the digest: a file that it has never seen
 * before is read for it while others are served.  It may stay unknown.
 */
static EngineRequest *
ask_digested_model(struct wire_model *model)
{
	TimestampTz began = GetCurrentTimestamp();
	EngineRequest *request = ask_model(model);

	while (model->digest.size == 0 &&
		   !TimestampDifferenceExceeds(began, GetCurrentTimestamp(), setting_start_timeout))
	{
		engine_request_free(request);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50,
						 wait_event(WAIT_DIGEST));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		request = ask_model(model);
	}
	return request;
}

char *
model_digest(uint64 *id)
{
	struct wire_model model;
	EngineRequest *request = ask_digested_model(&model);
	char	   *digest = pnstrdup(model.digest.data, model.digest.size);

	if (id)
		*id = model.id;
	engine_request_free(request);
	if (digest[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_CANNOT_CONNECT_NOW),
				 errmsg("the digest of the model is not known yet"),
				 errdetail("Its file is being read, or has been replaced since it was loaded."),
				 errhint("Try again later, raise dsr1.start_timeout, or call dsr1_reload().")));
	return digest;
}

enum
{
	NAME, DIGEST, ARCHITECTURE, PARAMETERS, QUANTISATION, CONTEXT, LOADED, BYTES, FILE_PATH, N_COLUMNS
};

PG_FUNCTION_INFO_V1(sql_models);

Datum
sql_models(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rows = rows_begin(fcinfo);
	struct wire_model model;
	EngineRequest *request = ask_digested_model(&model);
	Datum		values[N_COLUMNS];
	bool		nulls[N_COLUMNS] = {false};

	values[NAME] = PointerGetDatum(engine_text_back(model.name));
	values[DIGEST] = PointerGetDatum(engine_text_back(model.digest));
	nulls[DIGEST] = model.digest.size == 0;
	values[ARCHITECTURE] = PointerGetDatum(engine_text_back(model.architecture));
	values[PARAMETERS] = Int64GetDatum((int64) model.n_parameters);
	values[QUANTISATION] = PointerGetDatum(engine_text_back(model.file_type));
	values[CONTEXT] = Int32GetDatum(model.context_size);
	values[LOADED] = BoolGetDatum(true);
	values[BYTES] = Int64GetDatum((int64) model.size);
	values[FILE_PATH] = (Datum) 0;
	nulls[FILE_PATH] = !engine_error_shows_files();
	if (!nulls[FILE_PATH])
		values[FILE_PATH] = PointerGetDatum(engine_text_back(model.path));
	rows_put(rows, values, nulls);
	engine_request_free(request);
	return (Datum) 0;
}

/* ------------------------------------------------------------------
 *	What it is told
 * ------------------------------------------------------------------
 */

PG_FUNCTION_INFO_V1(sql_reload);

Datum
sql_reload(PG_FUNCTION_ARGS)
{
	EngineRequest *request;

	memo_reset();
	request = engine_request_new();
	ask_engine(request, wire_put_reload(&request->frame, request->id, wire_text("")));
	engine_request_free(request);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sql_prewarm);

/* Computes a prompt and no answer, so that the engine has it at hand. */
Datum
sql_prewarm(PG_FUNCTION_ARGS)
{
	struct wire_complete *complete;
	struct wire_done done;
	Call		call;

	if (!call_open(&call, fcinfo))
		PG_RETURN_NULL();
	complete = options_new();
	complete->max_tokens = 0;
	complete->prompt.kind = WIRE_PROMPT_RAW;
	prompt_turn(&complete->prompt, "", engine_text(PG_GETARG_TEXT_PP(0)));
	complete_ask(&call, complete);
	if (!call_send(&call) || !call_done(&call, 0, &done))
		PG_RETURN_NULL();
	call_close(&call);
	PG_RETURN_INT32(done.usage.prompt_tokens);
}
