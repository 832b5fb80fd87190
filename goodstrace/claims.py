"""What somebody may speak for, and whether a key lies under it. Pure."""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from goodstrace.company import company_digits

_LEVEL_ENDS: Final = "/:#.?="
_PREFIX: Final = re.compile(r"[0-9]{4,12}", re.ASCII)
_GLN: Final = re.compile(r"[0-9]{13}", re.ASCII)


class Claims(msgspec.Struct, frozen=True):
    """What somebody may speak for; see docs/merchants.md."""

    prefixes: tuple[str, ...] = ()
    glns: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    everything: bool = False

    def cover(self, key: str) -> bool:
        """Say whether a canonical key lies under them."""
        if self.everything:
            return True
        digits, gln = company_digits(key)
        if digits and digits.startswith(self.prefixes):
            return True
        return (bool(gln) and gln in self.glns) or any(is_under(key, uri) for uri in self.uris)


def scope_claims(scope: str) -> Claims:
    """Read a delegation's scope: a company prefix, a GLN, or a URI."""
    if _PREFIX.fullmatch(scope):
        return Claims(prefixes=(scope,))
    if _GLN.fullmatch(scope):
        return Claims(glns=(scope,))
    return Claims(uris=(scope,))


def is_within(scope: str, claims: Claims) -> bool:
    """Say whether a delegation's scope lies under claims."""
    if claims.everything:
        return True
    if _PREFIX.fullmatch(scope):
        return scope.startswith(claims.prefixes) if claims.prefixes else False
    if _GLN.fullmatch(scope):
        return scope in claims.glns or (bool(claims.prefixes) and scope.startswith(claims.prefixes))
    return claims.cover(scope)


def is_under(key: str, uri: str) -> bool:
    """Say whether a key is `uri` or lies on a level below it: `urn:a:b` holds `urn:a:b:c`, and not `urn:a:bc`."""
    return key.startswith(uri) and (
        len(key) == len(uri) or uri[-1] in _LEVEL_ENDS or key[len(uri)] in _LEVEL_ENDS
    )


def levels_of(key: str) -> Iterator[str]:
    """List every URI that holds a key: itself, and what `is_under` finds it below."""
    yield key
    for place, character in enumerate(key):
        if character in _LEVEL_ENDS:
            yield key[:place]
            yield key[: place + 1]
