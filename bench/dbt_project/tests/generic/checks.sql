{% test unique_key(model, columns) %}
select {{ columns | join(', ') }} from {{ model }} group by {{ columns | join(', ') }} having count(*) > 1
{% endtest %}

{% test in_range(model, column_name, low, high=none) %}
select {{ column_name }} from {{ model }}
where {{ column_name }} < {{ low }} {% if high is not none %} or {{ column_name }} > {{ high }} {% endif %}
{% endtest %}

{% test as_many_rows_as(model, other) %}
select 1 as bad where (select count(*) from {{ model }}) <> (select count(*) from {{ other }})
{% endtest %}

{% test not_empty(model) %}
select 1 as bad where not exists (select 1 from {{ model }})
{% endtest %}
