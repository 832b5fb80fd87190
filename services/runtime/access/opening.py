"""Access as a service opens it: by its settings, and never open to more than this machine without accounts."""

import time
from typing import Final

import msgspec
import structlog

from services.runtime import clock
from services.runtime.access.accounts import AccountReader
from services.runtime.access.authenticator import ACCESS_TOKEN, Authentication, Authenticator, Everybody
from services.runtime.access.jwks import Jwks
from services.runtime.access.oidc import OidcTokens
from services.runtime.access.settings import LOOPBACK_HOSTS, AccessSettings, OidcSettings
from services.runtime.access.tokens import TokenRules, Tokens
from services.runtime.merchants.directory import Directory, MerchantSource, Staleness
from services.runtime.mongo import Database
from services.runtime.settings import OperatorSettings, load, refuse

OFF_ELSEWHERE: Final = (
    "GOODSTRACE_ACCOUNTS=off lets everybody do everything, and is for loopback addresses only, not for GOODSTRACE_HOST={host}: "
    "set GOODSTRACE_ACCOUNTS=required (docs/access.md), or GOODSTRACE_HOST=127.0.0.1"
)


class Access(msgspec.Struct, frozen=True):
    """How a process tells who calls.

    directory: None where accounts are off: then nobody is asked. provider_host: with which the names of those end who show tokens of the
    identity provider, "" where there is none.
    """

    settings: AccessSettings
    authentication: Authentication
    directory: Directory | None
    provider_host: str = ""

    @property
    def is_open(self) -> bool:
        """Whether accounts are off."""
        return self.directory is None


def open_access(
    host: str,
    merchants: MerchantSource,
    database: Database,
    log: structlog.stdlib.BoundLogger,
    *,
    goes_on: bool = False,
) -> Access:
    """Open access as the settings say; exits with 2 where they cannot be.

    Args:
        host: on which the process listens.
        merchants: where merchants and API keys are read.
        database: where accounts are.
        log: warned where accounts are off.
        goes_on: whether those who are known go on for `access_stale_s` while the store is away: for captures, which show nothing.
    """
    settings = load(AccessSettings)
    if settings.accounts == "off":
        if host not in LOOPBACK_HOSTS:
            refuse(OFF_ELSEWHERE.format(host=host))
        log.warning("accounts are off: whoever reaches a port may do everything", host=host)
        return Access(settings, Everybody(), None)
    staleness = Staleness(settings.access_fresh_s, settings.access_stale_s if goes_on else 0)
    directory = Directory(merchants, staleness, time.monotonic, clock.now_ms)
    rules = TokenRules(settings.accounts_issuer, settings.accounts_issuer, typ=ACCESS_TOKEN)
    oidc = load(OidcSettings)
    authenticator = Authenticator(
        directory,
        AccountReader(database),
        Tokens(rules, Jwks(settings.accounts_jwks, time.monotonic), clock.now_ms),
        staleness=staleness,
        clock_s=time.monotonic,
        log=log,
        oidc=OidcTokens(oidc, time.monotonic, clock.now_ms) if oidc.issuer else None,
        operator_token=load(OperatorSettings).token(),
    )
    return Access(settings, authenticator, directory, oidc.host)
