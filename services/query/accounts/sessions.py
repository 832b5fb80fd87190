"""Sessions and their refresh tokens, which count once each. Pure.

A refresh token is `gsr_<session>_<secret>_<mac>`; of the secret its SHA-256 is kept. The MAC says that we gave it out: only such a one that comes
again ends its session, so that nobody ends another's session with an ID and a guess. Source: RFC 9700 section 4.14.2.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

import msgspec

GRACE_MS: Final = 30_000
ID_BYTES: Final = 16
_SECRET_BYTES: Final = 32
_MAC_CHARACTERS: Final = 22
_SHAPE: Final = re.compile(r"gsr_([0-9a-f]{32})_([A-Za-z0-9_-]{43})_([A-Za-z0-9_-]{22})", re.ASCII)


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session at rest; times are Unix ms. `digest` is of the refresh token that counts, `previous` of the one before it, which may come
    again until `again_until_ms`; `ends_ms` is its end at the latest, `ended_ms` its end in fact, 0 while it is open.
    """  # noqa: D205 - one sentence a member

    id: str
    account: str
    network: str
    begun_ms: int
    used_ms: int
    ends_ms: int
    digest: bytes
    previous: bytes = b""
    again_until_ms: int = 0
    ended_ms: int = 0


class Verdict(Enum):
    """What a refresh token that was ours once is now."""

    TURN = auto()  # the one that counts
    AGAIN = auto()  # the one before it: its answer was lost, and nothing has come of it
    REUSED = auto()  # one that has counted: somebody has a copy
    OVER = auto()  # its session is over


def judge(session: Session, digest: bytes, now_ms: int, idle_ms: int) -> Verdict:
    """Tell what the refresh token of this digest is.

    AGAIN is for a client that lost an answer: only while the token that replaced it has not been used, and only for GRACE_MS from the
    first time. What was given out instead is void then, so that where two have a copy, one of them shows a void token sooner or later.
    """
    if session.ended_ms or now_ms >= min(session.ends_ms, session.used_ms + idle_ms):
        return Verdict.OVER
    if same(digest, session.digest):
        return Verdict.TURN
    if same(digest, session.previous) and now_ms < session.again_until_ms:
        return Verdict.AGAIN
    return Verdict.REUSED


def turned(session: Session, verdict: Verdict, digest: bytes, now_ms: int) -> Session:
    """Give the session with the token of `digest` in force."""
    if verdict is Verdict.AGAIN:
        return msgspec.structs.replace(session, digest=digest, used_ms=now_ms)
    return msgspec.structs.replace(
        session, digest=digest, used_ms=now_ms, previous=session.digest, again_until_ms=now_ms + GRACE_MS
    )


def new_token(key: bytes, session: str, random: Callable[[int], bytes]) -> tuple[str, bytes]:
    """Make a refresh token, and what is kept of it."""
    secret = urlsafe_b64encode(random(_SECRET_BYTES)).decode().rstrip("=")
    return f"gsr_{session}_{secret}_{_mac(key, session, secret)}", digest_of(secret)


def parse(key: bytes, token: str) -> tuple[str, bytes] | None:
    """Take a refresh token apart into its session and its digest; None where we never gave it out."""
    match = _SHAPE.fullmatch(token)
    if match is None or not hmac.compare_digest(match[3], _mac(key, match[1], match[2])):
        return None
    return match[1], digest_of(match[2])


def digest_of(secret: str) -> bytes:
    """Give what is kept of a random secret of 256 bits: a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).digest()


def same(one: bytes, other: bytes) -> bool:
    """Compare digests in the same time whatever they are."""
    return hmac.compare_digest(one, other)


def _mac(key: bytes, session: str, secret: str) -> str:
    mac = hmac.digest(key, f"{session}_{secret}".encode(), "sha256")
    return urlsafe_b64encode(mac).decode()[:_MAC_CHARACTERS]
