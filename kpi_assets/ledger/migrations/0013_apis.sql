-- The turns of requests to APIs, which all processes share.

create table ops.api_turns (
    api text primary key,
    next_at timestamp with time zone not null
);
comment on table ops.api_turns is
'When the next request to an API may be made: one row for each API with requests_per_second, or that asked to wait.';
comment on column ops.api_turns.api is 'Name of the API in pipeline.yaml.';
comment on column ops.api_turns.next_at is 'Before this instant no process of the pipeline makes a further request.';
