/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  what differs between PostgreSQL 14 and the newest release
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#ifndef COMPAT_H
#define COMPAT_H

#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

#if PG_VERSION_NUM < 140000
#error "dsr1 needs PostgreSQL 14 or later"
#endif

/* 18 has a word for the front instead. */
#if PG_VERSION_NUM >= 180000 && !defined(pg_attribute_noreturn)
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

#if PG_VERSION_NUM >= 170000
#define compat_create_wait_set(n) CreateWaitEventSet(NULL, n)
#else
#define compat_create_wait_set(n) CreateWaitEventSet(TopMemoryContext, n)
#endif

/* Before 18, ExecutorRun() is told whether it is called once only. */
#if PG_VERSION_NUM >= 180000
#define EXECUTE_ONCE_PARAMETER
#define EXECUTE_ONCE
#else
#define EXECUTE_ONCE_PARAMETER , bool execute_once
#define EXECUTE_ONCE , execute_once
#endif

#if PG_VERSION_NUM >= 170000
#define compat_json_lexer(json, size) \
	makeJsonLexContextCstringLen(NULL, json, size, GetDatabaseEncoding(), true)
#else
#define compat_json_lexer(json, size) \
	makeJsonLexContextCstringLen(json, size, GetDatabaseEncoding(), true)
#endif

#endif							/* COMPAT_H */
