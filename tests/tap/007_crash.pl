
# Whatever is killed, whenever: a job writes every row exactly once
#
# DSR1_CRASH_KILLS says how often; make check-crash kills 50 times over 5,000 rows.
# The kernel's SIGKILL of a process with shared memory makes the postmaster start
# all others again: that is looked for here, and nowhere else.
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $kills = $ENV{DSR1_CRASH_KILLS} // 6;
my $rows = 100 * $kills;
my $seed = $ENV{DSR1_CRASH_SEED} // time;
srand($seed);
note("seed $seed, $kills kills, $rows rows");

my $node = new_cluster('crash',
	conf => "dsr1.engine_path = '$ENV{DSR1_FAKE_ENGINE}'\nrestart_after_crash = on\nlog_min_messages = log");

sub server_is_back
{
	return wait_until(sub { defined try_sql($node, 'SELECT 1') }, 60);
}

$node->safe_psql('postgres',
	"CREATE TABLE big (id int PRIMARY KEY, body text, answer text);
	INSERT INTO big SELECT g, '[delay ' || 200 + g % 7 * 30 || ']text ' || g FROM generate_series(1, $rows) g;
	CREATE TABLE written (id int);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
		\$\$ BEGIN INSERT INTO public.written VALUES (NEW.id); RETURN NULL; END \$\$;
	CREATE TRIGGER note AFTER UPDATE ON big FOR EACH ROW EXECUTE FUNCTION note()");
my $job = $node->safe_psql('postgres', "SELECT dsr1_annotate('big', 'answer', '{body}', '{\"retries\": 1000}')");

my %killed;
sub kill_one
{
	my ($what) = @_;
	my $pid =
	    $what eq 'engine' ? try_sql($node, 'SELECT pid FROM dsr1_stat_engine')
	  : $what eq 'worker' ? try_sql($node, 'SELECT pid FROM dsr1_stat_progress_job LIMIT 1')
	  :                     undef;
	my $bystander;

	if ($what eq 'postmaster')
	{
		kill_postmaster($node);
	}
	elsif ($what eq 'backend')
	{
		$bystander = ask_later($node, "SELECT dsr1_complete('[delay 5000]bystander')");
		$pid = wait_until(sub { try_sql($node, "SELECT pid FROM pg_stat_activity WHERE query LIKE '%bystander%' AND pid <> pg_backend_pid()") }, 5);
		kill 'KILL', $pid if $pid;
		$bystander->{run}->finish;
	}
	else
	{
		return 0 if !$pid;
		kill 'KILL', $pid;
	}
	$killed{$what}++;
	return 1;
}

my $n = 0;
my @kinds = qw(engine worker backend engine worker postmaster);
for my $try (1 .. 20 * $kills)
{
	last if $n >= $kills;
	usleep(100_000 + rand(500_000));
	server_is_back() or last;
	last if (try_sql($node, "SELECT state FROM dsr1_jobs WHERE id = $job") // '') eq 'done';
	$n += kill_one($kinds[ $n < @kinds ? $n : rand(@kinds) ]);
}
is($n, $kills, "killed $n times while the job ran: " . join(', ', map { "$_ $killed{$_}" } sort keys %killed));
ok(server_is_back(), 'the server is there');
ok( wait_until(sub { (try_sql($node, "SELECT state FROM dsr1_jobs WHERE id = $job") // '') eq 'done' }, 300),
	'the job comes to its end by itself')
  or diag(try_sql($node, "SELECT state, done, failed, pending, last_error FROM dsr1_jobs WHERE id = $job"));
is($node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE answer = 'text ' || id) FROM big"),
	"$rows|$rows", 'every row has its answer');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM written'), "$rows|$rows", 'every row was written exactly once');
is($node->safe_psql('postgres', "SELECT done, failed, pending FROM dsr1_jobs WHERE id = $job"), "$rows|0|0", 'the job has counted them so');

# Each cluster-wide restart that was logged is one that we asked for.
my $log = slurp_file($node->logfile);
my $restarts = () = $log =~ /terminating any other active server processes/g;
cmp_ok($restarts, '<=', ($killed{worker} // 0) + ($killed{backend} // 0), 'only what we killed made the postmaster start others again');
my @crashed = $log =~ /((?:server process|background worker).*was terminated by signal \d+.*)/g;
is(scalar(grep { !/signal 9/ } @crashed), 0, 'and nothing ended by another signal than ours');
$node->stop;
done_testing();
