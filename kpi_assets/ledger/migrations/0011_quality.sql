-- What a check adds to the quality score: its dimension, how many rows it examined, and how many of them are bad.

alter table ops.data_quality_results
add column dimension text
check (dimension in ('completeness', 'uniqueness', 'validity', 'consistency', 'referential_integrity')),
add column rows_examined bigint,
add column rows_bad bigint
check (rows_bad between 0 and rows_examined);
comment on column ops.data_quality_results.dimension is
'Dimension of the quality score to which the check belongs; NULL for a check that does not count in it.';
comment on column ops.data_quality_results.rows_examined is
'Rows that a check with a dimension examined; of the check quality, the rows of the build; else NULL.';
comment on column ops.data_quality_results.rows_bad is
'How many of rows_examined are bad. A check that could not run, or that counts no rows, has all of them or none.';
comment on column ops.data_quality_results.samples is
'The first bad rows, as JSON; of the check quality, the report by dimension.';
