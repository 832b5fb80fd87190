"""Metrics that are more than a counter: ages counted a block at a time, librdkafka's reports, the driver's events."""

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from services.runtime.kafka_statistics import KafkaMetrics
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from services.runtime.store_metrics import COMMANDS, StoreMetrics
from services.runtime.tally import Tally
from services.sealing.metrics import SealMetrics
from tests.unit.sealing_bench import Bench

BUCKETS = (0.1, 0.5, 1, 30)


@given(st.lists(st.lists(st.floats(0, 100) | st.sampled_from(BUCKETS))))
def test_a_tally_is_a_histogram(batches: list[list[float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally, histogram = Tally("a", "A.", BUCKETS, ours), Histogram("a", "A.", buckets=BUCKETS, registry=theirs)
    for batch in batches:
        tally.observe(batch)
        for each in batch:
            histogram.observe(each)
    for suffix, labels in (("count", {}), *(("bucket", {"le": str(float(bound))}) for bound in BUCKETS)):
        assert ours.get_sample_value(f"a_{suffix}", labels) == theirs.get_sample_value(f"a_{suffix}", labels)
    assert ours.get_sample_value("a_sum") == pytest.approx(theirs.get_sample_value("a_sum"))


def test_a_tally_cannot_be_made_twice() -> None:
    registry = CollectorRegistry()
    Tally("a", "A.", BUCKETS, registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Tally("a", "A.", BUCKETS, registry)


def report(**changes: Any) -> str:
    """A report as librdkafka's, with more in it than is read."""
    partition = {
        "partition": 0, "fetch_state": "active", "fetchq_cnt": 3, "fetchq_size": 300, "next_offset": 107,
        "ls_offset": 110, "app_offset": 104, "consumer_lag": 6,
    }  # fmt: skip
    unread = {**partition, "fetch_state": "none", "ls_offset": 9000}
    return json.dumps(
        {
            "name": "rdkafka#consumer-1", "ts": 1, "msg_cnt": 4, "msg_max": 1000,
            "brokers": {
                "one:9092/1": {"state": "UP", "txerrs": 2, "rxerrs": 1, "req_timeouts": 0, "rtt": {"p99": 2000, "max": 1},
                               "throttle": {"max": 30}},
                "two:9092/2": {"state": "TRY_CONNECT", "txerrs": 1, "rtt": {"p99": 5000}},
            },
            "topics": {"goods.collected": {"partitions": {"0": partition, "1": unread, "-1": unread}}},
            "cgrp": {"state": "up"},
            **changes,
        }
    )  # fmt: skip


def test_what_the_library_reports_is_shown() -> None:
    registry = CollectorRegistry()
    take = KafkaMetrics(registry).listener("summarise")

    def shown(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"goodstrace_kafka_{name}", {"client": "summarise", **labels})

    assert shown("lag_records") == 0, "there before the first report"
    assert shown("broker_errors_total", kind="timeout") == 0
    take(report())
    assert shown("lag_records") == 3 + (110 - 107)
    assert shown("partitions_assigned") == 1
    assert shown("fetched_waiting_bytes") == 300
    assert shown("unsent_messages") == 4
    assert shown("unsent_limit_messages") == 1000
    assert shown("round_trip_seconds") == 0.005
    assert shown("throttled_seconds") == 0.03
    assert shown("brokers_connected") == 1
    assert shown("broker_errors_total", kind="send") == 3
    take(report())
    assert shown("broker_errors_total", kind="send") == 3, (
        "the library's counts are of the client's whole life"
    )


def test_at_the_end_of_a_partition_the_lag_is_nothing() -> None:
    registry = CollectorRegistry()
    take = KafkaMetrics(registry).listener("ledger")
    end = {"fetch_state": "active", "next_offset": 110, "ls_offset": 110, "app_offset": 109}
    unknown = {"fetch_state": "active", "next_offset": -1001, "ls_offset": 10}
    take(report(topics={"goods.stored": {"partitions": {"0": end, "1": unknown}}}))
    assert registry.get_sample_value("goodstrace_kafka_lag_records", {"client": "ledger"}) == 0


def test_a_client_has_a_known_name() -> None:
    with pytest.raises(ValueError, match="none of"):
        KafkaMetrics(CollectorRegistry()).listener("somebody")


def test_commands_are_counted_by_names_of_a_closed_set() -> None:
    registry = CollectorRegistry()
    store = StoreMetrics(registry)
    before = {(each.name, *each.labels.items()) for family in registry.collect() for each in family.samples}
    for name in (*COMMANDS, "mapReduce"):
        store.succeeded(SimpleNamespace(command_name=name, duration_micros=1500))
    store.failed(SimpleNamespace(command_name="find", duration_micros=10))
    store.connection_created(None)
    store.connection_checked_out(None)
    store.connection_check_out_failed(None)
    after = {(each.name, *each.labels.items()) for family in registry.collect() for each in family.samples}
    assert before == after
    assert registry.get_sample_value("goodstrace_store_command_seconds_count", {"command": "other"}) == 2
    assert registry.get_sample_value("goodstrace_store_command_failures_total", {"command": "find"}) == 1
    assert registry.get_sample_value("goodstrace_store_connections", {"state": "in_use"}) == 1
    store.connection_checked_in(None)
    store.connection_closed(None)
    assert registry.get_sample_value("goodstrace_store_connections", {"state": "open"}) == 0


def test_a_store_is_writable_where_a_client_knows_a_server_that_is() -> None:
    registry = CollectorRegistry()
    store = StoreMetrics(registry)
    assert registry.get_sample_value("goodstrace_store_writable") == 0
    clients: list[Any] = [Asked(), Asked()]
    for client in clients:
        store.ask(client)
    for is_there in (True, False, True):
        clients[0].is_there = is_there
        assert registry.get_sample_value("goodstrace_store_writable") == is_there
    clients.clear()
    del client
    assert registry.get_sample_value("goodstrace_store_writable") == 0


class Asked:
    """What is asked of the driver's client."""

    is_there = False

    @property
    def topology_description(self) -> SimpleNamespace:
        return SimpleNamespace(has_writable_server=lambda: self.is_there)


def test_closing_a_store_waits_for_no_thread_that_tells_of_it() -> None:
    before = {*threading.enumerate()}
    mongo = Mongo(MongoSettings(uri="mongodb://127.0.0.1:1", database="nobody", timeout_ms=100))
    begun = {*threading.enumerate()} - before
    mongo.close()
    assert "pymongo_events_thread" not in {thread.name for thread in begun}


def test_the_oldest_record_of_any_log_is_told() -> None:
    registry = CollectorRegistry()
    metrics = SealMetrics("ledger", registry)
    metrics.waits("goods/0", 1_000_000)
    metrics.waits("goods/1", 2_000_000)
    first = registry.get_sample_value("goodstrace_ledger_oldest_waiting_seconds")
    metrics.waits("goods/0", None)
    second = registry.get_sample_value("goodstrace_ledger_oldest_waiting_seconds")
    assert first is not None
    assert second is not None
    assert 999 < first - second < 1001
    metrics.forget("goods/1")
    assert registry.get_sample_value("goodstrace_ledger_oldest_waiting_seconds") == 0


async def test_what_is_sealed_does_not_wait_and_its_age_is_counted() -> None:
    bench = Bench()
    bench.fill(10)
    await bench.run()
    assert not bench.metrics._oldest_ms
    assert sum(bench.metrics.ages._counts) == 10
