/*-------------------------------------------------------------------------
 *
 * settings.c
 *	  the dsr1.* configuration parameters
 *
 * What decides which files the server reads, or which program it starts,
 * comes from the configuration files alone.  Those are PGC_SIGHUP rather than
 * PGC_POSTMASTER so that they can be defined without shared_preload_libraries.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "compat.h"
#include "miscadmin.h"
#include "settings.h"

char	   *setting_model;
char	   *setting_engine_path;
char	   *setting_trainer_path;
int			setting_threads;
int			setting_kv_cache_size;
int			setting_max_batch;
int			setting_context_size;
int			setting_max_queue;
int			setting_heartbeat_timeout;
int			setting_job_history_days;
int			setting_max_tokens;
int			setting_start_timeout;
int			setting_request_timeout;
bool		setting_log_requests;
int			setting_track = TRACK_TOP;
int			setting_max_tokens_per_day;
int			setting_max_concurrent;
int			setting_priority;
int			setting_on_error;
int			setting_think;
int			setting_prefix_sharing;
double		setting_filter_threshold;
bool		setting_calibrate;
int			setting_prefetch_rows;
bool		setting_enable_batch;
bool		setting_enable_late_filter;
char	   *setting_adapter;

static const struct config_enum_entry on_error_values[] = {
	{"error", ON_ERROR_RAISE, false},
	{"null", ON_ERROR_NULL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry think_values[] = {
	{"default", THINK_DEFAULT, false},
	{"off", THINK_OFF, false},
	{"on", THINK_ON, false},
	{NULL, 0, false}
};

static const struct config_enum_entry track_options[] = {
	{"none", TRACK_NONE, false},
	{"top", TRACK_TOP, false},
	{"all", TRACK_ALL, false},
	{NULL, 0, false}
};

static const struct config_enum_entry sharing_options[] = {
	{"role", SHARING_ROLE, false},
	{"database", SHARING_DATABASE, false},
	{"cluster", SHARING_CLUSTER, false},
	{NULL, 0, false}
};

/* A count for the engine, where zero lets it choose. */
static void
define_engine_count(const char *name, const char *what, int *variable,
					int most, int flags)
{
	DefineCustomIntVariable(name, what,
							"Zero lets the engine choose.  "
							"The engine is started again when this changes.",
							variable, 0, 0, most, PGC_SIGHUP, flags,
							NULL, NULL, NULL);
}

