"""What a rule is, and the recording rules: the ladder from captured to witnessed, and how much of each objective is missed."""

from dataclasses import dataclass
from typing import Any, Final

from services.runtime.ladder import GAP, RECORDS, RUNGS

STAGES: Final = ("summarise", "record", "classify", "store")
WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_GOODS: Final = '{log=~"goods/.*"}'
_FAULTS: Final = "UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|DATA_LOSS"


@dataclass(frozen=True)
class Recording:
    """A rule that keeps the answer of an expression as a series."""

    record: str
    expr: str
    labels: tuple[tuple[str, str], ...] = ()

    def as_yaml(self) -> dict[str, Any]:
        """Give it as Prometheus reads it."""
        return {
            "record": self.record,
            "expr": self.expr,
            **({"labels": dict(self.labels)} if self.labels else {}),
        }


@dataclass(frozen=True)
class Objective:
    """A service level objective: which part of what may be bad, over 30 days.

    Attributes:
        name: its label.
        bad: how many are bad a second, `{w}` for the window.
        all: how many there are a second.
        budget: which part may be bad.
    """

    name: str
    bad: str
    all: str
    budget: float

    def recordings(self) -> list[Recording]:
        """Make a rule for each window; 0 where nothing happened, so that the series is always there."""
        return [
            Recording(
                f"goodstrace:objective_missed:ratio_rate{window}",
                f"({self.bad.format(w=window)})\n/\nclamp_min({self.all.format(w=window)}, 1e-9)",
                (("objective", self.name),),
            )
            for window in WINDOWS
        ]


def _rate(selector: str, window: str = "{w}") -> str:
    return f"(sum(rate({selector}[{window}])) or vector(0))"


def _labels(**labels: str) -> str:
    """Write a selector's labels, braces doubled for `str.format`."""
    inside = ",".join(
        f'{name}=~"{value}"' if "|" in value or "." in value else f'{name}="{value}"'
        for name, value in labels.items()
    )
    return "{{" + inside + "}}"


_CAPTURES_HTTP: Final = "goodstrace_collector_requests_total"
_CAPTURES_GRPC: Final = "goodstrace_collector_calls_total"
_BY_HTTP: Final = "capture|events"
_BY_GRPC: Final = "Capture|CaptureStream"
_LOOKS: Final = (
    "Trace|GetEvent|GetGoods|QueryEvents|GetInclusionProof|GetConsistencyProof|GetProofFile|GetCheckpoint"
)
_LOOKED_S: Final = "goodstrace_query_call_seconds"
_AGE_S: Final = "goodstrace_ledger_capture_to_checkpoint_seconds"

OBJECTIVES: Final = (
    Objective(
        "capture-availability",
        _rate(_CAPTURES_HTTP + '{{method=~"capture|events",code=~"5.."}}')
        + " + "
        + _rate(_CAPTURES_GRPC + _labels(method=_BY_GRPC, code=_FAULTS)),
        _rate(_CAPTURES_HTTP + _labels(method=_BY_HTTP))
        + " + "
        + _rate(_CAPTURES_GRPC + _labels(method=_BY_GRPC)),
        0.001,
    ),
    Objective(
        "capture-to-traceable",
        _rate(f"{_AGE_S}_count") + " - " + _rate(_AGE_S + '_bucket{{le="10.0"}}'),
        _rate(f"{_AGE_S}_count"),
        0.01,
    ),
    Objective(
        "lookup-success",
        _rate("goodstrace_query_calls_total" + _labels(code=_FAULTS)),
        _rate("goodstrace_query_calls_total"),
        0.001,
    ),
    Objective(
        "lookup-latency",
        _rate(f"{_LOOKED_S}_count" + _labels(method=_LOOKS))
        + " - "
        + _rate(_LOOKED_S + f'_bucket{{{{method=~"{_LOOKS}",le="1.0"}}}}'),
        _rate(f"{_LOOKED_S}_count" + _labels(method=_LOOKS)),
        0.01,
    ),
)


def missed(objective: str, window: str) -> str:
    """Select which part of an objective's events were bad within a window."""
    return f'goodstrace:objective_missed:ratio_rate{window}{{objective="{objective}"}}'


def ladder() -> list[Recording]:
    """Make the gaps below each rung, and of them the rungs: the lowest is what is witnessed, the size of the logs.

    A stage of a span that one process runs as a whole has no lag of its own: all waits before the first.
    """
    waits = {
        rung: f'(sum(goodstrace_kafka_lag_records{{client="{stage}"}}) or vector(0))'
        f' + (sum(goodstrace_collector_stage_in_progress_records{{stage="{stage}"}}) or vector(0))'
        for rung, stage in zip(RUNGS[1:5], STAGES, strict=True)
    }
    waits["sealed"] = (
        '(sum(goodstrace_kafka_lag_records{client="ledger"}) or vector(0))'
        " + (sum(goodstrace_ledger_records_waiting) or vector(0))"
    )
    waits["checkpointed"] = _between("sealed", "signed")
    waits["witnessed"] = _between("signed", "published")
    gaps = [Recording(GAP, expr, (("rung", rung),)) for rung, expr in waits.items()]
    rungs = [
        Recording(
            RECORDS,
            f"sum(max by (log) (goodstrace_ledger_published_entries{_GOODS}))",
            (("rung", RUNGS[-1]),),
        )
    ]
    for above, below in zip(reversed(RUNGS[:-1]), reversed(RUNGS[1:]), strict=True):
        expr = f'sum({RECORDS}{{rung="{below}"}}) + sum({GAP}{{rung="{below}"}})'
        rungs.append(Recording(RECORDS, expr, (("rung", above),)))
    return gaps + rungs


def _between(more: str, less: str) -> str:
    sizes = [f"sum(max by (log) (goodstrace_ledger_{each}_entries{_GOODS}))" for each in (more, less)]
    return f"clamp_min({sizes[0]} - {sizes[1]}, 0)"
