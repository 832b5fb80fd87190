"""Every metric of the query service, made once."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from goodstrace.query.v1 import completeness_pb2, login_pb2, trace_pb2
from services.query.log_paths import Kind
from services.query.webhooks.values import DAMAGED, OVER, DisabledBy
from services.sealing.front import FrontMetrics

SERVICES = (
    trace_pb2.DESCRIPTOR.services_by_name["TraceService"],
    completeness_pb2.DESCRIPTOR.services_by_name["CompletenessService"],
)
"""What it answers over gRPC in any case."""
LOGIN_SERVICES = tuple(
    login_pb2.DESCRIPTOR.services_by_name[name] for name in ("LoginService", "AccountService")
)
"""What it answers beside them where accounts are on."""
_OVER_HTTP = ("QueryEvents", "ListValues", "ManageWebhooks")
_METHODS = [
    *(method.name for service in (*SERVICES, *LOGIN_SERVICES) for method in service.methods),
    *_OVER_HTTP,
]
_ROUNDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128)
_LOG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OUTCOMES = ("delivered", "refused", "gone", "timeout", "unreachable", "forbidden")
_PAGE_CODES = ("200", "303", "400", "401", "403", "404", "429", "500", "503")
_CODES = ("200", "304", "404", "405", "500", "503")


class QueryMetrics(FrontMetrics):
    """The metrics of a service that shows records, how many rounds of look-ups a trace took, and requests to the logs."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them in `registry`."""
        super().__init__("query", _METHODS, registry)
        self.rounds = Histogram(
            "goodstrace_query_trace_rounds",
            "Rounds of look-ups that one trace took.",
            buckets=_ROUNDS,
            registry=registry,
        )
        self.pages_of_kept_walks = Counter(
            "goodstrace_query_trace_pages_of_kept_walks",
            "Further pages of traces that were made from the walk of the page before.",
            registry=registry,
        )
        self.withheld = Counter(
            "goodstrace_query_records_withheld",
            "Records met by look-ups that their callers may not see.",
            registry=registry,
        )
        self.forward_entries = Counter(
            "goodstrace_query_forward_entries",
            "Entries looked at for subscriptions and webhooks, also where another one had read them.",
            registry=registry,
        )
        self.webhook_deliveries = Counter(
            "goodstrace_query_webhook_deliveries",
            "Attempts to deliver a message, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self.webhooks = Gauge(
            "goodstrace_query_webhooks",
            "Webhooks there are in the store, by state: each process tells of all of them, so take the max over processes.",
            ["state"],
            registry=registry,
        )
        self.webhooks_disabled = Gauge(
            "goodstrace_query_webhooks_disabled",
            "Disabled webhooks in the store, by why: each process tells of all of them, so take the max over processes.",
            ["reason"],
            registry=registry,
        )
        self.webhooks_failing = Gauge(
            "goodstrace_query_webhooks_failing",
            "Enabled webhooks in the store whose last attempt failed, damaged ones, and those over the limit: each process tells of all of them, so take the max over processes.",
            registry=registry,
        )
        self.webhook_lag = Gauge(
            "goodstrace_query_webhook_lag_entries",
            "Published entries not dealt with yet for the enabled webhook that is the furthest behind.",
            registry=registry,
        )
        for outcome in _OUTCOMES:
            self.webhook_deliveries.labels(outcome)
        for state in ("enabled", "disabled", DAMAGED, OVER):  # "active" is a word of goods
            self.webhooks.labels(state)
        for reason in DisabledBy:
            self.webhooks_disabled.labels(reason.value)
        self.log_requests = Counter(
            "goodstrace_query_log_requests",
            "Answers of the public log endpoints.",
            ["kind", "code"],
            registry=registry,
        )
        self.log_bytes = Counter(
            "goodstrace_query_log_response_bytes",
            "Bytes of those answers' bodies, as compressed.",
            ["kind"],
            registry=registry,
        )
        self.log_seconds = Histogram(
            "goodstrace_query_log_request_seconds",
            "From a request to a public log endpoint to its answer.",
            ["kind"],
            buckets=_LOG_SECONDS,
            registry=registry,
        )
        self.page_requests = Counter(
            "goodstrace_query_page_requests",
            "Answers of the web pages, by the path's template.",
            ["page", "code"],
            registry=registry,
        )
        self.page_seconds = Histogram(
            "goodstrace_query_page_seconds",
            "From a request for a web page to its answer.",
            ["page"],
            buckets=_LOG_SECONDS,
            registry=registry,
        )
        for kind in Kind:
            self.log_seconds.labels(kind.value)
            self.log_bytes.labels(kind.value)
            for code in _CODES:
                self.log_requests.labels(kind.value, code)

    def open_page(self, page: str) -> None:
        """Make the series of a page, so that its rates start from 0."""
        self.page_seconds.labels(page)
        for code in (*_PAGE_CODES, "OTHER"):
            self.page_requests.labels(page, code)

    def answered_page(self, page: str, status: int, seconds: float) -> None:
        """Count an answer of a page; a code that no page means to give counts as OTHER."""
        code = str(status) if str(status) in _PAGE_CODES else "OTHER"
        self.page_requests.labels(page, code).inc()
        self.page_seconds.labels(page).observe(seconds)
