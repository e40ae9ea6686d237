"""The lake: objects on S3, read exactly as their manifest pinned them, and landed once.

Belongs here: every call to S3, and the formats of objects as bytes (formats/). Not here: what a table makes of them
(warehouse/), and what is recorded (ledger/).
"""
