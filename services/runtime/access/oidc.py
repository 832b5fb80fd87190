"""Tokens of the platform's own identity provider (OpenID Connect): who shows one, by its claims.

Taken are signed JSON Web Tokens that name us in `aud`: access tokens (RFC 9068, or of the kind that Keycloak and Entra give), and ID tokens
where the audience that is set is that of a client. Not taken is what else an issuer signs with the same keys: logout tokens and security
events, which lie about nobody but say nothing about who calls; and tokens bound to a key of their holder, which whoever stole one could show here
as if they were not. A nonce binds an ID token to a browser's session; a bearer token has none to compare. Source: OpenID Connect Core 1.0
sections 2 and 3.1.3.7; RFC 8725 section 3.12; RFC 9449 section 7.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from joserfc import jws
from joserfc.errors import JoseError

from services.runtime.access.jwks import Jwks, is_safe
from services.runtime.access.settings import OidcSettings
from services.runtime.access.tokens import KeySource, TokenRules, Tokens
from services.runtime.access.values import Means, Principal, Role
from services.runtime.errors import SettingsError
from services.runtime.merchants.errors import UnauthenticatedError

MAX_NAME_CHARACTERS: Final = 128
MAX_SUBJECT_CHARACTERS: Final = 255
MAX_VALUES: Final = 1000
_TYPES: Final = ("", "jwt", "at+jwt")
_INNER_TYPES: Final = ("Bearer", "ID")
_OTHER_USES: Final = ("events", "cnf")
_NAMES: Final = ("preferred_username", "email", "sub")
_MAX_MERCHANT: Final = 2**53 - 1


class OidcTokens:
    """Verifies tokens of one issuer and says who shows them."""

    issuer: str

    def __init__(
        self,
        settings: OidcSettings,
        clock_s: Callable[[], float],
        now_ms: Callable[[], int],
        keys: KeySource | None = None,
    ) -> None:
        """Accept tokens as the settings say; nothing is read yet.

        Args:
            settings: with an issuer.
            clock_s: seconds that never go back, for how old keys are.
            now_ms: Unix milliseconds, for whether a token counts.
            keys: those of the issuer, in the place of what the settings say.
        Raises: SettingsError.
        """
        self.issuer = settings.issuer
        self._settings = settings
        self._given = _given(settings)
        self._clients = frozenset(filter(None, (each.strip() for each in settings.clients.split(","))))
        self._host = settings.host
        rules = TokenRules(settings.issuer, settings.audience, settings.skew_s)
        self._tokens = Tokens(rules, keys or _keys(settings, clock_s), now_ms)

    async def principal(self, token: str) -> Principal:
        """Say who shows a token: its roles by claim, none where it has none that count here.

        Raises: UnauthenticatedError, whatever the text; UnavailableError where the issuer's keys cannot be had.
        """
        claims = await self._tokens.claims(token)
        _check_use(token, claims)
        self._check_client(claims)
        merchant = _merchant(_at(claims, self._settings.merchant_claim))
        return Principal(
            means=Means.OIDC,
            name=f"{_name(claims, MAX_NAME_CHARACTERS - 1 - len(self._host))}@{self._host}",
            roles=self._roles(claims, merchant),
            merchant=merchant if Role.MERCHANT in self._roles(claims, merchant) else 0,
            credential_id=_subject(claims, self._host),
        )

    def _roles(self, claims: Mapping[str, Any], merchant: int) -> frozenset[Role]:
        """Give the roles; nobody is a merchant without a number."""
        values = _values(_at(claims, self._settings.roles_claim))
        found = {self._given[value] for value in values if value in self._given}
        if not merchant:
            found.discard(Role.MERCHANT)
        if not found and self._settings.shoppers:
            found = {Role.SHOPPER}
        return frozenset(found)

    def _check_client(self, claims: Mapping[str, Any]) -> None:
        """Refuse what was given to another client than those that are set: by `azp` or `client_id`, else by the one audience."""
        if not self._clients:
            return
        audience = _values(claims.get("aud"))
        party = claims.get("azp", claims.get("client_id", audience[0] if len(audience) == 1 else None))
        if not isinstance(party, str) or party not in self._clients:
            raise UnauthenticatedError("the token was given to a client whose tokens are not accepted here")


def _keys(settings: OidcSettings, clock_s: Callable[[], float]) -> KeySource:
    if settings.jwks:
        return Jwks(settings.jwks, clock_s)
    return Jwks.of_issuer(settings.issuer, clock_s)


def _given(settings: OidcSettings) -> dict[str, Role]:
    """Read which values are which role, and check the other settings with them."""
    if not is_safe(settings.issuer) or urlsplit(settings.issuer).query or urlsplit(settings.issuer).fragment:
        raise SettingsError("GOODSTRACE_OIDC_ISSUER must be an https address, without ? and #")
    if settings.jwks.startswith("http:") and not is_safe(settings.jwks):
        raise SettingsError("GOODSTRACE_OIDC_JWKS must be a path or an https address")
    if not settings.audience:
        raise SettingsError("GOODSTRACE_OIDC_AUDIENCE is missing: tokens that are for others must not count")
    given: dict[str, Role] = {}
    for pair in filter(None, (each.strip() for each in settings.roles.split(","))):
        value, _, role = pair.rpartition("=")
        if not value or role not in set(Role) - {Role.ANYBODY} or value in given:
            raise SettingsError(f"GOODSTRACE_OIDC_ROLES: {pair!r} is not value=role, or names a value twice")
        given[value] = Role(role)
    return given


def _check_use(token: str, claims: Mapping[str, Any]) -> None:
    """Refuse what the issuer signed for something else."""
    try:
        told = str(jws.extract_compact(token.encode()).headers().get("typ", ""))
    except (JoseError, ValueError) as error:
        raise UnauthenticatedError("the token is malformed") from error
    kind = told.lower().removeprefix("application/")
    if kind not in _TYPES or claims.get("typ", "Bearer") not in _INNER_TYPES:
        raise UnauthenticatedError("the token is neither an access token nor an ID token")
    if any(name in claims for name in _OTHER_USES):
        raise UnauthenticatedError("the token is one of events, or bound to a key: such are not accepted")


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """Find a claim: by its whole name (which may be a URI with dots), else from object to object by the dots."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _values(claim: Any) -> list[str]:
    """Give the values of a claim that is a list, or a string with one."""
    listed = claim if isinstance(claim, list) else [claim]
    return [each for each in listed[:MAX_VALUES] if isinstance(each, str)]


def _merchant(claim: Any) -> int:
    """Read a merchant's number, from 1; 0 for none."""
    if (
        isinstance(claim, str)
        and claim.isascii()
        and claim.isdigit()
        and len(claim) <= len(str(_MAX_MERCHANT))
    ):
        claim = int(claim)
    is_number = isinstance(claim, int) and not isinstance(claim, bool)
    return claim if is_number and 0 < claim <= _MAX_MERCHANT else 0


def _subject(claims: Mapping[str, Any], host: str) -> str:
    """Give the ID that the issuer gives nobody else ever, unlike names; "" where it is none. Source: OpenID Connect Core 1.0 section 2."""
    subject = claims.get("sub")
    return (
        f"{subject}@{host}" if isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT_CHARACTERS else ""
    )


def _name(claims: Mapping[str, Any], most: int) -> str:
    """Name who it is for people; an e-mail address that the issuer has not verified is no name."""
    for claim in _NAMES:
        name = claims.get(claim)
        is_doubtful = claim == "email" and claims.get("email_verified") is False
        if isinstance(name, str) and name.isprintable() and 0 < len(name) <= most and not is_doubtful:
            return name
    raise UnauthenticatedError("the token does not say who it is about, or at too great length")
