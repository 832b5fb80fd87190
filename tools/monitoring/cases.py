"""For each alert one course of things in which it fires, and one in which it does not, as tests of `promtool test rules`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tools.monitoring.alerts import PAGE, SERVICES, TICKET

Series = Mapping[str, str]
"""Series by name and labels: values in promtool's notation, one a step."""


@dataclass(frozen=True)
class Case:
    """An alert's test: `fires` and `quiet` are what Prometheus scraped until `at`."""

    alert: str
    severity: str
    fires: Series
    quiet: Series
    at: str = "30m"
    step: str = "1m"

    def as_yaml(self) -> list[dict[str, Any]]:
        """Give both tests as promtool reads them."""
        firing = f'count by (alertname, severity) (ALERTS{{alertname="{self.alert}",severity="{self.severity}",alertstate="firing"}}) > bool 0'
        labels = f'{{alertname="{self.alert}",severity="{self.severity}"}}'
        return [
            {
                "name": f"{self.alert} ({self.severity}) fires",
                "interval": self.step,
                "input_series": _given(self.fires),
                "promql_expr_test": [
                    {
                        "expr": firing,
                        "eval_time": self.at,
                        "exp_samples": [{"labels": labels, "value": 1}],
                    }
                ],
            },
            {
                "name": f"{self.alert} ({self.severity}) does not fire",
                "interval": self.step,
                "input_series": _given(self.quiet),
                "promql_expr_test": [{"expr": firing, "eval_time": self.at, "exp_samples": []}],
            },
        ]


def _given(series: Series) -> list[dict[str, str]]:
    return [{"series": name, "values": values} for name, values in series.items()]


_CAPTURE: Final = 'goodstrace_collector_requests_total{{job="collector",method="capture",code="{code}"}}'
_AGE: Final = "goodstrace_ledger_capture_to_checkpoint_seconds"
_CALLS: Final = 'goodstrace_query_calls_total{{job="query",method="Trace",code="{code}"}}'
_LOOKED: Final = "goodstrace_query_call_seconds"
_UP: Final = 'up{{job="{job}",instance="{job}:9100"}}'
_HELD: Final = "goodstrace_collector_waiting_bytes"
_ROOM: Final = "goodstrace_collector_waiting_limit_bytes"
_LAG: Final = 'goodstrace_kafka_lag_records{{job="{job}",instance="a",client="{client}"}}'
_SEALED: Final = 'goodstrace_ledger_records_sealed_total{job="ledger",instance="a"}'
_OLDEST: Final = 'goodstrace_ledger_oldest_waiting_seconds{job="ledger",instance="a"}'
_REFUSED: Final = 'goodstrace_collector_rejected_records_total{{stage="summarise",reason="{reason}"}}'
_TAKEN: Final = 'goodstrace_collector_stage_in_records_total{stage="collect"}'
_SIZES: Final = 'goodstrace_ledger_{which}_entries{{log="goods/0"}}'
_PUBLISHED: Final = 'goodstrace_ledger_last_published_timestamp_seconds{log="goods/0"}'
_COMMANDS: Final = 'goodstrace_store_command_seconds_count{job="query",command="find"}'
_UNCONNECTED: Final = 'goodstrace_store_connection_failures_total{job="query"}'
_FAILED: Final = 'goodstrace_store_command_failures_total{job="query",command="find"}'
_WRITABLE: Final = 'goodstrace_store_writable{job="query",instance="a"}'
_REPORTED: Final = 'goodstrace_kafka_statistics_timestamp_seconds{job="ledger",client="ledger"}'
_CONNECTED: Final = 'goodstrace_kafka_brokers_connected{job="ledger",client="ledger"}'
_ERRORS: Final = 'goodstrace_kafka_broker_errors_total{job="ledger",client="ledger",kind="timeout"}'
_ATTEMPTS: Final = 'goodstrace_login_attempts_total{{job="query",outcome="{outcome}"}}'
_FAILING: Final = 'goodstrace_query_webhooks_failing{{job="query",instance="{instance}"}}'
_DISABLED: Final = 'goodstrace_query_webhooks_disabled{{job="query",instance="{instance}",reason="{reason}"}}'
_KEYS: Final = 'goodstrace_login_key_failures_total{job="query",instance="a"}'
_UNRECORDED: Final = 'goodstrace_access_refusals_unrecorded_total{job="query",instance="a"}'
_LOST: Final = 'goodstrace_browse_outcomes_lost_total{job="query",instance="a",service="query"}'
_CERTIFICATE: Final = 'goodstrace_tls_certificate_expires_timestamp_seconds{job="query",instance="a"}'
_UNWRITTEN: Final = 'goodstrace_collector_jobs_unwritten_total{job="collector",instance="a"}'
_UNANSWERED: Final = (
    'goodstrace_collector_rule_unanswered_records_total{job="collector",instance="a",rule="one"}'
)
_ROUNDS: Final = 'goodstrace_ledger_{part}_rounds_total{{job="ledger",instance="a"}}'
_PART_SEALED: Final = 'goodstrace_{part}_records_sealed_total{{job="{job}",instance="a"}}'
_INDEX_LAG: Final = 'goodstrace_ledger_index_lag_entries{job="ledger",instance="a"}'
_OUTCOMES: Final = 'goodstrace_watch_observations_total{{job="watch",instance="a",outcome="{outcome}"}}'
_NOT_JUDGED: Final = 'goodstrace_watch_windows_not_judged_total{job="watch",instance="a"}'
_UNREADABLE: Final = 'goodstrace_watch_records_unreadable_total{job="watch",instance="a"}'
_RESTARTS: Final = 'goodstrace_watch_restarts_total{job="watch",instance="a"}'
_WATCH_LAG: Final = 'goodstrace_watch_lag_records{{job="watch",instance="{instance}",topic="browse.watched"}}'
_CLOCK: Final = 'goodstrace_watch_clock_timestamp_seconds{{job="watch",instance="{instance}"}}'
_PARTITIONS: Final = 'goodstrace_watch_partitions{{job="watch",instance="{instance}"}}'
_VOLUME: Final = (
    'kubelet_volume_stats_{which}_bytes{{namespace="goodstrace",persistentvolumeclaim="data-kafka-0"}}'
)
_DISK: Final = 'node_filesystem_{which}_bytes{{instance="a",mountpoint="/",fstype="ext4"}}'


