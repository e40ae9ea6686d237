"""What readers see of the pipeline realtime, in the form and order in which its oracle computes it.

Not here: the oracle (realtime_oracle.py), and the comparisons (test_realtime_oracle.py, e2e/chaos).
"""

from datetime import date

EVENT = "event_id, event_type, event_at, occurred_at, received_at"
PLACE = "stream_partition, stream_position::bigint"
# What is compared: columns, and the key.
PUBLISHED = {
    "stg.clicks": (f"{EVENT}, session_id, user_id, product_id, {PLACE}", "event_id"),
    "stg.order_events": (
        f"{EVENT}, order_id, customer_id, channel, currency, amount, promised_by, {PLACE}",
        "event_id",
    ),
    "stg.inventory_events": (f"{EVENT}, sku, warehouse_id, quantity, {PLACE}", "event_id"),
    "marts.fact_orders": (
        "order_id, customer_id, channel, currency, status, order_date, placed_at, amount, promised_by, paid_at, "
        "shipped_at, delivered_at, cancelled_at, refunded_amount, last_event_at, last_received_at",
        "order_id",
    ),
    "marts.fact_sessions": (
        "session_id, user_id, started_at, last_at, user_last_at, page_views, adds_to_cart, checkouts",
        "session_id",
    ),
    "marts.kpi_revenue_daily": (
        "order_date, currency, orders_placed, cancelled_orders, gross_revenue, cancelled_revenue, refunded_amount, "
        "net_revenue, avg_order_value",
        "order_date, currency",
    ),
    "marts.kpi_sla_delivery": (
        "promised_date, channel, due, on_time, late_open, on_time_share",
        "promised_date, channel",
    ),
    "marts.kpi_revenue_by_minute": ("minute, currency, orders, gross_revenue, minutes_ago", "minute, currency"),
    "marts.kpi_revenue_pace": ("currency, orders, revenue, orders_week_ago, revenue_week_ago", "currency"),
    "marts.kpi_conversion_hourly": ("hour, sessions, with_cart, with_checkout, cart_share, checkout_share", "hour"),
    "marts.customer_360": (
        "customer_id, first_order_at, last_order_at, orders, cancelled_orders, currency, net_revenue, sessions, "
        "last_seen_at",
        "customer_id",
    ),
    "marts.kpi_stock": ("sku, warehouse_id, counted_at, quantity, is_out, sold_last_hour", "sku, warehouse_id"),
    "marts.kpi_trust": (
        "stream, hour, events, repeated_events, late_events, early_events, unexpected_events, repeated_share, "
        "late_share",
        "stream, hour",
    ),
    "marts.accepted_share": ("stream, records, accepted, quarantined, accepted_share", "stream"),
}
TEXTS = ("event_id", "order_id", "session_id", "currency", "channel", "stream", "sku", "warehouse_id")


def query_of(table: str, day: date) -> str:
    """Return the query of what is published of a table for a load_date, in the order of the oracle."""
    columns, order = PUBLISHED[table]
    keys = ", ".join(f'{key} collate "C"' if key in TEXTS else key for key in order.split(", "))
    return f"select {columns} from {table} where load_date = '{day}' order by {keys}"
