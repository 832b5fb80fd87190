"""The ladder from captured to witnessed: its rungs, and the series that Prometheus keeps of it. Pure."""

from typing import Final

RUNGS: Final = (
    "captured",
    "summarised",
    "recorded",
    "classified",
    "stored",
    "sealed",
    "checkpointed",
    "witnessed",
)
"""In their order; the values of the label `rung`."""
GAP: Final = "goodstrace:ladder_gap_records:sum"
"""How many records wait below a rung."""
RECORDS: Final = "goodstrace:ladder_records:sum"
"""How many have come to it."""
