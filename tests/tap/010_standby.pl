
# A standby serves the same functions with the same answers, to the last bit
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_cluster('primary', init => { allows_streaming => 1 });
$primary->safe_psql(
	'postgres', q{
	CREATE TABLE notes AS SELECT i AS id, 'Note ' || i || CASE i % 2 WHEN 0 THEN ' is nice.' ELSE ' is bad.' END AS body
	  FROM generate_series(1, 60) AS i});
$primary->backup('copy');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

is($standby->safe_psql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'the standby is one');

my @queries = (
	q{SELECT id, dsr1_scores(body, ARRAY['good', 'bad', 'so so']) FROM notes ORDER BY id},
	q{SELECT id, dsr1_complete(body, 4) FROM notes WHERE id <= 20 ORDER BY id},
	q{SELECT id, dsr1_complete(body, 4, temperature => 1, seed => id) FROM notes WHERE id <= 20 ORDER BY id},
	q{SELECT id, dsr1_embed(body) FROM notes WHERE id <= 10 ORDER BY id},
	q{SELECT count(*) FROM notes WHERE dsr1_filter(body, 'It is praise.')});

foreach my $query (@queries)
{
	my $here = $primary->safe_psql('postgres', $query);
	# another batch, another order of work, the same bits
	my $there = $standby->safe_psql('postgres', "SET dsr1.prefetch_rows = 5; $query");

	isnt($here, '', "the primary answers: $query");
	ok($there eq $here, "the standby answers the same: $query");
}

$primary->stop('immediate');
$standby->promote;
is( $standby->safe_psql('postgres', $queries[4]),
	$standby->safe_psql('postgres', "SET dsr1.enable_batch = off; $queries[4]"),
	'and goes on after its promotion');
no_crash_recovery($standby);
$standby->stop;
done_testing();
