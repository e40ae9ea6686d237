-- What `main` of a table on the lake shows, so that a build knows which load_dates of it lag behind the ledger.

create table ops.mirrors (
    asset text not null,
    load_date date not null,
    place text,
    changed_at timestamptz not null default clock_timestamp(),
    primary key (asset, load_date)
);
comment on table ops.mirrors is
'The load_dates that main of a table on the lake shows. It lags where ops.published names another place.';
comment on column ops.mirrors.asset is 'The table, as schema.table.';
comment on column ops.mirrors.load_date is 'The load_date that main shows.';
comment on column ops.mirrors.changed_at is 'When main was last about to be changed, or changed.';
comment on column ops.mirrors.place is
'The snapshot whose rows main shows, as in ops.publishes; NULL while they are changed, and if that did not end.';
