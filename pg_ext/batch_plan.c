#include "postgres.h"
#include "batch_plan.h"
void
batch_plan(PlannedStmt *plan, int cursor_options)
{
}

void
batch_register(void)
{
}
