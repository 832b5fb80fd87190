"""docs/metrics.md, made of the metrics as the services make them: whoever adds one names the question that it answers here."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from goodstrace.collector.v1 import capture_pb2
from goodstrace.cosignature import Cosigner
from goodstrace.policy import Policy
from services.audit.figures.following import FigureMetrics
from services.audit.indexing import IndexMetrics as BrowseIndexMetrics
from services.audit.watch.metrics import WatchMetrics
from services.collector.books import Books
from services.collector.metrics import Metrics as CollectorMetrics
from services.ledger.metrics import IndexMetrics, RootMetrics
from services.query.accounts.metrics import LoginMetrics
from services.query.metrics import QueryMetrics
from services.runtime.grpc import CallMetrics
from services.runtime.kafka_statistics import CLIENTS, KafkaMetrics
from services.runtime.ladder import GAP, RECORDS, RUNGS
from services.runtime.monitoring import Monitoring
from services.runtime.store_metrics import StoreMetrics
from services.runtime.tls import certificate_metrics
from services.sealing.front import FrontMetrics
from services.sealing.marks import MarkMetrics
from services.sealing.metrics import SealMetrics
from services.sealing.refusals import RefusalMetrics
from services.sealing.witness_metrics import WitnessMetrics as WitnessedMetrics
from services.witness.metrics import WitnessMetrics

PAGE: Final = Path("docs/metrics.md")
OPEN_LABELS: Final = {
    "page": "the templates of the pages' paths",
    "log": "the logs that there are: `goods/<partition>`, `browse/<partition>`, `root`, `index`",
    "witness": "the witnesses of the policy",
    "service": "`collector`, `ledger`, `query`, `audit`, `watch`, `witness`",
    "version": "the program's",
    "client": ", ".join(f"`{each}`" for each in CLIENTS),
    "rule": "the rules that are tried on events, or on looks",
}
"""Labels whose values come from the installation, not from what somebody sends; or are too many for a table."""
QUESTIONS: Final = (
    ("Which version runs?", ("goodstrace_build_info",)),
    ("Is what is asked for captured, how fast, and is there room?", (
        "goodstrace_collector_requests", "goodstrace_collector_call", "goodstrace_collector_capture", "goodstrace_collector_waiting",
        "goodstrace_collector_group_commit", "goodstrace_collector_stream_lines", "goodstrace_collector_replayed_keys",
        "goodstrace_collector_jobs_unwritten", "goodstrace_collector_ingress",
    )),
    ("Who is turned away, and what is refused?", (
        "goodstrace_collector_refused_callers", "goodstrace_collector_rejected", "goodstrace_collector_rule",
    )),
    ("Where between capture and store does it take long?", (
        "goodstrace_collector_stage", "goodstrace_collector_span", "goodstrace_collector_failures",
    )),
    ("Is what follows the stages up to date?", (
        "goodstrace_collector_goods", "goodstrace_collector_states", "goodstrace_collector_projector",
    )),
    ("Are the logs root and index up to date?", ("goodstrace_ledger_root", "goodstrace_ledger_index")),
    ("Do the witnesses cosign?", (
        "goodstrace_ledger_cosignatures", "goodstrace_ledger_witness", "goodstrace_ledger_signed", "goodstrace_ledger_published",
        "goodstrace_ledger_last_published",
    )),
    ("Is everything sealed?", ("goodstrace_ledger",)),
    ("Are look-ups answered, how fast, and is each recorded?", (
        "goodstrace_query_call", "goodstrace_query_trace_rounds", "goodstrace_query_browse_acknowledged", "goodstrace_query_records",
        "goodstrace_browse_outcomes",
    )),
    ("Are the public logs read?", ("goodstrace_query_log",)),
    ("Are the web pages answered, and how fast?", ("goodstrace_query_page",)),
    ("Do subscriptions and webhooks get what they want?", ("goodstrace_query_forward", "goodstrace_query_webhook")),
    ("Are looks sealed, and can they be listed?", ("goodstrace_audit",)),
    ("Who signs in, and who is refused?", ("goodstrace_login", "goodstrace_access")),
    ("When do certificates end?", ("goodstrace_tls",)),
    ("What does the watch count and find?", ("goodstrace_watch",)),
    ("Is Kafka well, as our clients see it, and what is behind?", ("goodstrace_kafka",)),
    ("Is MongoDB well, as our clients see it?", ("goodstrace_store",)),
    ("Is a witness of ours well, and what has it found?", ("goodstrace_witness",)),
)  # fmt: skip
"""The first question of which a metric's name has a beginning is the one that it answers."""
_WITNESS: Final = Cosigner("witness.example/one", bytes(32)).verifier.vkey()  # any key will do
_HEAD: Final = """# Metrics

Made by `python -m tools.monitoring` from the code, and compared with it in every test run: change it there.

Each service shows its metrics on `/metrics` of its metrics port (collector 9101, ledger 9102, query 9103, audit 9104, watch 9105, a witness of ours where
it is told). Beside ours stand those of the process that the Prometheus library makes (`process_...`, `python_...`). Names, labels and units are
an interface: they change with a line in the changelog.

- Labels come from closed sets: never a key, a user, an address or anything else that somebody sent.
- All series exist from the start, at 0, so that a rate begins at 0 and an empty answer means that something is wrong with the question. Series with
  the label `log` come and go with the logs that a process seals; those of witnesses are there where a policy names some.
- Seconds and bytes; a counter ends in `_total`; a histogram has `_bucket`, `_sum`, `_count`.
- Ages are differences of two machines' clocks where capture and sealing run on two: keep them set.

## The ladder

Made by the rules in `deploy/prometheus/rules/ladder.yml`: every record stands on one of the rungs {rungs}. `{records}` is how many have reached a
rung, ever; `{gap}` how many wait below it, for the label `rung`. The gaps are measured (lag of the consumer that takes a rung, differences of the
sizes of logs), and the rungs are the published size of the logs plus the gaps above it, so that no restart moves them. A span of stages that one
process runs in one transaction has its gap before its first stage. Markers of transactions are counted as records while they are not fetched yet;
at rest each gap is 0. Without witnesses what is signed is published, and the last two rungs are the same.
"""


