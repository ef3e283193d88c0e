/*-------------------------------------------------------------------------
 *
 * job_template.c
 *	  a job's prompt, row by row
 *
 * The prompt becomes an expression of SQL, so that the server renders it: with
 * its own output functions, and only from columns that the role may read.
 *
 * SPDX-License-Identifier: PostgreSQL
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "job_template.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

typedef struct Builder
{
	StringInfoData expression;
	StringInfoData all_null;
	StringInfoData literal;		/* text since the last column */
	Relation	relation;
	const char *target;
	List	   *columns;
} Builder;

static void
add_part(Builder *builder, const char *part)
{
	appendStringInfo(&builder->expression, "%s%s",
					 builder->expression.len > 0 ? " OPERATOR(pg_catalog.||) " : "", part);
}

static void
flush_literal(Builder *builder)
{
	if (builder->literal.len == 0)
		return;
	add_part(builder, psprintf("%s::pg_catalog.text", quote_literal_cstr(builder->literal.data)));
	resetStringInfo(&builder->literal);
}

static void
add_column(Builder *builder, Form_pg_attribute attribute)
{
	const char *name = quote_identifier(NameStr(attribute->attname));

	flush_literal(builder);
	add_part(builder, psprintf("COALESCE(t.%s::pg_catalog.text, '')", name));
	if (list_member_int(builder->columns, attribute->attnum))
		return;
	appendStringInfo(&builder->all_null, "%st.%s IS NULL",
					 builder->columns == NIL ? "" : " AND ", name);
	builder->columns = lappend_int(builder->columns, attribute->attnum);
}

static void
add_all_columns(Builder *builder)
{
	TupleDesc	descriptor = RelationGetDescr(builder->relation);
	const char *between = "";

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped || strcmp(NameStr(attribute->attname), builder->target) == 0)
			continue;
		appendStringInfo(&builder->literal, "%s%s: ", between, NameStr(attribute->attname));
		add_column(builder, attribute);
		between = "\n";
	}
}

static void
add_named_column(Builder *builder, const char *name)
{
	AttrNumber	number = get_attnum(RelationGetRelid(builder->relation), name);

	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						name, RelationGetRelationName(builder->relation)),
				 errhint("A brace that is not meant for a column is written \"{{\".")));
	if (strcmp(name, builder->target) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the prompt must not depend on the target column \"%s\"", name)));
	add_column(builder, TupleDescAttr(RelationGetDescr(builder->relation), number - 1));
}

/* The name within "{name}" or "{"name"}", and in *end what follows; NULL if it is none. */
static char *
read_name(const char *open, const char **end)
{
	StringInfoData name;
	const char *c = open + 1;

	initStringInfo(&name);
	if (*c == '"')
	{
		for (c++; *c && (*c != '"' || c[1] == '"'); c++)
		{
			appendStringInfoChar(&name, *c);
			c += *c == '"';
		}
		c += *c == '"';
	}
	else if (*c == '*')
		appendStringInfoChar(&name, *c++);
	else if (IS_HIGHBIT_SET(*c) || isalpha((unsigned char) *c) || *c == '_')
	{
		for (; IS_HIGHBIT_SET(*c) || isalnum((unsigned char) *c) || *c == '_' || *c == '$'; c++)
			appendStringInfoChar(&name, pg_tolower((unsigned char) *c));
	}
	if (*c != '}' || name.len == 0)
		return NULL;
	*end = c + 1;
	return name.data;
}

void
job_template_read(JobTemplate *template, const char *prompt, Relation relation,
				  const char *target)
{
	Builder		builder = {.relation = relation, .target = target};

	initStringInfo(&builder.expression);
	initStringInfo(&builder.all_null);
	initStringInfo(&builder.literal);
	for (const char *c = prompt; *c;)
	{
		const char *end;
		char	   *name = *c == '{' && c[1] != '{' ? read_name(c, &end) : NULL;

		if (name == NULL)
		{
			appendStringInfoChar(&builder.literal, *c);
			c += c[0] == '{' && c[1] == '{' ? 2 : 1;
			continue;
		}
		if (strcmp(name, "*") == 0 && c[1] == '*')
			add_all_columns(&builder);
		else
			add_named_column(&builder, name);
		c = end;
	}
	if (builder.columns == NIL)
	{
		appendStringInfoString(&builder.literal, "\n\n");
		add_all_columns(&builder);
	}
	flush_literal(&builder);
	template->expression = builder.expression.data;
	template->all_null = builder.columns == NIL ? "true" : builder.all_null.data;
	template->columns = builder.columns;
}
