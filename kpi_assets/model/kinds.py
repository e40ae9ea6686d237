"""Storage kinds: the words that `storage` may hold in a header, and the traits that follow from each.

Belongs here: what the model and the steps of a build ask about a kind. Not here: how Postgres makes and reads a table
of a kind (warehouse/kinds/, which has an object of the same name for each).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class StorageKind:
    """The traits of one storage kind. A new kind is an entry in STORAGES and an object in warehouse/kinds/."""

    name: str
    meaning: str  # one sentence for the reference page
    relkind: str  # of the published relation, in Postgres' pg_class; empty if there is none
    # Whether its tables store rows of their own. If not, a table shows columns of one other table as they are.
    stores_rows: bool = True
    sliceable: bool = False  # whether a load_date is a partition, which several writers may fill slice by slice
    has_checks: bool = True
    may_look_back: bool = True
    has_load_date: bool = True  # if not, nothing of it is built or published, and it is no table (live.py)
    in_lake: bool = False  # whether its rows are in tables of the lake, and Postgres has none of them (lake.py)
    keeps_versions: bool = False  # whether its rows are versions, which hold for many load_dates (history.py)


STORAGES: dict[str, StorageKind] = {
    kind.name: kind
    for kind in (
        StorageKind("rows", "one table holds all load_dates.", relkind="r"),
        StorageKind(
            "partitions",
            "each load_date is a partition of its own, for big tables; the largest are built in slices by several "
            "writers.",
            relkind="p",
            sliceable=True,
        ),
        StorageKind(
            "view",
            "columns of one other table are shown as they are, and nothing is stored.",
            relkind="v",
            stores_rows=False,
            has_checks=False,
            may_look_back=False,
        ),
        StorageKind(
            "history",
            "what stays the same from one load_date to the next is stored once, as a version with its first and last "
            "day; the rows of every load_date can be read back.",
            relkind="r",
            may_look_back=False,
            keeps_versions=True,
        ),
        StorageKind(
            "lake",
            "the rows are in a table of Apache Iceberg, and Apache Spark computes and checks them: for load_dates that "
            "outgrow one machine. The word `lake` of pipeline.yaml names the catalog.",
            relkind="",
            in_lake=True,
        ),
        StorageKind(
            "live",
            "a view that reads only relations of the schema `ops` and other live views, so it always shows what is "
            "recorded now. It has no load_dates, and nothing of it is built, checked or stored.",
            relkind="v",
            stores_rows=False,
            has_checks=False,
            may_look_back=False,
            has_load_date=False,
        ),
    )
}
