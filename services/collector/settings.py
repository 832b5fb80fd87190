"""The collector's own settings; `services.runtime.settings` has those it shares."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from services.collector.books import Books, read_books
from services.collector.collect import Rules
from services.collector.documents import Limits
from services.collector.errors import BookError
from services.collector.flow import StageName
from services.collector.keys import DEFAULT_LIFETIME_S
from services.collector.personal.table import Table, built_in, with_operators
from services.collector.registry.claims import Policy
from services.collector.registry.gate import DefaultLimits
from services.collector.stages import ORDER, Span
from services.collector.summarise import DEFAULT_WINDOW
from services.runtime.merchants.values import PersonalData
from services.runtime.settings import MonitoringSettings

_MIB = 1024 * 1024


class CollectorSettings(MonitoringSettings):
    """How this collector process works. Two processes at one time want different `instance` names.

    port: of the capture API; grpc_port: of CaptureService; mtls_port: a second one of it, for callers with a client certificate alone. api, ingress,
    projector, states: whether this process serves captures, takes in `goods.ingress`, keeps jobs and goods information, keeps the states of
    goods. rejections: whether the API shows what was refused. first_stage, last_stage: the span of
    stages it runs; both empty: none. window: records per partition in which duplicates are found; the same in every process.
    step_tables, rules: files of the operator's own, several with a colon between them: by the first events are classified from now
    on, the others are those that earlier ones were, see docs/rules.md; the same in every process. key_lifetime_s: how long an
    Idempotency-Key is remembered. merchant: whose `goods.ingress` is, and where accounts are off whose all
    events are. speaks_for: which goods of an event must be the merchant's (docs/decisions/0020). personal: what becomes of personal data in
    events, where their merchant has not said it; personal_table: a file of the operator's own that adds to what counts as such
    (docs/personal-data.md). notice_s: how long the ports go on after SIGTERM, so that balancers see it; drain_s: how long requests that have begun
    may take then. share_ports: several collectors may listen on the same ports (SO_REUSEPORT); those for metrics must differ.
    """

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_COLLECTOR_", populate_by_name=True)

    metrics_port: int = Field(9101, ge=0, le=65535)
    port: int = Field(8080, ge=0, le=65535)
    grpc_port: int = Field(50053, ge=0, le=65535)
    mtls_port: int | None = Field(None, ge=0, le=65535)
    notice_s: float = Field(0.5, ge=0, le=60)
    drain_s: float = Field(15, ge=0, le=300)
    share_ports: bool = False
    api: bool = True
    ingress: bool = True
    projector: bool = True
    states: bool = True
    rejections: bool = True
    first_stage: StageName | None = StageName.SUMMARISE
    last_stage: StageName | None = StageName.STORE
    merchant: int = Field(1, ge=1, le=2**53 - 1)
    speaks_for: Policy = Policy.ORIGIN
    personal: PersonalData = PersonalData.MOVE
    personal_table: Path | None = None
    rate_events_per_s: int = Field(10_000, ge=1, le=10_000_000)
    rate_bytes_per_s: int = Field(32 * _MIB, ge=1024, le=10**11)
    rate_burst_s: int = Field(60, ge=1, le=3600)
    window: int = Field(DEFAULT_WINDOW, ge=1, le=10_000_000)
    step_tables: str = ""
    rules: str = ""
    future_tolerance_s: int = Field(300, ge=0, le=366 * 86400)
    max_body_bytes: int = Field(32 * _MIB, ge=1024, le=1024 * _MIB)
    max_event_bytes: int = Field(_MIB, ge=256, le=_MIB)
    max_events: int = Field(10_000, ge=1, le=100_000)
    max_waiting_bytes: int = Field(256 * _MIB, ge=_MIB)
    linger_ms: int = Field(3, ge=0, le=1000)
    commit_interval_ms: int = Field(20, ge=0, le=1000)
    span_interval_ms: int = Field(200, ge=0, le=1000)
    key_lifetime_s: int = Field(DEFAULT_LIFETIME_S, ge=60, le=366 * 86400)
    batch_records: int = Field(2_000, ge=1, le=100_000)
    batch_bytes: int = Field(16 * _MIB, ge=_MIB, le=256 * _MIB)

    @field_validator("first_stage", "last_stage", mode="before")
    @classmethod
    def _none(cls, stage: Any) -> Any:
        return stage or None

    @field_validator("first_stage", "last_stage")
    @classmethod
    def _in_a_span(cls, stage: StageName | None) -> StageName | None:
        if stage is not None and stage not in ORDER:
            raise ValueError(
                f"{stage} is done by the capture API: choose from {', '.join(ORDER)}, or leave it empty"
            )
        return stage

    @model_validator(mode="after")
    def _sound(self) -> "CollectorSettings":
        try:
            self.span()
        except ValueError as error:
            raise ValueError(
                f"GOODSTRACE_COLLECTOR_FIRST_STAGE, GOODSTRACE_COLLECTOR_LAST_STAGE: {error}"
            ) from error
        if self.max_waiting_bytes < self.max_body_bytes:
            raise ValueError(
                "GOODSTRACE_COLLECTOR_MAX_WAITING_BYTES must be at least GOODSTRACE_COLLECTOR_MAX_BODY_BYTES"
            )
        return self

    @cached_property
    def books(self) -> Books:
        """The tables of steps and sets of rules that events are classified by. Raises: BookError, naming the file."""
        return read_books(_files(self.step_tables), _files(self.rules))

    @cached_property
    def personal_fields(self) -> Table:
        """The table of what is about a person. Raises: BookError, naming the file."""
        if self.personal_table is None:
            return built_in()
        ((path, content),) = _files(str(self.personal_table))
        try:
            return with_operators(content)
        except BookError as error:
            raise BookError(f"{path} {error}") from error

    def span(self) -> Span | None:
        """Give the span of stages to run, None for none."""
        if self.first_stage is None or self.last_stage is None:
            return None
        return Span(self.first_stage, self.last_stage)

    def limits(self) -> Limits:
        """Give the limits of one request."""
        return Limits(body=self.max_body_bytes, event=self.max_event_bytes, events=self.max_events)

    def default_limits(self) -> DefaultLimits:
        """Give the limits of merchants without limits of their own."""
        return DefaultLimits(
            self.rate_events_per_s, self.rate_bytes_per_s, self.max_body_bytes, self.rate_burst_s
        )

    def collecting(self) -> Rules:
        """Give what `collect` goes by. Raises: BookError."""
        return Rules(
            event_bytes=self.max_event_bytes,
            future_tolerance_ms=self.future_tolerance_s * 1000,
            step_table=self.books.step_table,
            rule_sets=self.books.rule_sets,
            personal=self.personal_fields,
        )


def _files(paths: str) -> list[tuple[str, bytes]]:
    """Read files named one after the other with a colon between. Raises: BookError."""
    try:
        return [(path, Path(path).read_bytes()) for path in paths.split(os.pathsep) if path]
    except OSError as error:
        raise BookError(str(error)) from error
