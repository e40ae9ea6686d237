-- What the ledger records since there are histories: marks among the inputs, and load_dates that were taken out.

comment on column ops.publishes.inputs is
'publish_id of each table read; table@load_date: of another load_date, table@..load_date: a history up to it.';
comment on column ops.publishes.removed_at is
'When `kpi drop` removed the table with all its load_dates, or this load_date of it; superseded_at is set too.';
