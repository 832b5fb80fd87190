"""Whose a GS1 key is: the digits from where its company prefix begins. Pure.

A GS1 key begins with a company prefix, behind an indicator, extension or leading digit where the standard puts one. Source: GS1
General Specifications, section 1.4 and 3 (application identifiers); EPC Tag Data Standard 2.0, section 6.3.
"""

import re
from functools import lru_cache
from typing import Final

_GS1_KEY: Final = re.compile(r"https://id\.gs1\.org/([0-9]{2,4})/([0-9]{6,}[^/]*)", re.ASCII)
_MALFORMED_URN: Final = re.compile(
    r"urn:epc:(?:id|class|idpat):[a-z]+:([0-9]{6,12})\.", re.ASCII | re.IGNORECASE
)
_AFTER_ONE_DIGIT: Final = frozenset({"00", "01", "8003", "8006"})
_GLN_KEYS: Final = frozenset({"414", "417"})


@lru_cache(maxsize=65_536)
def company_digits(key: str) -> tuple[str, str]:
    """Give a key from where its company prefix begins, and its GLN where it is one; empty texts where it is no GS1 key.

    An EPC URN that is malformed otherwise still names its company.
    """
    match = _GS1_KEY.match(key)
    if match is not None:
        ai, value = match[1], match[2]
        return value[1:] if ai in _AFTER_ONE_DIGIT else value, value if ai in _GLN_KEYS else ""
    urn = _MALFORMED_URN.match(key)
    return (urn[1], "") if urn else ("", "")
