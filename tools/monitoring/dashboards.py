"""The dashboards: each says in its description which question it answers."""

from pathlib import Path
from typing import Final

from services.runtime.ladder import GAP, RECORDS
from tools.monitoring.panels import Board, Query, graph, number
from tools.monitoring.rules import missed

FOLDER: Final = Path("deploy/grafana/dashboards")
_W: Final = "$__rate_interval"


def rate(metric: str, by: str = "", labels: str = "") -> str:
    """Write how fast a counter grows, summed by labels."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{labels}}}[{_W}]))".replace("{}", "")


def quantiles(metric: str, by: str = "", of: tuple[float, ...] = (0.5, 0.99)) -> list[Query]:
    """Write quantiles of a histogram."""
    groups = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return [
        (f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket[{_W}])))", f"p{q * 100:g}{legend}")
        for q in of
    ]  # fmt: skip


def zero(counter: str) -> str:
    """Write by how much something that must stay 0 grew in a day."""
    return f"sum(increase({counter}[1d]))"


OVERVIEW: Final = Board(
    "goodstrace-overview", "Goodstrace: overview", "Is it healthy, and what is behind?",
    [
        ("Is it healthy?", [
            number("Services that answer", "none", ('sum(up{job=~"collector|ledger|query|audit|watch"})', ""), about="One for each process."),
            number("Alerts that fire", "none", ('sum(ALERTS{alertstate="firing"}) or vector(0)', ""), warn=1, bad=3),
            number("Captured and not sealed", "short", (f'sum({GAP}{{rung!~"checkpointed|witnessed"}})', ""), warn=5000, bad=20000),
            number("Oldest record not sealed", "s", ("max(goodstrace_ledger_oldest_waiting_seconds)", ""), warn=10, bad=60),
        ]),
        ("What must stay 0 (a day)", [
            number("Append conflicts", "none", (zero("goodstrace_ledger_append_conflicts_total"), "ledger"),
                   (zero("goodstrace_audit_append_conflicts_total"), "audit"), bad=1),
            number("Unprovable records", "none", (zero("goodstrace_ledger_unprovable_records_total"), "ledger"),
                   (zero("goodstrace_audit_unprovable_records_total"), "audit"), bad=1),
            number("Answers that were corrupt", "none", (zero('goodstrace_query_calls_total{code="DATA_LOSS"}'), ""), bad=1),
            number("Jobs not written", "none", (zero("goodstrace_collector_jobs_unwritten_total"), ""), bad=1),
        ]),
        ("Objectives: what was missed", [
            graph("Within an hour", "percentunit", *((missed(each, "1h"), each) for each in
                  ("capture-availability", "capture-to-traceable", "lookup-success", "lookup-latency"))),
            graph("Within three days", "percentunit", *((missed(each, "3d"), each) for each in
                  ("capture-availability", "capture-to-traceable", "lookup-success", "lookup-latency"))),
        ]),
        ("What goes through", [
            graph("Events", "cps", (rate("goodstrace_collector_stage_out_records_total", "stage"), "{{stage}}"),
                  (rate("goodstrace_ledger_records_sealed_total"), "sealed")),
            graph("What is behind", "short", (GAP, "before {{rung}}"), stacked=True, about="Each gap of the ladder: its backlog."),
            graph("Look-ups", "reqps", (rate("goodstrace_query_calls_total", "method"), "{{method}}")),
            graph("Versions", "none", ("count by (service, version) (goodstrace_build_info)", "{{service}} {{version}}")),
        ]),
    ],
)  # fmt: skip

PIPELINE: Final = Board(
    "goodstrace-pipeline", "Goodstrace: pipeline", "Where between capture and store does it take long, and what is refused?",
    [
        ("The ladder", [
            graph("Rungs", "short", (RECORDS, "{{rung}}"), about="Each rung in records of all time; the gaps are what waits.", floor=None),
            graph("Gaps", "short", (GAP, "before {{rung}}"), stacked=True),
        ]),
        ("Captures", [
            graph("Answers by HTTP", "reqps", (rate("goodstrace_collector_requests_total", "method, code") + " > 0", "{{method}} {{code}}")),
            graph("Duration by HTTP", "s", *quantiles("goodstrace_collector_capture_seconds")),
            graph("Calls by gRPC", "reqps", (rate("goodstrace_collector_calls_total", "method, code"), "{{method}} {{code}}")),
            graph("Duration by gRPC", "s", *quantiles("goodstrace_collector_call_seconds", "method")),
            graph("Room for captures", "bytes", ("goodstrace_collector_waiting_bytes", "held {{instance}}"),
                  ("goodstrace_collector_waiting_limit_bytes", "limit {{instance}}")),
            graph("One commit of captures", "s", *quantiles("goodstrace_collector_group_commit_seconds")),
            graph("Records in a commit", "short", *quantiles("goodstrace_collector_group_commit_records")),
            graph("Ingress", "cps", (rate("goodstrace_collector_ingress_in_messages_total"), "taken"),
                  (rate("goodstrace_collector_ingress_out_records_total", "outcome"), "{{outcome}}")),
        ]),
        ("Stages", [
            graph("Records in", "cps", (rate("goodstrace_collector_stage_in_records_total", "stage"), "{{stage}}")),
            graph("One commit of stages", "s", *quantiles("goodstrace_collector_span_commit_seconds")),
            graph("Being worked on", "short", ("sum by (stage) (goodstrace_collector_stage_in_progress_records)", "{{stage}}")),
            graph("Since the last record", "s", ("time() - max by (stage) (goodstrace_collector_stage_last_processed_timestamp_seconds > 0)", "{{stage}}")),
            graph("Rejected", "cps", (rate("goodstrace_collector_rejected_records_total", "stage, reason"), "{{stage}} {{reason}}")),
            graph("Verdicts of rules", "cps", (rate("goodstrace_collector_rule_verdicts_total", "rule"), "{{rule}}"),
                  (rate("goodstrace_collector_rule_unanswered_records_total", "rule"), "{{rule}} unanswered")),
        ]),
        ("Behind the stages", [
            graph("Not kept yet", "short", ("sum by (loop) (goodstrace_collector_projector_behind_records)", "{{loop}}"),
                  ('sum by (client) (goodstrace_kafka_lag_records{client=~"projector|states"})', "{{client}} in Kafka")),
            graph("States to derive anew", "short", ("sum(goodstrace_collector_states_to_renew)", "about")),
            graph("Keeping a batch", "s", *quantiles("goodstrace_collector_goods_upsert_seconds"), *quantiles("goodstrace_collector_states_write_seconds")),
            graph("Failed attempts", "cps", (rate("goodstrace_collector_failures_total", "loop, category"), "{{loop}} {{category}}")),
            graph("From capture to checkpoint", "s", *quantiles("goodstrace_ledger_capture_to_checkpoint_seconds", of=(0.5, 0.9, 0.99))),
        ]),
    ],
)  # fmt: skip

LEDGER: Final = Board(
    "goodstrace-ledger", "Goodstrace: ledger and witnesses", "Is everything sealed, signed, pinned and witnessed?",
    [
        ("Sealing", [
            graph("Records", "cps", (rate("goodstrace_ledger_records_read_total"), "read"), (rate("goodstrace_ledger_records_sealed_total"), "sealed")),
            graph("Blocks and bytes", "short", (rate("goodstrace_ledger_blocks_total"), "blocks"), (rate("goodstrace_ledger_sealed_bytes_total"), "bytes")),
            graph("From arrival to checkpoint", "s", *quantiles("goodstrace_ledger_seal_latency_seconds")),
            graph("Waiting", "short", ("sum(goodstrace_ledger_records_waiting)", "read, not sealed"),
                  ('sum by (client) (goodstrace_kafka_lag_records{client=~"ledger.*"})', "{{client}} not read")),
            graph("Oldest record not sealed", "s", ("goodstrace_ledger_oldest_waiting_seconds", "{{instance}}")),
            graph("Logs of each process", "none", ("goodstrace_ledger_logs_assigned", "{{instance}}")),
            graph("Faults", "cps", (rate("goodstrace_ledger_faults_total", "category"), "{{category}}")),
            graph("Since the last block", "s", ("time() - max by (instance) (goodstrace_ledger_last_sealed_timestamp_seconds > 0)", "{{instance}}")),
        ]),
        ("Sizes", [
            graph("Sealed", "short", ("max by (log) (goodstrace_ledger_sealed_entries)", "{{log}}")),
            graph("Sealed and not signed, signed and not published", "short",
                  ("max by (log) (goodstrace_ledger_sealed_entries) - max by (log) (goodstrace_ledger_signed_entries)", "{{log}} not signed"),
                  ("max by (log) (goodstrace_ledger_signed_entries) - max by (log) (goodstrace_ledger_published_entries)", "{{log}} not published"), floor=None),
        ]),
        ("Witnesses", [
            graph("Cosignatures", "cps", (rate("goodstrace_ledger_cosignatures_total", "witness"), "{{witness}}")),
            graph("Requests without one", "cps", (rate("goodstrace_ledger_witness_faults_total", "witness, kind"), "{{witness}} {{kind}}")),
            graph("Duration of requests", "s", *quantiles("goodstrace_ledger_witness_seconds", "witness")),
            graph("Since the last cosignature", "s", ("time() - (max by (witness) (goodstrace_ledger_witness_last_cosigned_timestamp_seconds) > 0)", "{{witness}}")),
        ]),
        ("The logs root and index", [
            graph("Root: lag", "s", ("max(goodstrace_ledger_root_lag_seconds)", "oldest head waits")),
            graph("Root: rounds", "cps", (rate("goodstrace_ledger_root_rounds_total"), "rounds"),
                  (rate("goodstrace_ledger_root_checkpoints_pinned_total"), "checkpoints"), (rate("goodstrace_ledger_root_round_failures_total"), "failures")),
            graph("Index: entries not looked at", "short", ("max(goodstrace_ledger_index_lag_entries)", "entries")),
            graph("Index: rounds", "cps", (rate("goodstrace_ledger_index_rounds_total"), "rounds"),
                  (rate("goodstrace_ledger_index_leaves_total"), "leaves"), (rate("goodstrace_ledger_index_round_failures_total"), "failures")),
            graph("Index: runs and rows", "short", ("max(goodstrace_ledger_index_runs)", "runs"), ("max(goodstrace_ledger_index_live_rows)", "rows")),
        ]),
    ],
)  # fmt: skip

QUERY: Final = Board(
    "goodstrace-query", "Goodstrace: query", "Are look-ups answered, how fast, and what do they cost?",
    [
        ("Calls", [
            graph("Rate", "reqps", (rate("goodstrace_query_calls_total", "method"), "{{method}}")),
            graph("Not OK", "reqps", (rate("goodstrace_query_calls_total", "code", 'code!="OK"'), "{{code}}")),
            graph("Duration, 99th percentile", "s", *quantiles("goodstrace_query_call_seconds", "method", of=(0.99,))),
            graph("Duration, median", "s", *quantiles("goodstrace_query_call_seconds", "method", of=(0.5,))),
            graph("Being answered", "short", ("sum by (method) (goodstrace_query_calls_in_progress)", "{{method}}")),
            graph("Rounds of look-ups of a trace", "short", *quantiles("goodstrace_query_trace_rounds")),
            graph("Further pages without a walk", "cps", (rate("goodstrace_query_trace_pages_of_kept_walks_total"), "pages")),
        ]),
        ("What is shown", [
            graph("Records", "cps", (rate("goodstrace_query_records_shown_total"), "shown"), (rate("goodstrace_query_records_withheld_total"), "withheld")),
            graph("Browse record acknowledged", "s", *quantiles("goodstrace_query_browse_acknowledged_seconds")),
        ]),
        ("Public logs", [
            graph("Requests", "reqps", (rate("goodstrace_query_log_requests_total", "kind, code") + " > 0", "{{kind}} {{code}}")),
            graph("Duration", "s", *quantiles("goodstrace_query_log_request_seconds", "kind", of=(0.99,))),
            graph("Bytes", "Bps", (rate("goodstrace_query_log_response_bytes_total", "kind"), "{{kind}}")),
            graph("Read for subscriptions", "cps", (rate("goodstrace_query_forward_entries_total"), "entries")),
        ]),
        ("Web pages", [
            graph("Requests", "reqps", (rate("goodstrace_query_page_requests_total", "page, code") + " > 0", "{{page}} {{code}}")),
            graph("Duration, 99th percentile", "s", *quantiles("goodstrace_query_page_seconds", "page", of=(0.99,))),
        ]),
        ("Webhooks", [
            graph("Deliveries", "cps", (rate("goodstrace_query_webhook_deliveries_total", "outcome"), "{{outcome}}")),
            graph("Webhooks", "none", ("max by (state) (goodstrace_query_webhooks)", "{{state}}"), ("max(goodstrace_query_webhooks_failing)", "failing"),
                  ("max(goodstrace_query_webhook_lag_entries)", "entries behind"), about="Each process tells of all in the store, so the max is taken and no sum."),
            graph("Disabled webhooks", "none", ("max by (reason) (goodstrace_query_webhooks_disabled)", "{{reason}}"),
                  about="Nothing is sent to them until they are resumed, or they are removed."),
        ]),
    ],
)  # fmt: skip

AUDIT: Final = Board(
    "goodstrace-audit", "Goodstrace: audit and abuse", "Is every look recorded, and who is turned away?",
    [
        ("Browse records", [
            graph("Records", "cps", (rate("goodstrace_audit_records_read_total"), "read"), (rate("goodstrace_audit_records_sealed_total"), "sealed")),
            graph("Behind", "short", ('sum(goodstrace_kafka_lag_records{client="audit"})', "not read"), ("sum(goodstrace_audit_records_waiting)", "not sealed")),
            graph("From look to checkpoint", "s", *quantiles("goodstrace_audit_capture_to_checkpoint_seconds")),
            graph("Oldest record not sealed", "s", ("goodstrace_audit_oldest_waiting_seconds", "{{instance}}")),
            graph("Looks recorded for each that was answered", "none",
                  (rate("goodstrace_query_browse_acknowledged_seconds_count"), "recorded by query"),
                  (rate("goodstrace_audit_browse_acknowledged_seconds_count"), "recorded by audit")),
            graph("Index of looks", "short", ('sum(goodstrace_kafka_lag_records{client="browse_index"})', "not in it yet"),
                  (zero("goodstrace_audit_index_missed_total"), "missed")),
            graph("Looks taken into the index", "cps", (rate("goodstrace_audit_index_rows_total"), "looks")),
            graph("Calls of the audit service", "reqps", (rate("goodstrace_audit_calls_total", "method, code"), "{{method}} {{code}}")),
        ]),
        ("Abuse", [
            graph("Captures refused for who asked", "cps", (rate("goodstrace_collector_refused_callers_total", "category"), "{{category}}")),
            graph("Look-ups refused", "reqps", (rate("goodstrace_query_calls_total", "code", 'code=~"UNAUTHENTICATED|PERMISSION_DENIED|RESOURCE_EXHAUSTED"'), "{{code}}")),
            graph("Events refused by reason", "cps", (rate("goodstrace_collector_rejected_records_total", "reason"), "{{reason}}")),
            graph("Records withheld", "cps", (rate("goodstrace_query_records_withheld_total"), "withheld")),
        ]),
        ("The watch", [
            graph("Behind", "short", ("sum by (topic) (goodstrace_watch_lag_records)", "{{topic}}"), about="Records that wait for a worker, by topic."),
            graph("Observations", "cps", (rate("goodstrace_watch_observations_total", "outcome"), "{{outcome}}"),
                  (rate("goodstrace_watch_records_unreadable_total"), "records unreadable")),
            graph("Clock: how far it is behind", "s",
                  ("time() - max by (instance) (goodstrace_watch_clock_timestamp_seconds > 0)", "{{instance}}"), about="The grace of a minute is in it."),
            graph("Alerts about users", "cps", (rate("goodstrace_watch_alerts_total", "rule"), "{{rule}}")),
            graph("Counting one batch", "s", *quantiles("goodstrace_watch_batch_seconds")),
            graph("Partitions of each worker", "none", ("goodstrace_watch_partitions", "{{instance}}"),
                  (zero("goodstrace_watch_restarts_total"), "restarts in a day")),
        ]),
        ("Sign-ins", [
            graph("Attempts by outcome", "cps", (rate("goodstrace_login_attempts_total", "outcome"), "{{outcome}}")),
            graph("Callers refused", "cps", (rate("goodstrace_access_refusals_total", "service, reason"), "{{service}} {{reason}}")),
            graph("Sessions", "cps", (rate("goodstrace_login_sessions_begun_total"), "begun"), (rate("goodstrace_login_sessions_ended_total"), "ended by somebody")),
            graph("Hashing a password", "s", *quantiles("goodstrace_login_hash_seconds")),
            graph("Passwords that wait to be hashed", "none", ("sum(goodstrace_login_hashes_waiting)", "waiting")),
        ]),
        ("Sealing", [
            graph("Sizes", "short", ("max by (log) (goodstrace_audit_sealed_entries)", "{{log}} sealed"),
                  ("max by (log) (goodstrace_audit_published_entries)", "{{log}} published")),
            graph("Faults", "cps", (rate("goodstrace_audit_faults_total", "category"), "{{category}}")),
        ]),
    ],
)  # fmt: skip

NEIGHBOURS: Final = Board(
    "goodstrace-neighbours", "Goodstrace: Kafka and MongoDB", "Do the neighbours answer, as our clients see them?",
    [
        ("Kafka", [
            graph("Not handed out yet", "short", ("sum by (client) (goodstrace_kafka_lag_records)", "{{client}}")),
            graph("Slowest requests (99 %)", "s", ("max by (job, client) (goodstrace_kafka_round_trip_seconds)", "{{job}} {{client}}")),
            graph("Failed requests", "cps", (rate("goodstrace_kafka_broker_errors_total", "client, kind"), "{{client}} {{kind}}")),
            graph("Held back by brokers", "s", ("max by (client) (goodstrace_kafka_throttled_seconds)", "{{client}}")),
            graph("Partitions", "none", ("sum by (client) (goodstrace_kafka_partitions_assigned)", "{{client}}")),
            graph("Fetched ahead", "bytes", ("sum by (client) (goodstrace_kafka_fetched_waiting_bytes)", "{{client}}")),
            graph("Producer's queue", "short", ('sum by (job) (goodstrace_kafka_unsent_messages{client="browses"})', "{{job}}")),
            graph("Since the last report of a client", "s", ("time() - (max by (job, client) (goodstrace_kafka_statistics_timestamp_seconds) > 0)", "{{job}} {{client}}")),
        ]),
        ("MongoDB", [
            graph("Calls", "ops", (rate("goodstrace_store_command_seconds_count", "command"), "{{command}}")),
            graph("Duration, 99th percentile", "s", *quantiles("goodstrace_store_command_seconds", "command", of=(0.99,))),
            graph("Duration by service", "s", *quantiles("goodstrace_store_command_seconds", "job")),
            graph("Failures", "cps", (rate("goodstrace_store_command_failures_total", "job, command"), "{{job}} {{command}}"),
                  (rate("goodstrace_store_connection_failures_total", "job"), "{{job}} no connection")),
            graph("Connections", "none", ("sum by (job, state) (goodstrace_store_connections)", "{{job}} {{state}}")),
        ]),
    ],
)  # fmt: skip

CAPACITY: Final = Board(
    "goodstrace-capacity", "Goodstrace: capacity", "What runs out first, and when?",
    [
        ("Growth", [
            number("Entries in all logs", "short", ("sum(max by (log) (goodstrace_ledger_sealed_entries))", "")),
            number("Events a day at this pace", "short", ("86400 * sum(rate(goodstrace_ledger_records_sealed_total[1h]))", "")),
            number("Bytes sealed a day at this pace", "bytes", ("86400 * sum(rate(goodstrace_ledger_sealed_bytes_total[1h]))", "")),
            number("Fullest disk", "percentunit", (('max(1 - node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"}'
                   ' / node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"})'), ""), warn=0.7, bad=0.9),
        ]),
        ("Processes", [
            graph("Processor", "none", (rate("process_cpu_seconds_total", "job, instance", 'job!="prometheus"'), "{{job}} {{instance}}"),
                  about="1 is a whole core: a Python process uses hardly more."),
            graph("Memory", "bytes", ('process_resident_memory_bytes{job!="prometheus"}', "{{job}} {{instance}}")),
            graph("Open files", "percentunit", ('process_open_fds{job!="prometheus"} / process_max_fds{job!="prometheus"}', "{{job}} {{instance}}")),
            graph("Events a second for each core", "none", (rate("goodstrace_collector_stage_out_records_total", "job", 'stage="store"')
                  + " / on (job) " + rate("process_cpu_seconds_total", "job", 'job="collector"'), "collector"),
                  (rate("goodstrace_ledger_records_sealed_total", "job") + " / on (job) " + rate("process_cpu_seconds_total", "job", 'job="ledger"'), "ledger")),
        ]),
        ("Machines", [
            graph("Room on disks", "bytes", ('node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"}', "{{instance}} {{mountpoint}}")),
            graph("Memory free", "bytes", ("node_memory_MemAvailable_bytes", "{{instance}}")),
            graph("Processors busy", "percentunit", (f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}[{_W}]))', "{{instance}}")),
            graph("Waiting to run", "short", ("node_load1", "{{instance}}")),
        ]),
    ],
)  # fmt: skip

BOARDS: Final = (OVERVIEW, PIPELINE, LEDGER, QUERY, AUDIT, NEIGHBOURS, CAPACITY)


def files() -> dict[Path, str]:
    """Give the dashboards, by path."""
    return {FOLDER / f"{board.uid.removeprefix('goodstrace-')}.json": board.to_json() for board in BOARDS}
