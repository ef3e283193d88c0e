/*-------------------------------------------------------------------------
 *
 * job_table.c
 *	  the statements on a job's relation
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "executor/spi.h"
#include "job_access.h"
#include "job_table.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

/* ------------------------------------------------------------------
 *	Keys
 * ------------------------------------------------------------------
 */

/* Does a unique index on just these columns hold rows apart, whatever happens? */
static bool
index_is_key(const FormData_pg_index *index, const Bitmapset *columns)
{
	Bitmapset  *of_index = NULL;

	if (!index->indisunique || !index->indimmediate || !index->indisvalid)
		return false;
	for (int i = 0; i < index->indnkeyatts; i++)
		of_index = bms_add_member(of_index, index->indkey.values[i]);
	return bms_equal(of_index, columns);
}

static bool
columns_are_key(Relation relation, List *names)
{
	TupleDesc	descriptor = RelationGetDescr(relation);
	Bitmapset  *columns = NULL;
	ListCell   *cell;
	bool		found = false;

	foreach(cell, names)
	{
		AttrNumber	number = get_attnum(RelationGetRelid(relation), lfirst(cell));

		if (number <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of relation \"%s\" does not exist",
							(char *) lfirst(cell), RelationGetRelationName(relation))));
		if (!TupleDescAttr(descriptor, number - 1)->attnotnull)
			return false;
		columns = bms_add_member(columns, number);
	}
	foreach(cell, RelationGetIndexList(relation))
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(tuple))
			continue;
		found |= heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
			index_is_key((Form_pg_index) GETSTRUCT(tuple), columns);
		ReleaseSysCache(tuple);
	}
	return found;
}

static List *
primary_key(Relation relation)
{
	Bitmapset  *columns = RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	List	   *names = NIL;
	int			i = -1;

	while ((i = bms_next_member(columns, i)) >= 0)
		names = lappend(names, get_attname(RelationGetRelid(relation),
										   i + FirstLowInvalidHeapAttributeNumber, false));
	return names;
}

List *
job_table_key(Relation relation, List *given)
{
	char		kind = relation->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(relation))));
	if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"%s\" is a temporary table, which a job cannot see",
						RelationGetRelationName(relation))));
	if (given != NIL)
	{
		if (!columns_are_key(relation, given))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"key\" does not tell the rows of \"%s\" apart",
							RelationGetRelationName(relation)),
					 errhint("Its columns must be NOT NULL and have a unique index of their own.")));
		return given;
	}
	given = primary_key(relation);
	if (given == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no primary key", RelationGetRelationName(relation)),
				 errdetail("A job remembers by it which rows are done."),
				 errhint("Add one, or name the columns of a unique index in the option \"key\".")));
	return given;
}

/* ------------------------------------------------------------------
 *	Reading
 * ------------------------------------------------------------------
 */

static char *
qualified_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
}

static void
read_key(JobTable *table)
{
	StringInfoData match;
	StringInfoData of_row;
	ListCell   *cell;

	initStringInfo(&match);
	initStringInfo(&of_row);
	foreach(cell, table->key)
	{
		int			i = foreach_current_index(cell);
		AttrNumber	number = get_attnum(table->relation, lfirst(cell));
		Oid			type = get_atttype(table->relation, number);
		const char *name = quote_identifier(lfirst(cell));

		appendStringInfo(&match, "%st.%s = (k.key->>%d)::%s", i ? " AND " : "",
						 name, i, format_type_be_qualified(type));
		appendStringInfo(&of_row, "%st.%s", i ? ", " : "", name);
	}
	table->key_match = match.data;
	table->key_of_row = psprintf("pg_catalog.jsonb_build_array(%s)", of_row.data);
}

static void
read_target(JobTable *table, Relation relation, const char *target, Oid into)
{
	Oid			holder = OidIsValid(into) ? into : table->relation;
	AttrNumber	number = get_attnum(holder, target);
	ListCell   *cell;

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", target, get_rel_name(holder))));
	foreach(cell, table->key)
		if (strcmp(lfirst(cell), target) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" is part of the key and cannot be the target", target)));
	if (!OidIsValid(into) && TupleDescAttr(RelationGetDescr(relation), number - 1)->attgenerated)
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("column \"%s\" is a generated column", target)));
	table->target = pstrdup(quote_identifier(target));
	table->target_type = get_atttype(holder, number);
	table->target_type_name = format_type_be_qualified(table->target_type);
}

void
job_table_read(JobTable *table, Relation relation, List *key, const char *target,
			   const char *prompt, const char *where, Oid into)
{
	bool		partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	memset(table, 0, sizeof(*table));
	table->relation = RelationGetRelid(relation);
	table->name = psprintf("%s%s", partitioned ? "" : "ONLY ", qualified_name(table->relation));
	table->key = key;
	table->where = where ? psprintf("(%s\n)", where) : "true";
	read_key(table);
	job_template_read(&table->template, prompt, relation, target);
	if (OidIsValid(into))
		table->into = qualified_name(into);
	read_target(table, relation, target, into);
}

/* ------------------------------------------------------------------
 *	Statements
 * ------------------------------------------------------------------
 */

/* A condition that brings its own comment shall not swallow what follows. */
char *
job_table_select_keys(const JobTable *table)
{
	return psprintf("SELECT %s FROM %s AS t WHERE %s\n",
					table->key_of_row, table->name, table->where);
}

