
# Without shared_preload_libraries: the first who asks starts the engine
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use Test::More;

my $node = new_cluster('first_use', preload => 0);
my $question = "SELECT dsr1_complete('The capital of France is', 1, raw => true)";

is($node->safe_psql('postgres', 'SELECT state, pid IS NULL FROM dsr1_stat_engine'),
	'stopped|t', 'looking does not start it');

# All at once: one supervisor, one engine
my @asked = map { ask_later($node, $question) } 1 .. 12;
is(answer_of($_), ' Paris', 'answered') for @asked;
my $supervisors = `pgrep -c -P \$(head -1 @{[ $node->data_dir ]}/postmaster.pid) -f 'dsr1 supervisor'`;
is($supervisors + 0, 1, 'twelve sessions started one supervisor');
is($node->safe_psql('postgres', 'SELECT restarts FROM dsr1_stat_engine'), 0, 'and one engine');

# The end of its databases and of the extension is none of its business
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION dsr1');
is($node->safe_psql('other', $question), ' Paris', 'another database shares it');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE other');
$node->safe_psql('postgres', 'DROP DATABASE other');
is($node->safe_psql('copy', $question), ' Paris', 'a copy of a database has it, too');
$node->safe_psql('postgres', 'DROP EXTENSION dsr1');
$node->safe_psql('postgres', 'CREATE EXTENSION dsr1');
is($node->safe_psql('postgres', $question), ' Paris', 'the extension can be dropped and made again');

# kill -9 of the postmaster: nothing of ours stays behind
my $pid = engine_pid($node);
$node->kill9;
ok(process_ended($pid), 'when the postmaster is killed, the engine ends');
sleep 1;    # the backends end, too
# In a container nobody may reap the postmaster, which then looks alive to its successor.
unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
$node->start;
is($node->safe_psql('postgres', $question), ' Paris', 'after crash recovery it starts again');

$pid = engine_pid($node);
$node->stop('immediate');
ok(process_ended($pid), 'an immediate shutdown ends it');

# No slot for a background worker
$node->append_conf('postgresql.conf', 'max_worker_processes = 0');
$node->start;
like(answer_of(ask_later($node, $question, 'dsr1.start_timeout=300')),
	qr/57P03.*"stopped".*HINT:.*max_worker_processes/s, 'without a slot for the supervisor, the error says so');
$node->stop;
done_testing();
