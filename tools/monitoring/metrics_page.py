"""docs/metrics.md, made of the metrics as the services make them: whoever adds one names the question that it answers here."""

from collections.abc import Callable, Collection, Iterable, Mapping
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
from services.audit.metrics import AuditMetrics
from services.audit.watch.metrics import WatchMetrics
from services.collector.books import Books
from services.collector.metrics import Metrics as CollectorMetrics
from services.ledger.metrics import IndexMetrics, RootMetrics
from services.query.accounts.metrics import LoginMetrics
from services.query.metrics import QueryMetrics
from services.runtime.grpc import CallMetrics
from services.runtime.kafka_statistics import CLIENTS, KafkaMetrics
from services.runtime.ladder import GAP, RECORDS, RUNGS
from services.runtime.monitoring import build_info
from services.runtime.store_metrics import StoreMetrics
from services.runtime.tls import certificate_metrics
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
    "version": "the program's",
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
        "goodstrace_query_call", "goodstrace_query_trace", "goodstrace_query_browse_acknowledged", "goodstrace_query_records",
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


def registries() -> tuple[CollectorRegistry, ...]:
    """Make the metrics of each service, as its process makes them."""
    makers = (_collector, _ledger, _query, _audit, _watch, _witness)
    return tuple(_made(maker) for maker in makers)


def _made(maker: Callable[[CollectorRegistry], None]) -> CollectorRegistry:
    found = CollectorRegistry()
    maker(found)
    return found


def _collector(found: CollectorRegistry) -> None:
    service = capture_pb2.DESCRIPTOR.services_by_name["CaptureService"]
    build_info("collector", found)
    CollectorMetrics(found, Books().rule_ids)
    CallMetrics("collector", [method.name for method in service.methods], found)
    RefusalMetrics("collector", found)
    _neighbours(found)


def _ledger(found: CollectorRegistry) -> None:
    build_info("ledger", found)
    RootMetrics(found)
    IndexMetrics(found)
    _witnessed("ledger", found)
    for part in ("ledger", "ledger_root", "ledger_index"):
        SealMetrics(part, found)
    _neighbours(found)


def _query(found: CollectorRegistry) -> None:
    build_info("query", found)
    QueryMetrics(found).open_page("/")
    LoginMetrics(found)
    RefusalMetrics("query", found)
    MarkMetrics("query", found)
    _neighbours(found)


def _audit(found: CollectorRegistry) -> None:
    build_info("audit", found)
    AuditMetrics(found)
    BrowseIndexMetrics(found)
    FigureMetrics(found)
    RefusalMetrics("audit", found)
    MarkMetrics("audit", found)
    _witnessed("audit", found)
    SealMetrics("audit", found)
    _neighbours(found)


def _watch(found: CollectorRegistry) -> None:
    build_info("watch", found)
    WatchMetrics(["scraping"], found)


def _witness(found: CollectorRegistry) -> None:
    build_info("witness", found)
    WitnessMetrics(found)


def _witnessed(part: str, found: CollectorRegistry) -> None:
    policy = Policy.parse(f"witness one {_WITNESS}\nquorum one\n".encode())
    WitnessedMetrics(part, policy, ["one"], found)


def _neighbours(found: CollectorRegistry) -> None:
    """Make those of the clients: every client of Kafka for each, since the page says for none who has it."""
    kafka = KafkaMetrics(found)
    for client in CLIENTS:
        kafka.begin(client)
    StoreMetrics(found)
    certificate_metrics(found)


def question_of(name: str) -> str:
    """Give the question that a metric answers. Raises: KeyError naming it, where none is named for it."""
    for question, beginnings in QUESTIONS:
        if name.startswith(beginnings):
            return question
    raise KeyError(f"{name}: say in tools/monitoring/metrics_page.py which question it answers")


def page(shown: Iterable[CollectorRegistry]) -> str:
    """Write the page of what these show: a metric of several once, with the values of all."""
    rows: dict[str, list[_Row]] = {question: [] for question, _ in QUESTIONS}
    merged = _merged(shown)
    for name in sorted(merged):
        rows[question_of(name)].append(_row(*merged[name]))
    rungs = ", ".join(f"*{each}*" for each in RUNGS)
    parts = [_HEAD.format(rungs=rungs, records=RECORDS, gap=GAP)]
    for question, listed in rows.items():
        parts.append(f"\n## {question}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n")
        parts += [f"| `{row.name}` | {row.kind} | {row.labels} | {row.meaning} |\n" for row in listed]
    return "".join(parts)


def files() -> dict[Path, str]:
    """Give the page, by path."""
    return {PAGE: page(registries())}


def full_name(family: Metric) -> str:
    """Give the name by which it is asked for, but for a histogram's, which is asked for by its parts."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def _merged(shown: Iterable[CollectorRegistry]) -> dict[str, tuple[Metric, dict[str, set[str]]]]:
    """Give each metric by its name, and its labels with the values that they have in any of these."""
    found: dict[str, tuple[Metric, dict[str, set[str]]]] = {}
    for registry in shown:
        for family in registry.collect():
            _, values = found.setdefault(family.name, (family, {}))
            for label in _label_names(registry, family):
                values.setdefault(label, set())
            for sample in family.samples:
                for label in values.keys() & sample.labels.keys():
                    values[label].add(sample.labels[label])
    return found


def _label_names(registry: CollectorRegistry, family: Metric) -> tuple[str, ...]:
    """Ask the metric itself: a series that it has not yet tells of no labels. One of our own that has none says nothing of them."""
    collector = registry._names_to_collectors[family.name]  # noqa: SLF001 - the library tells it nowhere else
    names: tuple[str, ...] = getattr(collector, "_labelnames", ())
    return names


def _row(family: Metric, values: Mapping[str, Collection[str]]) -> _Row:
    help_text = " ".join(family.documentation.split()).replace("|", "\\|")
    return _Row(full_name(family), family.type, _labels(values), help_text)


def _labels(values: Mapping[str, Collection[str]]) -> str:
    told = [
        f"`{label}`: {OPEN_LABELS[label] if label in OPEN_LABELS else ', '.join(f'`{each}`' for each in sorted(found))}"
        for label, found in values.items()
    ]
    return "; ".join(told) or "none"