def _zero_cases(alert: str, severity: str, *series: str) -> list[Case]:
    """Three cases for each counter of an alert on what must stay 0.

    It grows, or stands at what it was; it is not 0 when it is first asked for, or was so long ago; and once was asked for in vain a quarter of an hour ago.
    """
    return [
        case
        for each in series
        for case in (
            Case(alert, severity, {each: "0x20 1x10"}, {each: "3x30"}),
            Case(alert, severity, {each: "_x20 1x10"}, {each: "_x5 1x25"}),
            Case(alert, severity, {each: "1x14 stale 1x5 2x8"}, {each: "1x14 stale 1x15"}),
        )
    ]


def _services(**changed: str) -> Series:
    """Every service answers, but for those that are told otherwise; an empty text for one that is not there."""
    values = {**dict.fromkeys(SERVICES, "1x30"), **changed}
    return {_UP.format(job=job): told for job, told in values.items() if told}


def _good_and_bad(good: str, bad: str, minutes: int, *, good_rate: int, bad_rate: int) -> Series:
    return {good: f"0+{good_rate}x{minutes}", bad: f"0+{bad_rate}x{minutes}"}


def _within(name: str, minutes: int, *, limit: str, within: int, labels: str = "") -> Series:
    """A histogram of 1000 a minute, `within` of them in `limit` seconds."""
    inside = f"{labels}," if labels else ""
    return {
        f"{name}_count{{{labels}}}": f"0+1000x{minutes}",
        f'{name}_bucket{{{inside}le="{limit}"}}': f"0+{within}x{minutes}",
    }


