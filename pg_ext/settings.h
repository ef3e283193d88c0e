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
extern char *setting_trainer_path;	/* "": beside this library */
extern int	setting_threads;
extern int	setting_kv_cache_size;	/* MB */
extern int	setting_max_batch;
extern int	setting_context_size;
extern int	setting_max_queue;
extern int	setting_heartbeat_timeout;	/* ms, 0 turns it off */

extern int	setting_job_history_days;

typedef enum OnError
{
	ON_ERROR_RAISE,
	ON_ERROR_NULL
} OnError;

typedef enum Think
{
	THINK_DEFAULT,
	THINK_OFF,
	THINK_ON
} Think;

/* A session's */
extern int	setting_max_tokens;
extern int	setting_start_timeout;	/* ms */
extern int	setting_request_timeout;	/* ms, 0 turns it off */
extern bool setting_log_requests;
extern int	setting_track;		/* a SettingTrack */
extern int	setting_on_error;	/* OnError */
extern int	setting_think;		/* Think */
extern double setting_filter_threshold;
extern bool setting_calibrate;
extern int	setting_prefetch_rows;
extern bool setting_enable_batch;
extern bool setting_enable_late_filter;
extern char *setting_adapter;	/* "": none */

/* What dsr1_stat_usage counts */
typedef enum SettingTrack
{
	TRACK_NONE,
	TRACK_TOP,
	TRACK_ALL
} SettingTrack;

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

/* Files that the settings name, or those that were installed with this library; palloced. */
extern char *settings_model(void);
extern char *settings_engine(void);
extern char *settings_trainer(void);

extern void settings_define(void);

#endif							/* SETTINGS_H */
