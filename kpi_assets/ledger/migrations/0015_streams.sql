-- How far the landing of each stream has come, and which load_dates it has ended.

create table ops.stream_positions (
    stream text not null,
    partition integer not null check (partition >= 0),
    next numeric,
    high_watermark numeric,
    caught_up_at timestamp with time zone,
    problem text,
    written_at timestamp with time zone not null default clock_timestamp(),
    primary key (stream, partition)
);
comment on table ops.stream_positions is
'How far each partition of a stream has been landed: for lag and freshness. The truth is in the keys of the objects.';
comment on column ops.stream_positions.stream is 'Name of the stream.';
comment on column ops.stream_positions.partition is 'Number of the partition.';
comment on column ops.stream_positions.next is
'Position from which the next object goes on; NULL before the first object.';
comment on column ops.stream_positions.high_watermark is
'Position after the last event that the broker had; NULL if it was not asked yet.';
comment on column ops.stream_positions.caught_up_at is
'All events that the broker took before this instant are landed; NULL if none is known to be.';
comment on column ops.stream_positions.problem is
'Why the landing of the partition does not go on, and what to do; NULL if it goes on.';
comment on column ops.stream_positions.written_at is 'When the landing reported this.';

create table ops.stream_closings (
    stream text not null,
    load_date date not null,
    closed_at timestamp with time zone not null default clock_timestamp(),
    primary key (stream, load_date)
);
comment on table ops.stream_closings is
'The load_dates of streams that are closed: no event is landed in them any more.';
comment on column ops.stream_closings.stream is 'Name of the stream.';
comment on column ops.stream_closings.load_date is 'load_date.';
comment on column ops.stream_closings.closed_at is 'When it was closed.';
