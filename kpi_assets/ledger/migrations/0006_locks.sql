-- Locks: who builds what just now. Each dies with its session, and only those who build may write here.

create table ops.locks (
    name text not null,
    share bigint not null default 0,
    token bigint,
    pid integer,
    login oid,
    holder text,
    since timestamp with time zone not null default clock_timestamp(),
    primary key (name, share)
);
comment on table ops.locks is
'The locks of runs, builds and publishes. A row whose session is gone is held by nobody.';
comment on column ops.locks.share is '0 for a lock that one session has alone; else its token, where several share it.';
comment on column ops.locks.token is
'Number of the advisory lock that the session holds as long as it lives; NULL where transactions lock the row itself.';
comment on column ops.locks.holder is 'The application_name of the session.';
