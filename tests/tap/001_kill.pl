
# The engine is killed in the midst of work, and nobody notices but the log
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('kill');
wait_for_ready($node);

# What eight sessions ask, each alone and undisturbed
my @alone = map { $node->safe_psql('postgres', long_question($_, 200)) } 1 .. 8;

my $pid = engine_pid($node);
my $bystander = ask_later($node, "SELECT pg_sleep(3), 'undisturbed'");
my @asked = map { ask_later($node, long_question($_, 200)) } 1 .. 8;
ok(wait_until(sub { running_requests($node) == 8 }), 'eight sessions wait for an answer');
kill 'KILL', $pid;
is(answer_of($asked[$_]), $alone[$_], "session $_ gets the answer that it gets undisturbed") for 0 .. 7;
like(answer_of($bystander), qr/undisturbed/, 'another session has noticed nothing');

wait_for_ready($node);
isnt(engine_pid($node), $pid, 'there is a new engine');
is($node->safe_psql('postgres', 'SELECT restarts FROM dsr1_stat_engine'), 1, 'it was started again once');
like($node->safe_psql('postgres', 'SELECT last_error FROM dsr1_stat_engine'),
	qr/signal 9/, 'dsr1_stat_engine tells why');
like(slurp_file($node->logfile), qr/inference engine was terminated by signal 9/, 'so does the log');

# A request that is in flight at two deaths is given up, for it may be the cause
my $poison = ask_later($node, long_question(1, 2000));
for my $death (1 .. 2)
{
	ok( wait_until(sub { wait_for_ready($node); running_requests($node) == 1 }),
		"request is running before death $death");
	kill 'KILL', engine_pid($node);
}
like(answer_of($poison), qr/58030.*inference engine ended while it ran this request/s, 'after two deaths it fails');
wait_for_ready($node);
is($node->safe_psql('postgres', long_question(2, 200)), $alone[1], 'others are served again');

# Idle sessions do not notice either
my $session = $node->background_psql('postgres');
my $first = $session->query(long_question(3, 20));
kill 'KILL', engine_pid($node);
is($session->query(long_question(3, 20)), $first, 'a session goes on with the next engine');
$session->quit;

no_crash_recovery($node);
$pid = engine_pid($node);
$node->stop('fast');
ok(process_ended($pid), 'the server takes its engine along');
done_testing();
