
# Settings change, roles, encodings, a standby
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_cluster('settings', init => { allows_streaming => 1 });
my $question = "SELECT dsr1_complete('The capital of France is', 1, raw => true)";
wait_for_ready($node);

# A new engine for new settings; who waits is asked for again, however often
my $alone = $node->safe_psql('postgres', long_question(7, 300));
my $pid = engine_pid($node);
my $asked = ask_later($node, long_question(7, 300));
wait_until(sub { running_requests($node) == 1 });
for my $threads (1, 2, 1)
{
	$node->append_conf('postgresql.conf', "dsr1.threads = $threads");
	$node->reload;
	wait_until(sub { my $now = engine_pid($node); $now ne '' && $now ne $pid && ($pid = $now) });
}
is(answer_of($asked), $alone, 'the answer is the same through three restarts, with 1 or 2 threads');

$node->append_conf('postgresql.conf', 'dsr1.context_size = 64');
$node->reload;
ok( wait_until(
		sub {
			answer_of(ask_later($node, "SELECT dsr1_complete(repeat('word ', 100), 1, raw => true)")) =~
			  /54000: prompt has 101 tokens, but the context holds 64/;
		}),
	'dsr1.context_size takes effect');

# What is logged, and what never is
$node->safe_psql('postgres', "SET dsr1.log_requests = on; SET log_statement = 'none'; $question");
like(slurp_file($node->logfile), qr/dsr1 request \d+ \(complete\): 5 prompt tokens \(\d+ cached\), 1 answer tokens/, 'dsr1.log_requests');
unlike(slurp_file($node->logfile), qr/ Paris/, 'answers are not logged');

# A database that holds less than UTF-8
$node->safe_psql('postgres',
	"CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
$node->safe_psql('latin1', 'CREATE EXTENSION dsr1');
is($node->safe_psql('latin1', "SELECT dsr1_count_tokens(U&'M\\00fcnchen')"),
	$node->safe_psql('postgres', "SELECT dsr1_count_tokens(U&'M\\00fcnchen')"), 'text goes out as UTF-8');
is($node->safe_psql('latin1', $question), ' Paris', 'and comes back');
my $japanese = "SELECT dsr1_complete(E'Japanese numbers: ichi = \\u4e00, ni = \\u4e8c, san =', 4, raw => true)";
my ($rc, $out, $err) = $node->psql('latin1',
	"SELECT dsr1_complete('Translate into Japanese characters. hello:', 30, system => 'You write Japanese only.', temperature => 1.5, seed => g) FROM generate_series(1, 40) g",
	extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($err, qr/22P05.*\nHINT:  Use a database with encoding UTF8/s, 'what the encoding cannot hold is an error with a hint');

# A standby answers like its primary
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', long_question(3, 40)),
	$node->safe_psql('postgres', long_question(3, 40)), 'a standby gives the same answer');
ok(!-e $standby->backup_dir . '/base/pg_stat_tmp/dsr1.sock', 'a base backup holds no socket');
$standby->stop;
no_crash_recovery($node);
$node->stop;
done_testing();
