-- An erasure that is interrupted goes on later. Its receipt counts what every attempt has emptied, and not the last alone.

alter table ops.erasures add column emptied jsonb not null default '{}';
comment on column ops.erasures.emptied is 'How many decisions, and rows of tables of ops, were emptied.';
