/*-------------------------------------------------------------------------
 *
 * settings.h
 *	  the dsr1.* configuration parameters
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef SETTINGS_H
#define SETTINGS_H

/* The engine's: decided by the server's configuration, read by the supervisor */
extern char *setting_model;		/* "": the shipped one */
extern char *setting_engine_path;	/* "": beside this library */
extern int	setting_threads;
extern int	setting_kv_cache_size;	/* MB */
extern int	setting_max_batch;
extern int	setting_context_size;
extern int	setting_max_queue;
extern int	setting_heartbeat_timeout;	/* ms, 0 turns it off */

extern int	setting_job_history_days;

/* A session's */
extern int	setting_max_tokens;
extern int	setting_start_timeout;	/* ms */
extern int	setting_request_timeout;	/* ms, 0 turns it off */
extern bool setting_log_requests;

/* A role's */
typedef enum SettingSharing
{
	SHARING_ROLE,
	SHARING_DATABASE,
	SHARING_CLUSTER
} SettingSharing;

extern int	setting_max_tokens_per_day; /* -1: any number */
extern int	setting_max_concurrent; /* -1: any number */
extern int	setting_priority;
extern int	setting_prefix_sharing; /* a SettingSharing */

extern void settings_define(void);

#endif							/* SETTINGS_H */
