"""A check that things of the two-source pipeline fail, and a person's word that they are published all the same."""

from datetime import date, timedelta
from typing import Any

from kpi_assets.ledger.rulings import RecordedRuling
from kpi_assets.materialize.rule import AskedWaiver, waive
from kpi_assets_tests.pipeline_harness import PipelineHarness
from kpi_assets_tests.two_source_pipeline import WEIGHED

CHECKED = WEIGHED.replace("@end */", "checks:\n  range: {weight: [0, 50]}\n@end */")
TOO_HEAVY = b"thing_id,name,weight\n1,anvil,70.00\n2,feather,\n"
HEAVIER = b"thing_id,name,weight\n1,anvil,71.00\n2,feather,\n"
REASON = "the scale was replaced, the weight is right"
CHECK = "range__weight"


def waived(
    shop: PipelineHarness, day: date, *checks: str, table: str = "marts.weighed", **changes: Any
) -> RecordedRuling:
    """Waive the held build of a table."""
    context = shop.context()
    asked = {"reason": REASON, "by": "ana", "hours": None, **changes}
    return waive(context, AskedWaiver(context.pipeline.table(table), day, checks or (CHECK,), **asked))


def expire(shop: PipelineHarness, made: RecordedRuling) -> None:
    """Let a ruling expire, on S3 and in the ledger."""
    assert made.expires_at is not None
    past = (made.ruled_at - timedelta(hours=1)).isoformat(timespec="seconds")
    body = shop.s3.get_object(Bucket=shop.bucket, Key=made.object_key)["Body"].read()
    shop.put(made.object_key, body.replace(made.expires_at.isoformat(timespec="seconds").encode(), past.encode()))
    with shop.session() as session:
        session.execute("update ops.rulings set expires_at = %s where ruling_id = %s", [past, made.ruling_id])
