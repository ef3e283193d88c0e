/*-------------------------------------------------------------------------
 *
 * job_access.c
 *	  reading and writing the extension's own tables
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "job_access.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* ------------------------------------------------------------------
 *	The extension
 * ------------------------------------------------------------------
 */

/* Its schema, or InvalidOid if it is not there. */
static Oid
find_extension(Oid *owner)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			schema = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum("dsr1"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);

		schema = form->extnamespace;
		if (owner)
			*owner = form->extowner;
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return schema;
}

bool
job_extension(const char **schema, Oid *owner)
{
	char	   *name = get_namespace_name(find_extension(owner));

	if (name && schema)
		*schema = quote_identifier(name);
	return name != NULL;
}

static void
pg_attribute_noreturn()
raise_no_extension(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("extension \"dsr1\" does not exist in this database")));
}

static const char *
extension_schema(Oid *owner)
{
	const char *schema;

	if (!job_extension(&schema, owner))
		raise_no_extension();
	return schema;
}

Oid
job_extension_relation(const char *name)
{
	Oid			schema = find_extension(NULL);
	Oid			relation = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(schema))
		raise_no_extension();
	if (!OidIsValid(relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("extension \"dsr1\" has no relation \"%s\" yet", name),
				 errhint("Run ALTER EXTENSION dsr1 UPDATE.")));
	return relation;
}

/* ------------------------------------------------------------------
 *	Surroundings
 * ------------------------------------------------------------------
 */

int
job_settings_begin(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"timezone", "UTC"},
		{"datestyle", "ISO, YMD"},
		{"intervalstyle", "postgres"},
		{"extra_float_digits", "1"},
		{"bytea_output", "hex"},
		{"xmloption", "content"},
		{"lc_monetary", "C"}
	};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
job_settings_end(int guc_level)
{
	AtEOXact_GUC(true, guc_level);
}

void
job_access_begin(JobAccess *access)
{
	Oid			owner;

	(void) extension_schema(&owner);
	access->guc_level = job_settings_begin();
	GetUserIdAndSecContext(&access->user, &access->security);
	SetUserIdAndSecContext(owner, access->security | SECURITY_LOCAL_USERID_CHANGE);
}

void
job_access_end(const JobAccess *access)
{
	SetUserIdAndSecContext(access->user, access->security);
	job_settings_end(access->guc_level);
}

/* ------------------------------------------------------------------
 *	Statements
 * ------------------------------------------------------------------
 */

static Oid
type_of(char letter)
{
	switch (letter)
	{
		case 'i':
			return INT4OID;
		case 'I':
			return INT4ARRAYOID;
		case 'l':
			return INT8OID;
		case 'L':
			return INT8ARRAYOID;
		case 't':
			return TEXTOID;
		case 'T':
			return TEXTARRAYOID;
		case 'b':
			return BOOLOID;
		case 'j':
			return JSONBOID;
		case 'J':
			return JSONBARRAYOID;
		case 'n':
			return NAMEOID;
		case 'N':
			return NAMEARRAYOID;
		case 'f':
			return FLOAT8OID;
		case 'z':
			return TIMESTAMPTZOID;
		case 'o':
			return OIDOID;
		case 'y':
			return BYTEAOID;
		case 'Y':
			return BYTEAARRAYOID;
	}
	elog(ERROR, "no type for letter %c", letter);
	return InvalidOid;
}

/* "@" as the schema, but for "@>" and the like, which no statement of ours has */
static char *
with_schema(const char *statement, const char *schema)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const char *c = statement; *c; c++)
	{
		if (*c == '@')
			appendStringInfoString(&text, schema);
		else
			appendStringInfoChar(&text, *c);
	}
	return text.data;
}

uint64
job_execute(const char *statement, const char *types, Datum *values,
			const char *nulls)
{
	Oid			argument_types[16];
	int			n = (int) strlen(types);
	int			rc;

	Assert(n <= lengthof(argument_types));
	for (int i = 0; i < n; i++)
		argument_types[i] = type_of(types[i]);
	rc = SPI_execute_with_args(statement, n, argument_types, values, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "statement on jobs failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

uint64
job_execute_as_owner(const char *statement, const char *types, Datum *values,
					 const char *nulls)
{
	JobAccess	access;
	uint64		n;
	char	   *text = with_schema(statement, extension_schema(NULL));

	job_access_begin(&access);
	n = job_execute(text, types, values, nulls);
	job_access_end(&access);
	return n;
}

/* ------------------------------------------------------------------
 *	Values
 * ------------------------------------------------------------------
 */

Datum
job_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

int64
job_int64(uint64 row, int column)
{
	bool		isnull;
	Datum		value = job_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

char *
job_string(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

Datum
job_array(char type, Datum *values, bool *nulls, int n)
{
	int			dimension = n;
	int			bound = 1;
	Oid			element = type_of(type);
	int16		length;
	bool		by_value;
	char		align;

	get_typlenbyvalalign(element, &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(values, nulls, n > 0 ? 1 : 0, &dimension, &bound,
											  element, length, by_value, align));
}
