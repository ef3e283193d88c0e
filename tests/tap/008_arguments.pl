
# Every function with odd arguments, at random: errors, but never a crash
#
# Takes every function whose name begins with dsr1_ from the catalogue, so that
# a new one is tried without a line here. DSR1_ARGUMENT_CALLS says how many
# calls; a failure prints the seed that repeats it.
#
# SPDX-License-Identifier: PostgreSQL
use strict;
use warnings;

use Dsr1;
use PostgreSQL::Test::Utils;
use Test::More;

my $calls = $ENV{DSR1_ARGUMENT_CALLS} // 1500;
my $seed = $ENV{DSR1_ARGUMENT_SEED} // time;
srand($seed);
note("seed $seed");

my $node = new_cluster('arguments', conf => "dsr1.engine_path = '$ENV{DSR1_FAKE_ENGINE}'\nstatement_timeout = 2s");
$node->safe_psql('postgres', <<'SQL');
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN short AS text CHECK (length(value) < 5);
CREATE TABLE t (id int PRIMARY KEY, body text, answer text, m mood);
INSERT INTO t SELECT g, 'text ' || g FROM generate_series(1, 5) g;
CREATE TABLE keyless (a text);
CREATE TYPE pair AS (a int, b text[]);
SQL

my @texts = ("''", "'x'", "'{body}'", "'\x{e4}\x{4e00}'", "repeat('x', 1000000)", "repeat('{', 10000)", "E'\\x01\\x7f'",
	"convert_from('\\xc3a4', 'UTF8')", "'[say %ff]'", "'[say %00]'", "'[wrong]'", "'[error -4 x]'", "'[error 99 x]'", "'[twice]'",
	"'[long 100000]'", "'<|im_end|>'", "chr(1114111)", "'NaN'", "repeat('[', 100000)");
my @jsons = ("'{}'", "'[]'", "'null'", "'1'", "'\"x\"'", "'{\"a\": {\"b\": [1, 2, {}]}}'", "'{\"watch\": true}'",
	"'{\"batch\": 1e9}'", "'{\"labels\": [null]}'", "'{\"labels\": [\"a\", \"a\"]}'", "'{\"schema\": {\"type\": 1}}'",
	"'{\"where\": \"1/0 = 1\"}'", "'{\"into\": \"t\"}'", "'{\"key\": [\"id\", \"id\"]}'", "('{\"where\": \"' || repeat('(', 10000) || '\"}')",
	"('[' || repeat('[', 5000) || repeat(']', 5000) || ']')", "'{\"max_tokens\": -1}'", "'[{\"role\": \"user\", \"content\": \"x\"}]'",
	"'{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\"}}}'");
my %values = (
	text => \@texts,
	jsonb => \@jsons,
	int4 => [ -1, 0, 1, 2, 2147483647, -2147483648, 1000 ],
	int8 => [ -1, 0, 1, 2, 3, '9223372036854775807', "'-9223372036854775808'" ],
	float8 => [ 0, 0.5, -1, "'NaN'", "'Infinity'", "'-Infinity'", 1e308, 1e-308, 100 ],
	bool => [ 'true', 'false' ],
	name => [ "'answer'", "'id'", "''", "'no such'", "repeat('x', 100)", "'m'" ],
	oid => [ 0, 1, 10, 4294967295 ],
	regclass => [ "'t'", "'keyless'", "'pg_class'", 0, 4294967295, "'dsr1_job'", "'dsr1_jobs'" ],
	interval => [ "'0'", "'-1 s'", "'1 ms'", "'100000 years'" ],
	anyenum => [ 'NULL::mood', "'sad'::mood" ],
	anyelement => [ 'NULL::pair', 'NULL::mood', 'NULL::int', 'NULL::text', 'NULL::short', 'NULL::date', 'NULL::t', '1', 'ROW(1, 2)', 'NULL::record' ],
	'text[]' => [ "'{}'", "'{a,b}'", "'{a,NULL}'", "'{{a,b},{c,d}}'", "'[5:6]={a,b}'", "'{\"\"}'", "array_fill('x'::text, '{2000}')",
		"'{a,a}'", "array_fill('x'::text, '{2,2,2,2}', '{-5,0,5,7}')" ],
	'int4[]' => [ "'{}'", "'{1,2,3}'", "'{NULL}'", "'{{1},{2}}'", "'[-3:-2]={1,2}'", "'{-1}'", "'{2147483647}'", "array_fill(7, '{100000}')" ],
	'float4[]' => [ "'{}'", "'{1,2}'", "'{NaN}'", "'{NULL}'" ]);

sub value
{
	my ($type) = @_;
	my $some = $values{$type} // ['NULL'];
	return "NULL::" . ($type =~ /^any/ ? 'mood' : $type) if rand() < 0.08;
	my $value = $some->[ rand @$some ];
	return $type =~ /^any/ || !$values{$type} ? $value : "($value)::$type";
}

my @functions = map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', <<'SQL');
SELECT p.proname, p.prokind, p.proretset,
       (SELECT string_agg(CASE WHEN t.typelem <> 0 AND t.typlen = -1 THEN e.typname || '[]' ELSE t.typname END, ' ' ORDER BY n)
          FROM unnest(p.proargtypes) WITH ORDINALITY a(type, n)
               JOIN pg_type t ON t.oid = a.type LEFT JOIN pg_type e ON e.oid = t.typelem)
  FROM pg_proc p WHERE p.proname LIKE 'dsr1\_%' AND p.prokind IN ('f', 'a')
   AND p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype)
   AND NOT 'internal'::regtype = ANY (p.proargtypes::oid[])
   AND p.proname NOT IN ('dsr1_reload') ORDER BY 1
SQL
cmp_ok(scalar @functions, '>', 10, scalar(@functions) . ' functions are tried');

my @statements;
for (1 .. $calls)
{
	my ($name, $kind, $set, $types) = @{ $functions[ rand @functions ] };
	my $call = "$name(" . join(', ', map { value($_) } split / /, $types // '') . ')';
	my $where = rand() < 0.3 && $kind eq 'f' ? 'FROM generate_series(1, 3)' : '';
	push @statements, "SELECT $call $where;";
}

# In several sessions after one another, so that a crash is noticed near its cause
my $errors = 0;
while (my @some = splice(@statements, 0, 50))
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/arguments.sql";
	open my $out, '>:encoding(UTF-8)', $file or die;
	print $out "SET dsr1.start_timeout = '5s';\n", join("\n", @some), "\n";
	close $out;
	my ($stdout, $stderr) = run_command([ 'psql', '-Xqt', '-o', '/dev/null', '-f', $file, $node->connstr('postgres') ]);
	$errors += () = $stderr =~ /ERROR:/g;
	next if $stderr !~ /server closed the connection|connection to server/;
	fail('a session ended, with seed ' . $seed);
	diag($stderr, join("\n", @some));
	last;
}
cmp_ok($errors, '>', 0, "$errors of $calls calls are errors");
is($node->safe_psql('postgres', "SELECT dsr1_complete('still here')"), 'still here', 'the server is in good health');
unlike(slurp_file($node->logfile), qr/cache lookup failed|unexpected|TRAP|PANIC/, 'and no error is an internal one');
no_crash_recovery($node);
$node->stop;
done_testing();
