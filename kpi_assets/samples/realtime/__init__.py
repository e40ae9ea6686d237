"""A shop as it happens: the events of its orders, its stock and its visitors, for the pipeline `realtime`."""
