-- Since when a value is that of a refresh, so that nobody is told that readers saw it before.

alter table ops.kpi_values add column refreshed_at timestamp with time zone;
comment on column ops.kpi_values.refreshed_at is
'When `kpi measures --refresh` computed it, long after the publish; NULL if it was computed for the publish itself.';
