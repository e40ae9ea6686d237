"""The words of a column: its Postgres type, and what it means.

Not here: the types (column_types.py), and how their values are written in a file (written.py).
"""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from kpi_assets.model.affects import Affects
from kpi_assets.model.column_types import catalog_name
from kpi_assets.model.field_types import Sentence
from kpi_assets.model.strict_yaml import Strict


class Column(Strict):
    """One column: its Postgres type and what it means, NULL included."""

    type: Annotated[str, AfterValidator(catalog_name), Affects.ROWS] = Field(
        description="The type of Postgres, by any of its names there.", examples=["type: integer"]
    )
    description: Annotated[Sentence, Affects.NOTHING] = Field(
        description="What the column holds, in at least 4 letters. Say what NULL means where it can occur.",
        examples=["description: Order."],
    )

    @model_validator(mode="before")
    @classmethod
    def _type_with_a_comma(cls, value: Any) -> Any:
        """Put `{type: numeric(10,2)}` together again: YAML ends a value without quotes at the comma."""
        if not isinstance(value, dict) or not re.search(r"\(\s*[0-9]+\Z", str(value.get("type"))):
            return value
        rest = [word for word in value if re.fullmatch(r"[0-9]+\s*\)\s*(\[\])?", str(word)) and value[word] is None]
        whole = {word: each for word, each in value.items() if word not in rest}
        return {**whole, "type": f"{value['type']},{rest[0]}"} if len(rest) == 1 else value
