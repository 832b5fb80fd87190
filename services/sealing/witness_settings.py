"""Whom a service that seals asks to cosign: `GOODSTRACE_WITNESS_...`, the same for all of them; and the parts made of it."""

from pathlib import Path
from typing import Final

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from goodstrace.errors import PolicyError
from goodstrace.policy import Policy
from services.runtime import clock
from services.runtime.settings import load, refuse
from services.sealing.log_metrics import LogMetrics
from services.sealing.publishing import AtOnce, CosignedStore, Later, Publishing, Witnessed, WitnessParts
from services.sealing.witness_client import WitnessClient, witness_clients
from services.sealing.witness_metrics import WitnessMetrics

MAX_WITNESSES: Final = 64  # that are asked: a note has room for 100 signatures


class WitnessSettings(BaseSettings):
    """The C2SP tlog-policy file, empty for no witnesses; the least time between two rounds of one log; a request's limit."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="GOODSTRACE_WITNESS_")

    policy: str = ""
    interval_ms: int = Field(1000, ge=10, le=600_000)
    timeout_ms: int = Field(5000, ge=100, le=120_000)


def read_policy(path: str, timeout_s: float) -> tuple[Policy, list[WitnessClient]]:
    """Read a policy by which checkpoints can be published; where it is not one, say why and exit with 2."""
    policy = _parsed(path)
    try:
        clients = witness_clients(policy, timeout_s)
    except ValueError as error:
        refuse(f"GOODSTRACE_WITNESS_POLICY: {path}: {error}")
    asked = {name for client in clients for name in client.names}
    if len(asked) > MAX_WITNESSES:
        refuse(f"GOODSTRACE_WITNESS_POLICY: {path}: over {MAX_WITNESSES} witnesses have a URL")
    if not policy.is_satisfied(asked):
        refuse(f"GOODSTRACE_WITNESS_POLICY: {path}: the witnesses that have a URL do not make the quorum")
    return policy, clients


def publishing(part: str, store: CosignedStore, log: structlog.stdlib.BoundLogger) -> Publishing:
    """Make who publishes the checkpoints of the service `part`, by its settings; exits with 2 where they are wrong."""
    settings = load(WitnessSettings)
    if not settings.policy:
        log.info("publishing without witnesses")
        return AtOnce(LogMetrics(part))
    policy, clients = read_policy(settings.policy, settings.timeout_ms / 1000)
    log.info("publishing with witnesses", witnesses=len(policy.witnesses), quorum=policy.quorum)
    return Witnessed(
        WitnessParts(
            policy=policy,
            witnesses=clients,
            store=store,
            now_ms=clock.now_ms,
            metrics=WitnessMetrics(part, policy, [client.label for client in clients]),
            log=log,
            interval_s=settings.interval_ms / 1000,
        )
    )


def later() -> Publishing:
    """Make who leaves publishing to whoever goes on with a log, where there is a quorum to wait for; exits with 2 as above."""
    settings = load(WitnessSettings)
    if not settings.policy or _parsed(settings.policy).is_satisfied(()):
        return AtOnce()
    return Later()


def _parsed(path: str) -> Policy:
    try:
        return Policy.parse(Path(path).read_bytes())
    except (OSError, PolicyError) as error:
        refuse(f"GOODSTRACE_WITNESS_POLICY: {path}: {error}")
