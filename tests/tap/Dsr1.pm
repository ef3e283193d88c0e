
# What the tests of dsr1 share: a cluster with the extension, its engine, questions that take a while
#
# SPDX-License-Identifier: PostgreSQL
package Dsr1;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(new_cluster engine_pid wait_for_ready ask_later answer_of
  long_question wait_until process_ended no_crash_recovery running_requests batch_now try_sql kill_postmaster);

# A started cluster with the extension in database postgres.  Options: preload, conf.
sub new_cluster
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%{ $options{init} // {} });
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'dsr1'")
	  if $options{preload} // 1;
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION dsr1');
	return $node;
}

# Calls a function until it returns true, for at most so many seconds.
sub wait_until
{
	my ($function, $seconds) = @_;
	my $end = time() + ($seconds // 30);

	while (1)
	{
		my $value = $function->();
		return $value if $value;
		return undef if time() > $end;
		usleep(20_000);
	}
}

sub engine_pid
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT pid FROM dsr1_stat_engine');
}

sub wait_for_ready
{
	my ($node) = @_;
	return $node->poll_query_until('postgres', "SELECT state = 'ready' FROM dsr1_stat_engine");
}

sub running_requests
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT batch_now + queue FROM dsr1_stat_engine');
}

sub batch_now
{
	my ($node) = @_;
	return $node->safe_psql('postgres', 'SELECT batch_now FROM dsr1_stat_engine');
}

# An answer of $tokens tokens, which is another for each seed.
sub long_question
{
	my ($seed, $tokens) = @_;
	return "SELECT md5(dsr1_complete('Once upon a time', $tokens, temperature => 1, seed => $seed, raw => true))";
}

# Starts a session that asks, and returns at once.
sub ask_later
{
	my ($node, $query, @settings) = @_;
	my $asked = { out => '', err => '' };

	local $ENV{PGOPTIONS} = join ' ', map { "-c $_" } @settings;
	$asked->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'), '-c', $query ],
		'<', \undef, '>', \$asked->{out}, '2>', \$asked->{err});
	return $asked;
}

# Waits for its end; its output without the last newline, or what went wrong.
sub answer_of
{
	my ($asked) = @_;

	$asked->{run}->finish;
	chomp(my $out = $asked->{out});
	return $out ne '' ? $out : $asked->{err};
}

# Has the process ended (or been replaced by the kernel's record of its end)?
sub process_ended
{
	my ($pid, $seconds) = @_;

	return wait_until(
		sub {
			# it may go between any two looks
			open(my $stat, '<', "/proc/$pid/stat") or return 1;
			my $line = <$stat>;
			return !defined $line || $line =~ /\) Z /;
		},
		$seconds);
}

# The answer of a query, or undef while the server is not there
sub try_sql
{
	my ($node, $query) = @_;
	my ($rc, $out) = $node->psql('postgres', $query);

	return defined $rc && $rc == 0 ? $out : undef;
}

# Kills the postmaster and starts another, when all that it had started are gone.
sub kill_postmaster
{
	my ($node) = @_;
	my $postmaster = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die;
	my $end = time() + 30;

	$node->kill9;
	# In a container nobody may reap it, and then it looks alive to its successor, as do its children for a moment.
	while (time() < $end && `pgrep -P $postmaster` ne '') { usleep(50_000) }
	usleep(300_000);
	unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	for my $try (1 .. 20)
	{
		last if $node->start(fail_ok => 1);
		usleep(500_000);
	}
}

sub no_crash_recovery
{
	my ($node) = @_;
	my $log = slurp_file($node->logfile);

	unlike($log, qr/terminating any other active server processes|reinitializing/,
		'no crash recovery: ' . $node->name);
}

1;
