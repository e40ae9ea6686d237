-- Retention: rows that were dropped to save room. The ledger keeps what they were, and S3 can give them again.

alter table ops.publishes add column dropped_at timestamp with time zone;
comment on column ops.publishes.dropped_at is
'When retention dropped its rows, which a replay from S3 gives again; superseded_at is then the same.';