static void
define_file(const char *name, const char *what, const char *more,
			char **variable)
{
	DefineCustomStringVariable(name, what, more, variable, "", PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
}

static void
define_time(const char *name, const char *what, const char *more,
			int *variable, int standard, int least, GucContext context)
{
	DefineCustomIntVariable(name, what, more, variable, standard, least,
							INT_MAX, context, GUC_UNIT_MS, NULL, NULL, NULL);
}

static void
define_engine_settings(void)
{
	define_file("dsr1.model",
				"The GGUF file that the inference engine serves.",
				"Empty means the model installed with the extension.",
				&setting_model);
	define_file("dsr1.engine_path",
				"The program dsr1-engine.",
				"Empty means the one installed with the extension.",
				&setting_engine_path);
	define_file("dsr1.trainer_path",
				"The program dsr1, which trains adapters.",
				"Empty means the one installed with the extension.",
				&setting_trainer_path);
	define_engine_count("dsr1.threads",
						"Processor cores that the engine uses.",
						&setting_threads, 256, 0);
	define_engine_count("dsr1.kv_cache_size",
						"Memory for keys and values of all requests.",
						&setting_kv_cache_size, INT_MAX / 1024, GUC_UNIT_MB);
	define_engine_count("dsr1.max_batch",
						"Requests that the engine runs at once.",
						&setting_max_batch, 1024, 0);
	define_engine_count("dsr1.context_size",
						"Tokens that one request may have, prompt and answer.",
						&setting_context_size, 1 << 24, 0);
	define_engine_count("dsr1.max_queue",
						"Requests that may wait for their turn.",
						&setting_max_queue, INT_MAX, 0);
	define_time("dsr1.heartbeat_timeout",
				"Time without a sign of life after which the engine is killed.",
				"Zero turns this off.",
				&setting_heartbeat_timeout, 10000, 0, PGC_SIGHUP);
	DefineCustomIntVariable("dsr1.job_history_days",
							"Days that a job is remembered after its end.",
							"Older ones are forgotten when another one is made.",
							&setting_job_history_days, 30, 0, 36500,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* An answer of no tokens is nobody's wish. */
static bool
check_max_tokens(int *value, void **extra, GucSource source)
{
	if (*value != 0)
		return true;
	GUC_check_errdetail("It must be positive, or -1 for no limit but the context.");
	return false;
}

static void
define_session_settings(void)
{
	DefineCustomIntVariable("dsr1.max_tokens",
							"Longest answer where a call gives no max_tokens.",
							"-1 means to the end of the context.",
							&setting_max_tokens, 256, -1, INT_MAX,
							PGC_USERSET, 0, check_max_tokens, NULL, NULL);
	define_time("dsr1.start_timeout",
				"Longest wait for the inference engine to become ready.",
				NULL, &setting_start_timeout, 60000, 0, PGC_USERSET);
	define_time("dsr1.request_timeout",
				"Longest time for one request to the inference engine.",
				"Zero turns this off.",
				&setting_request_timeout, 0, 0, PGC_USERSET);
}

static void
define_enum(const char *name, const char *what, const char *more, int *variable,
			const struct config_enum_entry *values, GucContext context)
{
	DefineCustomEnumVariable(name, what, more, variable, 0, values, context, 0, NULL, NULL, NULL);
}

static void
define_tracking(void)
{
	DefineCustomBoolVariable("dsr1.log_requests",
							 "Logs tokens and times of each request.",
							 "Prompts and answers are never logged.",
							 &setting_log_requests, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable("dsr1.track",
							 "Which statements' requests dsr1_stat_usage counts.",
							 "Limits of roles count all of them, whatever it says.",
							 &setting_track, TRACK_TOP, track_options,
							 PGC_SUSET, 0, NULL, NULL, NULL);
}

static void
define_limit(const char *name, const char *what, const char *more, int *variable,
			 int standard, int least, int most)
{
	DefineCustomIntVariable(name, what, more, variable, standard, least, most,
							PGC_SUSET, 0, NULL, NULL, NULL);
}

/* For ALTER ROLE ... SET: the role that logs in is bound by them, and cannot change them. */
static void
define_role_settings(void)
{
	define_limit("dsr1.max_tokens_per_day",
				 "Tokens, read and written, that a role may use in a day.",
				 "-1 means no limit.",
				 &setting_max_tokens_per_day, -1, -1, INT_MAX);
	define_limit("dsr1.max_concurrent",
				 "Requests to the inference engine that a role may have at once.",
				 "-1 means no limit.",
				 &setting_max_concurrent, -1, -1, INT_MAX);
	define_limit("dsr1.priority",
				 "Requests with a larger number run first.",
				 "Jobs have priorities of their own, below zero.",
				 &setting_priority, 0, -1000, 1000);
	define_enum("dsr1.prefix_sharing",
				"Who shares the computed beginnings of prompts.",
				"What is shared can be told from how fast an answer comes.",
				&setting_prefix_sharing, sharing_options, PGC_SUSET);
}

/* Whether there is one of that name is seen when it is used: that may be in another database. */
static bool
check_adapter(char **value, void **extra, GucSource source)
{
	if (strlen(*value) < NAMEDATALEN)
		return true;
	GUC_check_errdetail("A name has at most %d bytes.", NAMEDATALEN - 1);
	return false;
}

static void
define_answer_settings(void)
{
	DefineCustomStringVariable("dsr1.adapter",
							   "The adapter that answers where a call names none.",
							   "Empty means the model as it is.",
							   &setting_adapter, "", PGC_USERSET, 0, check_adapter, NULL, NULL);
	define_enum("dsr1.on_error",
				"What a request that fails gives: an error, or NULL.",
				"NULL is warned about once in a transaction.",
				&setting_on_error, on_error_values, PGC_USERSET);
	define_enum("dsr1.think",
				"Whether a model that can reason does so before it answers.",
				"By default it does, but not where the answer has a given form.",
				&setting_think, think_values, PGC_USERSET);
	DefineCustomRealVariable("dsr1.filter_threshold",
							 "How sure dsr1_filter must be, else it gives NULL.",
							 "The probability of its answer; at 0.5 it always decides.",
							 &setting_filter_threshold, 0.5, 0.5, 1,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("dsr1.calibrate",
							 "Corrects the probabilities of labels by those that the model gives them without a text.",
							 "Applies to dsr1_classify and dsr1_scores.",
							 &setting_calibrate, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

static void
define_batch_settings(void)
{
	DefineCustomIntVariable("dsr1.prefetch_rows",
							"Rows of a query whose requests are in flight at once.",
							NULL, &setting_prefetch_rows, 64, 1, 10000,
							PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("dsr1.enable_batch",
							 "Lets queries ask ahead for rows to come.",
							 "Answers are the same without it.",
							 &setting_enable_batch, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("dsr1.enable_late_filter",
							 "Lets conditions that ask the model wait until joins, sorts and limits have dropped rows.",
							 NULL, &setting_enable_late_filter, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
}

/* ------------------------------------------------------------------
 *	Files
 * ------------------------------------------------------------------
 */

char *
settings_model(void)
{
	char		share[MAXPGPATH];

	if (setting_model[0])
		return pstrdup(setting_model);
	get_share_path(my_exec_path, share);
	return psprintf("%s/dsr1/default.gguf", share);
}

static char *
program(const char *setting, const char *name)
{
	return setting[0] ? pstrdup(setting) : psprintf("%s/%s", pkglib_path, name);
}

char *
settings_engine(void)
{
	return program(setting_engine_path, "dsr1-engine");
}

/* The program dsr1 under another name, for the server looks for libraries by that one. */
char *
settings_trainer(void)
{
	return program(setting_trainer_path, "dsr1-trainer");
}

/* ------------------------------------------------------------------
 *	All of them
 * ------------------------------------------------------------------
 */

void
settings_define(void)
{
	define_engine_settings();
	define_session_settings();
	define_tracking();
	define_role_settings();
	define_answer_settings();
	define_batch_settings();
	MarkGUCPrefixReserved("dsr1");
}
