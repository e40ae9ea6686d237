"""The fields of a file that are no column, as the word `extra: keep` keeps them."""

import json
from collections.abc import Iterable


def extra_json(fields: Iterable[tuple[str, str | None]]) -> str:
    """Return fields as a JSON object of texts."""
    return json.dumps(dict(fields), ensure_ascii=False, separators=(",", ":"))
