"""What `kpi serve` counts about itself, for /metrics."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Numbers:
    """Counts since the start of the process. Only the event loop changes them."""

    made: int = 0  # answers that were made
    kept: int = 0  # answers from what was kept
    unchanged: int = 0  # 304
    in_flight: int = 0
    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # by (route, status)
    seconds: Counter[str] = field(default_factory=Counter)  # by route
