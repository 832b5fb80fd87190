"""The alerts: each names what is wrong, how grave it is, and the section of the runbook that says what to do."""

from dataclasses import dataclass
from typing import Any, Final

from services.runtime.ladder import GAP
from tools.monitoring.rules import OBJECTIVES, Objective, missed

PAGE, TICKET = "page", "ticket"
"""Somebody must look now; somebody must look within days."""
SERVICES: Final = ("collector", "ledger", "query", "audit", "watch")


@dataclass(frozen=True)
class Alert:
    """An alert; `page` is the page of docs/runbooks that has a section of its name."""

    name: str
    expr: str
    wait: str
    severity: str
    page: str
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """Where to read on."""
        return f"docs/runbooks/{self.page}.md#{self.name.lower()}"

    def as_yaml(self) -> dict[str, Any]:
        """Give it as Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook": self.runbook,
            },
        }


def _zero(*counters: str) -> str:
    """Ask whether any of what must stay 0 has grown. A process that ended takes its own counts with it, not the others'.

    `increase` counts nothing of what a series has at its first sample: of a process that counted before it was asked for the first time, or of labels that
    come with their first count. So what a series that was not there in the quarter of an hour before began with is asked for, too: not at one
    moment of it alone, since a scrape that failed then would tell of all old counts once more.
    """
    grown = "\n+ ".join(f"(sum(increase({counter}[15m])) or vector(0))" for counter in counters)
    begun = "\n+ ".join(
        f"(sum({counter} > 0 unless max_over_time({counter}[15m] offset 15m)) or vector(0))"
        for counter in counters
    )
    return f"({grown}\n> 0)\nor ({begun}\n> 0)"


def _down() -> str:
    """Ask whether a service does not answer, or none of it is there to be asked: what was never started has no series that is 0."""
    gone = [f'absent(up{{job="{service}"}})' for service in SERVICES]
    return "\nor ".join([f'up{{job=~"{"|".join(SERVICES)}"}} == 0', *gone])


def _unsealed(part: str) -> str:
    """Ask whether records wait for a sealer that commits no block: read and too old, or not even read."""
    return (
        f"(max(goodstrace_{part}_oldest_waiting_seconds) > 120)\n"
        f'or (\n  sum(goodstrace_kafka_lag_records{{client="{part}"}}) > 0\n'
        f"  and sum(rate(goodstrace_{part}_records_sealed_total[10m])) == 0\n)"
    )


def _burn(objective: Objective, factor: float, long: str, short: str) -> str:
    limit = f"{factor * objective.budget:.6g}"
    return f"({missed(objective.name, long)} > {limit} and {missed(objective.name, short)} > {limit})"


_BURNS: Final = {
    "capture-availability": ("CaptureAvailabilityBurn", "capture", "Captures fail."),
    "capture-to-traceable": (
        "CaptureToTraceableBurn",
        "pipeline",
        "Events take over 10 s until they can be traced.",
    ),
    "lookup-success": ("LookupSuccessBurn", "query", "Look-ups fail."),
    "lookup-latency": ("LookupLatencyBurn", "query", "Look-ups take over 1 s."),
}


def burns() -> list[Alert]:
    """Make two alerts for each objective: the budget of 30 days is burning fast, or slowly.

    Each asks over a long window, that it matters, and over a short one, that it still goes on. Source: Google's SRE
    workbook, "Alerting on SLOs", multiwindow, multi-burn-rate alerts.
    """
    made = []
    for objective in OBJECTIVES:
        name, page, summary = _BURNS[objective.name]
        fast = f"{_burn(objective, 14.4, '1h', '5m')}\nor\n{_burn(objective, 6, '6h', '30m')}"
        slow = f"{_burn(objective, 3, '1d', '2h')}\nor\n{_burn(objective, 1, '3d', '6h')}"
        part = f"{1 - objective.budget:.1%}"
        made += [
            Alert(
                name, fast, "2m", PAGE, page, summary,
                f"{{{{ $value | humanizePercentage }}}} are bad; the objective is {part} good over 30 days, and at this pace "
                "its budget is gone within days.",
            ),
            Alert(
                name, slow, "15m", TICKET, page, summary,
                f"{{{{ $value | humanizePercentage }}}} are bad; the objective is {part} good over 30 days, and the budget "
                "will not last.",
            ),
        ]  # fmt: skip
    return made


ALERTS: Final = (
    Alert(
        "ServiceDown", _down(), "2m", PAGE, "services",
        "{{ $labels.job }}{{ with $labels.instance }} on {{ . }}{{ end }} does not answer.",
        "Its metrics cannot be read: it has ended, hangs, or cannot be reached. Without an instance: there is no process of it at all.",
    ),
    Alert(
        "CaptureOverloaded",
        "goodstrace_collector_waiting_bytes / goodstrace_collector_waiting_limit_bytes > 0.8",
        "5m", TICKET, "capture",
        "Captures fill {{ $value | humanizePercentage }} of the room for them on {{ $labels.instance }}.",
        "At 100 % captures are answered 503.",
    ),
    Alert(
        "RejectedShare",
        '(sum(rate(goodstrace_collector_rejected_records_total{reason!="DUPLICATE"}[30m])))\n'
        '/ clamp_min(sum(rate(goodstrace_collector_stage_in_records_total{stage="collect"}[30m])), 1e-9)\n> 0.05',
        "10m", TICKET, "capture",
        "{{ $value | humanizePercentage }} of the events are rejected, duplicates not counted.",
        "Somebody sends what is malformed, or not theirs to say.",
    ),
    Alert(
        "StageFailed", _zero('goodstrace_collector_rejected_records_total{reason="FAULT"}'), "0m", TICKET, "capture",
        "The collector failed over an event, and refused it.",
        "An error of ours: that event is not sealed, and lies in goods.rejected. All others go their way.",
    ),
    Alert(
        "JobsUnwritten", _zero("goodstrace_collector_jobs_unwritten_total"), "0m", TICKET, "capture",
        "Captures were taken whose jobs could not be described at once.",
        "Nothing is lost: what was captured goes its way. Who asks for such a job is told of it later.",
    ),
    Alert(
        "RulesUnanswered", _zero("goodstrace_collector_rule_unanswered_records_total"), "0m", TICKET, "capture",
        "A rule had no answer for an event.",
        "It gave no verdict there: what it was to find may go unseen. The event itself is sealed.",
    ),
    Alert(
        "PipelineBehind",
        f'(sum({GAP}{{rung!~"checkpointed|witnessed"}}) > 20000)\n'
        f'and (sum(deriv({GAP}{{rung!~"checkpointed|witnessed"}}[10m])) >= 0)',
        "10m", PAGE, "pipeline",
        "{{ $value | humanize }} events are captured and not sealed, and they do not become fewer.",
        "The ladder of the pipeline dashboard shows below which rung they wait.",
    ),
    Alert(
        "ProjectorBehind", 'sum by (client) (goodstrace_kafka_lag_records{client=~"projector|states"}) > 50000',
        "15m", TICKET, "pipeline",
        "{{ $labels.client }} has {{ $value | humanize }} records to keep.",
        "Goods information, verdicts of jobs or states of goods are old. Sealing and tracing are not concerned.",
    ),
    Alert(
        "LogStuck",
        "(max by (job, instance) (goodstrace_ledger_oldest_waiting_seconds) > 60)\n"
        'or (\n  sum by (job, instance) (goodstrace_kafka_lag_records{client="ledger"}) > 0\n'
        "  and sum by (job, instance) (rate(goodstrace_ledger_records_sealed_total[5m])) == 0\n)",
        "3m", PAGE, "ledger",
        "A log on {{ $labels.instance }} is not sealed any more.",
        "Records wait and no block is committed: what was captured cannot be traced.",
    ),
    Alert(
        "AppendConflict",
        _zero("goodstrace_ledger_append_conflicts_total", "goodstrace_ledger_root_append_conflicts_total",
              "goodstrace_ledger_index_append_conflicts_total", "goodstrace_audit_append_conflicts_total"),
        "0m", PAGE, "ledger",
        "Two processes wrote the same log.",
        "The loser has stopped and nothing is lost, but one of them should not be there.",
    ),
    Alert(
        "ProofFailure",
        _zero("goodstrace_ledger_unprovable_records_total", "goodstrace_ledger_root_unprovable_records_total",
              "goodstrace_ledger_index_unprovable_records_total", "goodstrace_audit_unprovable_records_total",
              'goodstrace_query_calls_total{code="DATA_LOSS"}', 'goodstrace_audit_calls_total{code="DATA_LOSS"}',
              'goodstrace_query_log_requests_total{code="500"}'),
        "0m", PAGE, "ledger",
        "What is stored, or was to be sealed, does not prove what it should.",
        "A record does not commit to its parts, or stored bytes are not those that were sealed.",
    ),
    Alert(
        "RootBehind",
        "(max(goodstrace_ledger_root_lag_seconds) > 120)\n"
        "or (sum(rate(goodstrace_ledger_root_rounds_total[15m])) == 0)\n"
        f"or {_unsealed('ledger_root')}",
        "5m", TICKET, "ledger",
        "Checkpoints do not get into the root log in time.",
        "They wait for a round, no process makes one, or what rounds wrote is not sealed. Proofs of the root lag behind; traces are not concerned.",
    ),
    Alert(
        "IndexBehind",
        "(max(goodstrace_ledger_index_lag_entries) > 0)\n"
        "or (sum(rate(goodstrace_ledger_index_rounds_total[15m])) == 0)\n"
        f"or {_unsealed('ledger_index')}",
        "15m", TICKET, "ledger",
        "The log index does not follow the root log.",
        "No round comes to the root log's end, none is made, or what rounds wrote is not sealed. Proofs of completeness grow old; traces are not concerned.",
    ),
    Alert(
        "WitnessQuorumLost",
        "(\n  max by (log) (goodstrace_ledger_signed_entries) > max by (log) (goodstrace_ledger_published_entries)\n"
        "  and time() - max by (log) (goodstrace_ledger_last_published_timestamp_seconds) > 120\n)\nor (\n"
        "  max by (log) (goodstrace_audit_signed_entries) > max by (log) (goodstrace_audit_published_entries)\n"
        "  and time() - max by (log) (goodstrace_audit_last_published_timestamp_seconds) > 120\n)",
        "3m", PAGE, "witnesses",
        "{{ $labels.log }} is signed and not published: its quorum of witnesses is missing.",
        "What is sealed since cannot be looked up until enough witnesses answer.",
    ),
    Alert(
        "WitnessSuspicion",
        _zero('goodstrace_ledger_witness_faults_total{kind=~"fork|rolled-back"}',
              'goodstrace_audit_witness_faults_total{kind=~"fork|rolled-back"}',
              "goodstrace_witness_suspicions_total", "goodstrace_witness_index_leaves_wrong_total",
              "goodstrace_witness_key_mismatches_total"),
        "0m", PAGE, "witnesses",
        "What a witness has seen does not fit our logs.",
        "It has cosigned what our store does not have, or one of ours was shown a fork, a wrong leaf of the log index, or a key that no statement leads to.",
    ),
    Alert(
        "WitnessDown",
        'up{job="witness"} == 0\n'
        'or ((count(up{job="witness"}) or vector(0)) < max_over_time(count(up{job="witness"})[6h:5m]))',
        "5m", TICKET, "witnesses",
        "A witness of ours{{ with $labels.instance }} on {{ . }}{{ end }} does not answer, or is not there any more.",
        "Its metrics cannot be read. Where the quorum is missing too, WitnessQuorumLost says so.",
    ),
    Alert(
        "BrowseRecordsBehind",
        '(sum(goodstrace_kafka_lag_records{client="audit"}) + sum(goodstrace_audit_records_waiting) > 5000)\n'
        f"or {_unsealed('audit')}",
        "5m", TICKET, "audit",
        "Browse records are not sealed in time.",
        "They are durable in Kafka, so that looks stay allowed; who asks what was looked at is not told of the newest.",
    ),
    Alert(
        "BrowseIndexBehind", 'sum(goodstrace_kafka_lag_records{client="browse_index"}) > 5000', "15m", TICKET, "audit",
        "{{ $value | humanize }} looks are not in the index yet.",
        "They are sealed, but who asks what a user looked at is not told of the newest; after two days they are gone from the topic.",
    ),
    Alert(
        "BrowseIndexIncomplete", _zero("goodstrace_audit_index_missed_total"), "0m", TICKET, "audit",
        "Looks are missing in the index.",
        "It was away for longer than browse.watched keeps what it is told: it has to be made again.",
    ),
    Alert(
        "WatchBehind",
        "(sum(goodstrace_watch_lag_records) > 5000)\n"
        "or (max((time() - goodstrace_watch_clock_timestamp_seconds > 900) and (goodstrace_watch_partitions > 0)))\n"
        "or (sum(goodstrace_watch_partitions) == 0)",
        "10m", TICKET, "audit",
        "The watch does not keep up with the looks.",
        "Records wait, its clock stands still, or no worker has a partition: whoever looks too much is noticed late, and not blocked.",
    ),
    Alert(
        "WatchIncomplete",
        _zero('goodstrace_watch_observations_total{outcome="late"}', "goodstrace_watch_windows_not_judged_total",
              "goodstrace_watch_records_unreadable_total"),
        "0m", TICKET, "audit",
        "The watch has not counted, or not judged, all looks.",
        "Records came after their windows or could not be read, or too many windows waited to be compared: an alert about users may be missing.",
    ),
    Alert(
        "WatchRestarts", _zero("goodstrace_watch_restarts_total"), "0m", TICKET, "audit",
        "A worker of the watch ended and was started again.",
        "Nothing was counted wrong: it goes on from what is committed. Its log says why it ended.",
    ),
    Alert(
        "WebhooksFailing", "max(goodstrace_query_webhooks_failing) > 0", "1h", TICKET, "query",
        "{{ $value }} webhooks fail.",
        "Their receivers refuse or do not answer, who made them may not look now, what is stored of them is damaged, or they are over the limit; messages wait and are tried again.",
    ),
    Alert(
        "WebhooksDisabled", "max by (reason) (goodstrace_query_webhooks_disabled) > 0", "5m", TICKET, "query",
        "{{ $value }} webhooks are disabled: {{ $labels.reason }}.",
        "Nothing is sent to their receivers until they are resumed, and nobody tries again. Each was failing for too long, its receiver said 410, or who made it does not count any more.",
    ),
    Alert(
        "SignInAttack",
        'sum(rate(goodstrace_login_attempts_total{outcome=~"locked|challenged"}[10m])) > 1',
        "10m", TICKET, "access",
        "{{ $value | humanize }} attempts a second to sign in wait or have to work first.",
        "Somebody tries passwords. Nobody is locked out by it, and strangers have to work for each attempt.",
    ),
    Alert(
        "SigningKeysFailing", _zero("goodstrace_login_key_failures_total"),
        "0m", PAGE, "access",
        "The keys that sign access tokens cannot be read or published.",
        "Tokens are signed as before; a key that was to be retired or taken into use is not.",
    ),
    Alert(
        "RefusalsUnrecorded", _zero("goodstrace_access_refusals_unrecorded_total"),
        "5m", TICKET, "access",
        "Callers are refused and no browse record could be made of it.",
        "What they asked for was not shown; the browse log does not tell that they tried.",
    ),
    Alert(
        "OutcomesLost", _zero("goodstrace_browse_outcomes_lost_total"),
        "5m", TICKET, "access",
        "What became of look-ups could not be recorded.",
        "The looks themselves are recorded; lists say that their outcome is unknown.",
    ),
    Alert(
        "CertificateEnds",
        "min by (job, instance) (goodstrace_tls_certificate_expires_timestamp_seconds) - time() < 7 * 86400",
        "10m", PAGE, "access",
        "The certificate of {{ $labels.job }} on {{ $labels.instance }} ends in {{ $value | humanizeDuration }}.",
        "After that no client connects. Replaced files are taken up without a restart.",
    ),
    Alert(
        "StoreFailing",
        "(\n  sum by (job) (rate(goodstrace_store_command_failures_total[5m]))\n"
        "  + sum by (job) (rate(goodstrace_store_connection_failures_total[5m]))\n)\n"
        "/ clamp_min(\n  sum by (job) (rate(goodstrace_store_command_seconds_count[5m]))\n"
        "  + sum by (job) (rate(goodstrace_store_connection_failures_total[5m])), 1e-9\n)\n> 0.05\n"
        "or (1 - min by (job) (goodstrace_store_writable)) > 0",
        "5m", PAGE, "neighbours",
        "{{ $value | humanizePercentage }} of {{ $labels.job }}'s calls to the store fail.",
        "MongoDB refuses, is slow, or cannot be reached.",
    ),
    Alert(
        "KafkaClientSilent",
        "(goodstrace_kafka_statistics_timestamp_seconds > 0)\n"
        "and (time() - goodstrace_kafka_statistics_timestamp_seconds > 120)",
        "3m", PAGE, "neighbours",
        "The Kafka client {{ $labels.client }} of {{ $labels.job }} is not polled any more.",
        "The loop that uses it hangs; its metrics stand still.",
    ),
    Alert(
        "KafkaFailing",
        "(sum by (job, client) (rate(goodstrace_kafka_broker_errors_total[10m])) > 0.1)\n"
        "or (\n  max by (job, client) (goodstrace_kafka_brokers_connected) == 0\n"
        "  and max by (job, client) (goodstrace_kafka_statistics_timestamp_seconds) > 0\n)",
        "10m", TICKET, "neighbours",
        "Requests of {{ $labels.job }} ({{ $labels.client }}) to Kafka fail again and again, or no broker is there.",
        "A broker ends, is overloaded, or the way to it is lost.",
    ),
    Alert(
        "DiskFilling",
        '(\n  node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"}'
        ' / node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"} < 0.1\n)\nor (\n'
        '  node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"}'
        ' / node_filesystem_size_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"} < 0.4\n'
        '  and predict_linear(node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|squashfs|iso9660"}[6h], 86400) < 0\n)',
        "10m", PAGE, "neighbours",
        "{{ $labels.mountpoint }} on {{ $labels.instance }} is nearly full, or will be within a day.",
        "Logs only ever grow. A store or a broker without room stops the system.",
    ),
    Alert(
        "VolumeFilling",
        "(\n  kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes < 0.1\n)\nor (\n"
        "  kubelet_volume_stats_available_bytes / kubelet_volume_stats_capacity_bytes < 0.4\n"
        "  and predict_linear(kubelet_volume_stats_available_bytes[6h], 86400) < 0\n)",
        "10m", PAGE, "neighbours",
        "The volume {{ $labels.persistentvolumeclaim }} in {{ $labels.namespace }} is nearly full, or will be within a day.",
        "Logs only ever grow. A store or a broker without room stops the system.",
    ),
)  # fmt: skip