def _objective_cases() -> list[Case]:
    """A fast burn for an hour, a slow one for three days."""
    captures = (_CAPTURE.format(code="202"), _CAPTURE.format(code="503"))
    calls = (_CALLS.format(code="OK"), _CALLS.format(code="UNAVAILABLE"))
    trace = 'method="Trace"'
    made = []
    for severity, minutes, at, bad, step in ((PAGE, 36, "66m", 50, "2m"), (TICKET, 38, "74h", 3, "2h")):
        fine = 1000 if severity == TICKET else 999  # a page must not come of what a ticket is for
        made += [
            Case(name, severity, _good_and_bad(*pair, minutes, good_rate=1000, bad_rate=bad),
                 _good_and_bad(*pair, minutes, good_rate=1000, bad_rate=0 if fine == 1000 else 1), at, step)
            for name, pair in (("CaptureAvailabilityBurn", captures), ("LookupSuccessBurn", calls))
        ]  # fmt: skip
        late = 1000 - 6 * bad
        made += [
            Case("CaptureToTraceableBurn", severity, _within(_AGE, minutes, limit="10.0", within=late),
                 _within(_AGE, minutes, limit="10.0", within=995), at, step),
            Case("LookupLatencyBurn", severity, _within(_LOOKED, minutes, limit="1.0", within=late, labels=trace),
                 _within(_LOOKED, minutes, limit="1.0", within=995, labels=trace), at, step),
        ]  # fmt: skip
    return made


def _unsealed_cases(alert: str, part: str, job: str) -> list[Case]:
    """Records are read and not sealed, or not even read; while blocks come, neither is a fault."""
    oldest = f'goodstrace_{part}_oldest_waiting_seconds{{job="{job}",instance="a"}}'
    lag, sealed = _LAG.format(job=job, client=part), _PART_SEALED.format(part=part, job=job)
    return [
        Case(alert, TICKET, {oldest: "0x10 60+60x50"}, {oldest: "3x60"}, "1h"),
        Case(alert, TICKET, {lag: "20x60", sealed: "1000x60"}, {lag: "20x60", sealed: "0+100x60"}, "1h"),
    ]


