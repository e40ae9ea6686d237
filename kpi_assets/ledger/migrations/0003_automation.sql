-- What automation has to remember: from what each held build was made, and for which load_dates runs were asked.

create table ops.holds (
    build_id bigint primary key references ops.pipeline_runs (id),
    manifest_hash text not null,
    code_version text not null,
    checks_version text not null,
    inputs jsonb not null
);
comment on table ops.holds is
'What each held build was made from, as ops.publishes says it of the others: the same would be held again.';

create table ops.requests (
    load_date date primary key,
    basis text not null,
    attempts integer not null default 1,
    requested_at timestamp with time zone not null default clock_timestamp()
);
comment on table ops.requests is
'The load_dates for which a run was asked; attempts is 0 where it came to an end: published, or held.';
comment on column ops.requests.basis is
'Of the objects, SQL and checks that the run was asked for; for others it is asked anew at once.';
comment on column ops.requests.attempts is
'How often a run was asked for on this basis: each time after a longer pause.';

create index on ops.pipeline_runs (load_date, id);
