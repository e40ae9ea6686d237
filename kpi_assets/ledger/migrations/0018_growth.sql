-- How far each load_date that grows has been built by live runs.

create table ops.growth (
    load_date date primary key,
    run_id text not null,
    through timestamp with time zone,
    ticked_at timestamp with time zone not null default clock_timestamp(),
    finished_at timestamp with time zone
);
comment on table ops.growth is
'How far each load_date of a pipeline with streams has been built by live runs.';
comment on column ops.growth.load_date is 'load_date.';
comment on column ops.growth.run_id is 'Run that made the latest tick.';
comment on column ops.growth.through is
'All events that the broker took before this instant are built, unless a gate holds them; NULL if none is known to be.';
comment on column ops.growth.ticked_at is 'When the latest tick ended.';
comment on column ops.growth.finished_at is
'When the load_date was closed and all of it was built; NULL as long as it grows.';
