"""Every metric of signing in, made once."""

from enum import StrEnum
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from services.runtime.access.naming import TOLD_TO_WORK

_HASH_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Outcome(StrEnum):
    """How an attempt to sign in, or to be given tokens, ended: metrics, logs and browse records say it so."""

    GRANTED = "granted"
    UNKNOWN_NAME = "unknown-name"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105 - an outcome
    WRONG_CODE = "wrong-code"
    WRONG_SECRET = "wrong-secret"  # noqa: S105 - an outcome
    DISABLED = "disabled"
    LOCKED = "locked"
    CHALLENGED = "challenged"
    BLOCKED_NETWORK = TOLD_TO_WORK
    BUSY = "busy"
    WRONG_TOKEN = "wrong-token"  # noqa: S105 - an outcome
    REUSED_TOKEN = "reused-token"  # noqa: S105 - an outcome


class LoginMetrics:
    """Attempts, sessions, and what hashing costs."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Make them in `registry`."""
        self.attempts = Counter(
            "goodstrace_login_attempts",
            "Attempts to sign in and to be given tokens, by outcome.",
            ["outcome"],
            registry=registry,
        )
        for outcome in Outcome:
            self.attempts.labels(outcome.value)
        self.records_joined = Counter(
            "goodstrace_login_records_joined",
            "Refused attempts that were recorded together with others, since there were many.",
            registry=registry,
        )
        self.sessions_begun = Counter(
            "goodstrace_login_sessions_begun", "Sessions that began.", registry=registry
        )
        self.sessions_ended = Counter(
            "goodstrace_login_sessions_ended",
            "Sessions that were ended: by signing out, by changes of the account, by a refresh token that came again.",
            registry=registry,
        )
        self.hash_seconds = Histogram(
            "goodstrace_login_hash_seconds",
            "Hashing one password, waiting not counted.",
            buckets=_HASH_SECONDS,
            registry=registry,
        )
        self.waiting = Gauge(
            "goodstrace_login_hashes_waiting", "Passwords that wait to be hashed.", registry=registry
        )
        self.key_failures = Counter(
            "goodstrace_login_key_failures",
            "Times that the signing keys could not be read or published. Must stay 0.",
            registry=registry,
        )