@dataclass(frozen=True)
class _Row:
    name: str
    kind: str
    labels: str
    meaning: str


def registry() -> CollectorRegistry:
    """Make the metrics of all services at once."""
    found = CollectorRegistry()
    monitoring = Monitoring("collector", "127.0.0.1", 0, found)
    monitoring.stop()
    CollectorMetrics(found, Books().rule_ids)
    service = capture_pb2.DESCRIPTOR.services_by_name["CaptureService"]
    CallMetrics("collector", [method.name for method in service.methods], found)
    QueryMetrics(found)
    FrontMetrics("audit", ["ListBrowses"], found)
    LoginMetrics(found)
    RefusalMetrics("query", found)
    MarkMetrics("query", found)
    BrowseIndexMetrics(found)
    FigureMetrics(found)
    certificate_metrics(found)
    WatchMetrics(["scraping"], found)
    RootMetrics(found)
    IndexMetrics(found)
    KafkaMetrics(found)
    StoreMetrics(found)
    WitnessMetrics(found)
    policy = Policy.parse(f"witness one {_WITNESS}\nquorum one\n".encode())
    for part in ("ledger", "audit"):
        WitnessedMetrics(part, policy, ["one"], found)
    for part in ("ledger", "ledger_root", "ledger_index", "audit"):
        SealMetrics(part, found)
    return found


def question_of(name: str) -> str:
    """Give the question that a metric answers. Raises: KeyError naming it, where none is named for it."""
    for question, beginnings in QUESTIONS:
        if name.startswith(beginnings):
            return question
    raise KeyError(f"{name}: say in tools/monitoring/metrics_page.py which question it answers")


def page(families: Iterable[Metric]) -> str:
    """Write the page."""
    rows: dict[str, list[_Row]] = {question: [] for question, _ in QUESTIONS}
    for family in sorted(families, key=lambda each: each.name):
        rows[question_of(family.name)].append(_row(family))
    rungs = ", ".join(f"*{each}*" for each in RUNGS)
    parts = [_HEAD.format(rungs=rungs, records=RECORDS, gap=GAP)]
    for question, listed in rows.items():
        parts.append(f"\n## {question}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n")
        parts += [f"| `{row.name}` | {row.kind} | {row.labels} | {row.meaning} |\n" for row in listed]
    return "".join(parts)


def files() -> dict[Path, str]:
    """Give the page, by path."""
    return {PAGE: page(registry().collect())}


def _row(family: Metric) -> _Row:
    suffix = "_total" if family.type == "counter" else ""
    help_text = " ".join(family.documentation.split()).replace("|", "\\|")
    return _Row(f"{family.name}{suffix}", family.type, _labels(family), help_text)


def _labels(family: Metric) -> str:
    values: dict[str, list[str]] = {}
    for sample in family.samples:
        for label, value in sample.labels.items():
            if label != "le" and value not in values.setdefault(label, []):
                values[label].append(value)
    for label in _named(family):
        values.setdefault(label, [])
    told = [
        f"`{label}`: {OPEN_LABELS[label] if label in OPEN_LABELS else ', '.join(f'`{each}`' for each in sorted(found))}"
        for label, found in values.items()
    ]
    return "; ".join(told) or "none"


def _named(family: Metric) -> tuple[str, ...]:
    """Name labels of a metric that has no series yet: those of logs, and of Kafka clients that are not made."""
    if family.samples:
        return ()
    if family.name.startswith("goodstrace_kafka"):
        return ("client", "kind") if family.name.endswith("errors") else ("client",)
    return ("log",)
