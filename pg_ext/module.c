/*-------------------------------------------------------------------------
 *
 * module.c
 *	  loading the library
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "batch_plan.h"
#include "dsr1.h"
#include "settings.h"
#include "shared.h"
#include "statement.h"
#include "supervisor.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	settings_define();
	batch_register();
	statement_install();
	if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade)
	{
		shared_reserve();
		supervisor_register();
	}
}

PG_FUNCTION_INFO_V1(sql_version);

Datum
sql_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(DSR1_VERSION));
}