char *
job_table_select_prompts(const JobTable *table, bool locked)
{
	return psprintf("SELECT k.ord, %s\n, %s, %s"
					" FROM pg_catalog.unnest($1) WITH ORDINALITY AS k(key, ord)"
					" JOIN %s AS t ON %s%s",
					table->where, table->template.expression, table->template.all_null,
					table->name, table->key_match,
					locked ? " FOR NO KEY UPDATE OF t SKIP LOCKED" : "");
}

static char *
into_columns(const JobTable *table, char **values)
{
	StringInfoData names;
	StringInfoData casts;
	ListCell   *cell;

	initStringInfo(&names);
	initStringInfo(&casts);
	foreach(cell, table->key)
	{
		AttrNumber	number = get_attnum(table->relation, lfirst(cell));

		appendStringInfo(&names, "%s, ", quote_identifier(lfirst(cell)));
		appendStringInfo(&casts, "(k.key->>%d)::%s, ", foreach_current_index(cell),
						 format_type_be_qualified(get_atttype(table->relation, number)));
	}
	*values = casts.data;
	return names.data;
}

char *
job_table_write(const JobTable *table)
{
	char	   *values;
	char	   *names;

	if (table->into == NULL)
		return psprintf("UPDATE %s AS t SET %s = (k.value)::%s"
						" FROM unnest($1, $2) AS k(key, value) WHERE %s",
						table->name, table->target, table->target_type_name, table->key_match);
	names = into_columns(table, &values);
	return psprintf("INSERT INTO %s (%s%s) SELECT %s(k.value)::%s"
					" FROM unnest($1, $2) AS k(key, value)"
					" ON CONFLICT (%.*s) DO UPDATE SET %s = EXCLUDED.%s",
					table->into, names, table->target, values, table->target_type_name,
					(int) strlen(names) - 2, names, table->target, table->target);
}

char *
job_table_select_values(const JobTable *table)
{
	char	   *joined = "";
	const char *holder = "t";
	StringInfoData on;
	ListCell   *cell;

	if (table->into)
	{
		initStringInfo(&on);
		foreach(cell, table->key)
			appendStringInfo(&on, "%st.%s = s.%s", foreach_current_index(cell) ? " AND " : "",
							 quote_identifier(lfirst(cell)), quote_identifier(lfirst(cell)));
		joined = psprintf(" JOIN %s AS s ON %s", table->into, on.data);
		holder = "s";
	}
	return psprintf("SELECT k.ord, %s, %s, (%s.%s)::pg_catalog.text IS NOT DISTINCT FROM (k.value)::%s::pg_catalog.text"
					" FROM unnest($1, $2) WITH ORDINALITY AS k(key, value, ord)"
					" JOIN %s AS t ON %s%s",
					table->template.expression, table->template.all_null, holder, table->target,
					table->target_type_name, table->name, table->key_match, joined);
}

/* ------------------------------------------------------------------
 *	The side table, the trigger
 * ------------------------------------------------------------------
 */

static void
run(const char *statement)
{
	int			rc = SPI_execute(statement, false, 0);

	if (rc < 0)
		elog(ERROR, "statement failed: %s", SPI_result_code_string(rc));
}

Oid
job_table_create_into(const JobTable *table, const char *name)
{
	List	   *names = stringToQualifiedNameList(name
#if PG_VERSION_NUM >= 160000
												  ,NULL
#endif
		);
	RangeVar   *range = makeRangeVarFromNameList(names);
	Oid			there;
	StringInfoData columns;
	StringInfoData key;
	ListCell   *cell;
	char	   *qualified;

	/* without a schema: beside the relation */
	if (range->schemaname == NULL)
		range->schemaname = get_namespace_name(get_rel_namespace(table->relation));
	there = RangeVarGetRelid(range, NoLock, true);
	if (OidIsValid(there))
		return there;
	initStringInfo(&columns);
	initStringInfo(&key);
	foreach(cell, table->key)
	{
		AttrNumber	number = get_attnum(table->relation, lfirst(cell));
		const char *column = quote_identifier(lfirst(cell));

		appendStringInfo(&columns, "%s %s, ", column,
						 format_type_be_qualified(get_atttype(table->relation, number)));
		appendStringInfo(&key, "%s%s", foreach_current_index(cell) ? ", " : "", column);
	}
	qualified = quote_qualified_identifier(range->schemaname, range->relname);
	run(psprintf("CREATE TABLE %s (%s%s pg_catalog.text, PRIMARY KEY (%s))",
				 qualified, columns.data, table->target, key.data));
	return RangeVarGetRelid(range, NoLock, false);
}

void
job_table_create_trigger(const JobTable *table, Relation relation, int64 job,
						 bool all_columns)
{
	TupleDesc	descriptor = RelationGetDescr(relation);
	StringInfoData columns;
	const char *schema;

	initStringInfo(&columns);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		const char *name = quote_identifier(NameStr(attribute->attname));
		bool		input = all_columns || list_member_int(table->template.columns, i + 1);
		ListCell   *cell;

		foreach(cell, table->key)
			input |= strcmp(lfirst(cell), NameStr(attribute->attname)) == 0;
		if (attribute->attisdropped || !input ||
			(table->into == NULL && strcmp(name, table->target) == 0))
			continue;
		appendStringInfo(&columns, "%s%s", columns.len ? ", " : "", name);
	}
	(void) job_extension(&schema, NULL);
	run(psprintf("CREATE TRIGGER dsr1_job_" INT64_FORMAT " AFTER INSERT OR UPDATE OF %s ON %s"
				 " FOR EACH ROW EXECUTE FUNCTION %s.dsr1_job_enqueue('" INT64_FORMAT "')",
				 job, columns.data, qualified_name(table->relation), schema, job));
}