CASES: Final = (
    Case("ServiceDown", PAGE, _services(ledger="1x10 0x20"), _services(ledger="1x28 0x2")),
    *(Case("ServiceDown", PAGE, _services(**{service: ""}), _services()) for service in SERVICES),
    Case("ServiceDown", PAGE, _services(query="1x10 _x20"), _services(query="1x29 _x1")),
    *_objective_cases(),
    Case("CaptureOverloaded", TICKET, {_HELD: "90x30", _ROOM: "100x30"}, {_HELD: "70x30", _ROOM: "100x30"}),
    Case(
        "RejectedShare", TICKET,
        {_REFUSED.format(reason="INVALID"): "0+10x60", _TAKEN: "0+100x60"},
        {_REFUSED.format(reason="INVALID"): "0+1x60", _REFUSED.format(reason="DUPLICATE"): "0+50x60", _TAKEN: "0+100x60"},
        "1h",
    ),
    *_zero_cases("StageFailed", TICKET, _REFUSED.format(reason="FAULT")),
    *_zero_cases("JobsUnwritten", TICKET, _UNWRITTEN),
    *_zero_cases("RulesUnanswered", TICKET, _UNANSWERED),
    Case(
        "PipelineBehind", PAGE,
        {_LAG.format(job="collector", client="summarise"): "0+10000x12"},
        {_LAG.format(job="collector", client="summarise"): "90000-5000x12"},
        "60m", "5m",
    ),
    Case(
        "ProjectorBehind", TICKET,
        {_LAG.format(job="collector", client="projector"): "60000x60"},
        {_LAG.format(job="collector", client="projector"): "40000x60", _LAG.format(job="collector", client="summarise"): "60000x60"},
        "1h",
    ),
    Case("LogStuck", PAGE, {_OLDEST: "0x10 60+60x20"}, {_OLDEST: "3x30"}),
    Case(
        "LogStuck", PAGE,
        {_OLDEST: "0x30", _LAG.format(job="ledger", client="ledger"): "500x30", _SEALED: "1000x30"},
        {_OLDEST: "0x30", _LAG.format(job="ledger", client="ledger"): "500x30", _SEALED: "0+100x30"},
    ),
    Case(
        "AppendConflict", PAGE,
        {'goodstrace_ledger_append_conflicts_total{job="ledger"}': "0x20 1x10"},
        {'goodstrace_ledger_append_conflicts_total{job="ledger"}': "0x30"},
    ),
    Case(
        "ProofFailure", PAGE,
        {'goodstrace_query_calls_total{job="query",method="Trace",code="DATA_LOSS"}': "0x20 1x10"},
        {'goodstrace_query_calls_total{job="query",method="Trace",code="DATA_LOSS"}': "0x30",
         'goodstrace_query_calls_total{job="query",method="Trace",code="NOT_FOUND"}': "0+5x30"},
    ),
    Case(
        "RootBehind", TICKET,
        {"goodstrace_ledger_root_lag_seconds": "300x30", _ROUNDS.format(part="root"): "0+40x30"},
        {"goodstrace_ledger_root_lag_seconds": "2x30", _ROUNDS.format(part="root"): "0+40x30"},
    ),
    Case("RootBehind", TICKET, {_ROUNDS.format(part="root"): "0+40x10 400x50"}, {_ROUNDS.format(part="root"): "0+40x60"}, "1h"),
    *_unsealed_cases("RootBehind", "ledger_root", "ledger"),
    Case("IndexBehind", TICKET, {_INDEX_LAG: "0x10 512x30"}, {_INDEX_LAG: "0x10 512x10 0x20"}, "40m"),
    Case("IndexBehind", TICKET, {_ROUNDS.format(part="index"): "0+40x10 400x50"}, {_ROUNDS.format(part="index"): "0+40x60"}, "1h"),
    *_unsealed_cases("IndexBehind", "ledger_index", "ledger"),
    Case(
        "WitnessQuorumLost", PAGE,
        {_SIZES.format(which="signed"): "0+10x30", _SIZES.format(which="published"): "0+10x10 100x20",
         _PUBLISHED: "0+60x10 600x20"},
        {_SIZES.format(which="signed"): "10+10x30", _SIZES.format(which="published"): "0+10x30", _PUBLISHED: "0+60x30"},
    ),
    Case(
        "WitnessSuspicion", PAGE,
        {'goodstrace_ledger_witness_faults_total{witness="one",kind="rolled-back"}': "0x20 1x10"},
        {'goodstrace_ledger_witness_faults_total{witness="one",kind="unavailable"}': "0+1x30"},
    ),
    *_zero_cases(
        "WitnessSuspicion", PAGE,
        'goodstrace_witness_suspicions_total{job="witness",instance="a",kind="fork"}',
        'goodstrace_witness_index_leaves_wrong_total{job="witness",instance="a"}',
        'goodstrace_witness_key_mismatches_total{job="witness",instance="a"}',
    ),
    Case("WitnessDown", TICKET, {_UP.format(job="witness"): "1x10 0x20"}, _services()),
    Case("WitnessDown", TICKET, {_UP.format(job="witness"): "1x15 _x15"}, {_UP.format(job="witness"): "1x30"}),
    Case(
        "BrowseRecordsBehind", TICKET,
        {_LAG.format(job="audit", client="audit"): "6000x30", "goodstrace_audit_records_waiting": "10x30"},
        {_LAG.format(job="audit", client="audit"): "60x30", "goodstrace_audit_records_waiting": "10x30"},
    ),
    *_unsealed_cases("BrowseRecordsBehind", "audit", "audit"),
    Case(
        "BrowseIndexBehind", TICKET,
        {_LAG.format(job="audit", client="browse_index"): "6000x40"},
        {_LAG.format(job="audit", client="browse_index"): "60x40", _LAG.format(job="audit", client="audit"): "6000x40"},
    ),
    Case(
        "BrowseIndexIncomplete", TICKET,
        {'goodstrace_audit_index_missed_total{job="audit",instance="a"}': "0x20 7x10"},
        {'goodstrace_audit_index_missed_total{job="audit",instance="a"}': "7x30"},
    ),
    Case(
        "WatchBehind", TICKET,
        {_WATCH_LAG.format(instance="a"): "3000x30", _WATCH_LAG.format(instance="b"): "3000x30"},
        {_WATCH_LAG.format(instance="a"): "3000x30", _WATCH_LAG.format(instance="b"): "1000x30"},
    ),
    Case(
        "WatchBehind", TICKET,
        {_CLOCK.format(instance="a"): "0+60x10 600x50", _PARTITIONS.format(instance="a"): "4x60"},
        {_CLOCK.format(instance="a"): "0+60x60", _PARTITIONS.format(instance="a"): "4x60",
         _CLOCK.format(instance="b"): "0x60", _PARTITIONS.format(instance="b"): "0x60"},
        "1h",
    ),
    Case(
        "WatchBehind", TICKET,
        {_PARTITIONS.format(instance="a"): "4x5 0x25"}, {_PARTITIONS.format(instance="a"): "4x30", _PARTITIONS.format(instance="b"): "0x30"},
    ),
    *_zero_cases("WatchIncomplete", TICKET, _OUTCOMES.format(outcome="late"), _NOT_JUDGED, _UNREADABLE),
    Case("WatchIncomplete", TICKET, {_OUTCOMES.format(outcome="late"): "0x20 1x10"}, {_OUTCOMES.format(outcome="skipped"): "0+1x30"}),
    *_zero_cases("WatchRestarts", TICKET, _RESTARTS),
    Case(
        "WebhooksFailing", TICKET,
        {_FAILING.format(instance="a"): "2x90", _FAILING.format(instance="b"): "2x90"},
        {_FAILING.format(instance="a"): "2x20 0x70", _FAILING.format(instance="b"): "2x20 0x70"},
        "80m",
    ),
    Case(
        "WebhooksDisabled", TICKET,
        {_DISABLED.format(instance="a", reason="failing"): "0x10 1x20", _DISABLED.format(instance="b", reason="failing"): "0x10 1x20"},
        {_DISABLED.format(instance="a", reason="failing"): "0x10 1x10 0x10", _DISABLED.format(instance="b", reason="gone"): "0x30"},
    ),
    Case(
        "SignInAttack", TICKET,
        {_ATTEMPTS.format(outcome="challenged"): "0+120x60"}, {_ATTEMPTS.format(outcome="challenged"): "0+30x60"}, "1h",
    ),
    Case("SigningKeysFailing", PAGE, {_KEYS: "0x20 1x10"}, {_KEYS: "0x30"}),
    Case("RefusalsUnrecorded", TICKET, {_UNRECORDED: "0x15 3x15"}, {_UNRECORDED: "0x30"}),
    Case("OutcomesLost", TICKET, {_LOST: "0x15 40x15"}, {_LOST: "0x30"}),
    Case("CertificateEnds", PAGE, {_CERTIFICATE: "604000x30"}, {_CERTIFICATE: "2592000x30"}),
    Case(
        "StoreFailing", PAGE,
        {_COMMANDS: "0+100x30", _FAILED: "0+20x30", _UNCONNECTED: "0x30"},
        {_COMMANDS: "0+100x30", _FAILED: "0+1x30", _UNCONNECTED: "0x30"},
    ),
    Case(
        "StoreFailing", PAGE,
        {_COMMANDS: "0+100x30", _FAILED: "0x30", _UNCONNECTED: "0+20x30"},
        {_COMMANDS: "0+100x30", _FAILED: "0x30", _UNCONNECTED: "0+1x30"},
    ),
    Case("StoreFailing", PAGE, {_WRITABLE: "1x5 0x25"}, {_WRITABLE: "0x2 1x28"}),
    Case("KafkaClientSilent", PAGE, {_REPORTED: "1+60x10 601x20"}, {_REPORTED: "1+60x30"}),
    Case("KafkaFailing", TICKET, {_ERRORS: "0+60x60"}, {_ERRORS: "0x30 5x30"}, "1h"),
    Case("KafkaFailing", TICKET, {_CONNECTED: "1x5 0x25", _REPORTED: "1+60x30"}, {_CONNECTED: "0x5 1x25", _REPORTED: "1+60x30"}),
    Case(
        "DiskFilling", PAGE,
        {_DISK.format(which="avail"): "9x30", _DISK.format(which="size"): "100x30"},
        {_DISK.format(which="avail"): "30x30", _DISK.format(which="size"): "100x30"},
    ),
    Case(
        "DiskFilling", PAGE,
        {_DISK.format(which="avail"): "50000-500x48", _DISK.format(which="size"): "100000x48"},
        {_DISK.format(which="avail"): "50000-1x48", _DISK.format(which="size"): "100000x48"},
        "7h", "10m",
    ),
    Case(
        "VolumeFilling", PAGE,
        {_VOLUME.format(which="available"): "9x30", _VOLUME.format(which="capacity"): "100x30"},
        {_VOLUME.format(which="available"): "30x30", _VOLUME.format(which="capacity"): "100x30"},
    ),
    Case(
        "VolumeFilling", PAGE,
        {_VOLUME.format(which="available"): "50000-500x48", _VOLUME.format(which="capacity"): "100000x48"},
        {_VOLUME.format(which="available"): "50000-1x48", _VOLUME.format(which="capacity"): "100000x48"},
        "7h", "10m",
    ),
)  # fmt: skip
