"""The objects on S3: landed once, and read exactly as their manifests describe them.

Belongs here: every call to S3, and the formats of objects as bytes (formats/). Not here: loading them into tables
(warehouse/), and recording them (ledger/).
"""
