"""Settings of traces: OpenTelemetry's own variables, as far as they are needed, and whether callers may continue their traces here.

Those that size the queue and the batches of spans (`OTEL_BSP_...`), name the resource (`OTEL_RESOURCE_ATTRIBUTES`) and secure the
connection (`OTEL_EXPORTER_OTLP_CERTIFICATE`, `..._HEADERS`) are read by the library itself, once traces are on.
"""

from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from goodstrace.connections import is_loopback

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HEADERS: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


class TracingSettings(BaseSettings):
    """Where spans go and which of them.

    endpoint: of a collector, by OTLP over gRPC; empty: no traces. sampler, sampler_arg: as OpenTelemetry has them; the argument is a ratio.
    parents: what a `traceparent` from outside does: with "linked" a trace of our own begins, which our sampler decides about and which has a link to
    the caller's; with "trusted" the caller's trace goes on, sampled as the caller says.
    """

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    endpoint: str = Field("", validation_alias=AliasChoices(*ENDPOINTS))
    exporter: Literal["otlp", "none"] = Field("otlp", validation_alias="OTEL_TRACES_EXPORTER")
    protocol: Literal["grpc"] = Field("grpc", validation_alias=AliasChoices(*PROTOCOLS))
    headers: str = Field("", validation_alias=AliasChoices(*HEADERS), repr=False)
    disabled: bool = Field(default=False, validation_alias="OTEL_SDK_DISABLED")
    service_name: str = Field("", validation_alias="OTEL_SERVICE_NAME")
    sampler: Sampler = Field("parentbased_always_on", validation_alias="OTEL_TRACES_SAMPLER")
    sampler_arg: float = Field(1.0, ge=0, le=1, validation_alias="OTEL_TRACES_SAMPLER_ARG")
    parents: Literal["linked", "trusted"] = Field("linked", validation_alias="GOODSTRACE_TRACE_PARENTS")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.is_on:
            return self
        address = urlsplit(self.endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{ENDPOINTS[1]} must be http://HOST:PORT or https://HOST:PORT")
        if self.headers and address.scheme == "http" and not is_loopback(address.hostname):
            raise ValueError(
                f"{HEADERS[1]} are not sent to another machine in clear text: use https in {ENDPOINTS[1]}"
            )
        return self

    @property
    def is_on(self) -> bool:
        """Whether there is a collector and nothing says that there shall be no traces."""
        return bool(self.endpoint) and self.exporter != "none" and not self.disabled
