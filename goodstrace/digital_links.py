"""GS1 Digital Links, read and written, and the rules of GS1 identifiers in any spelling: their values, qualifiers and check digits.

Pure. What a link of several qualifiers names is the finest of them. These rules are part of the sealed format, see `identifiers`.

Source: GS1 Digital Link Standard: URI Syntax 1.4 (application identifiers, path order, percent-encoding), GS1 General
Specifications, figure 7.11-1 (characters) and section 7.9 (check digit).
"""

import re
from typing import Final, NamedTuple
from urllib.parse import unquote

_CANONICAL: Final = "https://id.gs1.org"


class Identity(NamedTuple):
    """A GS1 identifier taken apart; values are percent-decoded."""

    ai: str
    value: str
    finer_ai: str = ""
    finer: str = ""
    lot: str = ""


_MUST_ESCAPE: Final = re.compile(r"[^A-Za-z0-9\-._]")
MUST_ESCAPE_IN_HASH: Final = re.compile(r"[^A-Za-z0-9\-._';=]")
"""What `link` escapes where the event hash of CBV 2.0 wants a link."""
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CSET_82: Final = r"[!\"%&'()*+,\-./0-9:;<=>?A-Z_a-z]"
"""GS1 AI encodable character set 82 (General Specifications, figure 7.11-1)."""


def link(identity: Identity, must_escape: re.Pattern[str] = _MUST_ESCAPE) -> str:
    """Write the link on https://id.gs1.org that names `identity` at its finest; characters that match `must_escape` are percent-encoded."""
    path = f"{_CANONICAL}/{identity.ai}/{must_escape.sub(_escape, identity.value)}"
    if identity.finer_ai:
        path += f"/{identity.finer_ai}/{must_escape.sub(_escape, identity.finer)}"
    return path


def _escape(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"


def _decode(segment: str) -> str | None:
    """Percent-decode once; None where a percent sign starts no escape. Bytes that are no ASCII fail the set later."""
    if "%" not in segment:
        return segment
    return None if _BROKEN_ESCAPE.search(segment) else unquote(segment)


def check_digit(digits: str) -> str:
    """Return the GS1 check digit (General Specifications 7.9.1) of `digits`, ASCII digits without their check digit."""
    code = digits.encode()
    thrice, once = code[-1::-2], code[-2::-2]
    total = 3 * (sum(thrice) - 48 * len(thrice)) + sum(once) - 48 * len(once)
    return str(-total % 10)


class Rule(NamedTuple):
    """How the value of a primary AI looks, and which qualifiers may follow it in which order.

    checked: how many leading digits a check digit ends (0: none, -1: the whole value).
    """

    ai: str
    value: re.Pattern[str]
    checked: int
    qualifiers: tuple[str, ...] = ()


_FINEST: Final = ("21", "235", "8011", "254", "10")
QUALIFIERS: Final = {
    "22": re.compile(_CSET_82 + "{1,20}"),
    "10": re.compile(_CSET_82 + "{1,20}"),
    "21": re.compile(_CSET_82 + "{1,20}"),
    "235": re.compile(_CSET_82 + "{1,28}"),
    "254": re.compile(_CSET_82 + "{1,20}"),
    "8011": re.compile(r"[0-9]{1,12}"),
}
"""How the value of each qualifier looks."""
_QUALIFIER_NAMES: Final = {"cpv": "22", "lot": "10", "ser": "21", "tpx": "235", "glnx": "254", "cpsn": "8011"}


def _rule(ai: str, value: str, checked: int, *qualifiers: str) -> Rule:
    return Rule(ai, re.compile(value), checked, qualifiers)


# Where no check digit guards the value, six digits (the shortest company prefix of the Tag Data Standard) have to.
RULES: Final = {
    "00": _rule("00", r"[0-9]{18}", -1),
    "01": _rule("01", r"[0-9]{8}|[0-9]{12,14}", -1, "22", "10", "21", "235"),
    "253": _rule("253", rf"[0-9]{{13}}{_CSET_82}{{0,17}}", 13),
    "255": _rule("255", r"[0-9]{13,25}", 13),
    "401": _rule("401", rf"(?=[0-9]{{6}}){_CSET_82}{{6,30}}", 0),
    "402": _rule("402", r"[0-9]{17}", -1),
    "414": _rule("414", r"[0-9]{13}", -1, "254"),
    "417": _rule("417", r"[0-9]{13}", -1),
    "8003": _rule("8003", rf"0[0-9]{{13}}{_CSET_82}{{0,16}}", 14),
    "8004": _rule("8004", rf"(?=[0-9]{{6}}){_CSET_82}{{6,30}}", 0),
    "8006": _rule("8006", r"[0-9]{18}", 14, "22", "10", "21"),
    "8010": _rule("8010", r"(?=[0-9]{6})[#\-/0-9A-Z]{6,30}", 0, "8011"),
    "8017": _rule("8017", r"[0-9]{18}", -1),
    "8018": _rule("8018", r"[0-9]{18}", -1),
}
"""The rule of each primary AI."""
PRIMARY_KEYS: Final = tuple(RULES)
"""The application identifiers that a key may begin with."""
QUALIFIERS_OF: Final = {ai: rule.qualifiers for ai, rule in RULES.items()}
"""For each of them those that may follow it, in their order."""
SHORT_NAMES: Final = {
    "sscc": "00", "gtin": "01", "gdti": "253", "gcn": "255", "ginc": "401", "gsin": "402", "gln": "414", "party": "417",
    "grai": "8003", "giai": "8004", "itip": "8006", "cpid": "8010", "gsrnp": "8017", "gsrn": "8018",
}  # fmt: skip
_PRIMARY: Final = RULES | {name: RULES[ai] for name, ai in SHORT_NAMES.items()}
_LONGEST: Final = 8  # segments: primary AI and three qualifiers with their values
_LINK: Final = re.compile(r"https?://[^/?#\s]+/([^?#]*)", re.IGNORECASE)


def parse_link(uri: str, *, strict: bool) -> Identity | None:
    """Read a link on any host; None where it is no well-formed one. Never raises.

    Args:
        uri: begins with "http", in any case; query string and fragment do not count.
        strict: check digits have to be right, and AI 254 "0" counts as none.
    """
    match = _LINK.match(uri)
    if match is None:
        return None
    segments = match[1].removesuffix("/").split("/")
    # The identifier is the end of the path; anything may come before it, however long.
    for place in range(max(0, len(segments) - _LONGEST), len(segments) - 1):
        rule = _PRIMARY.get(segments[place])
        if rule is not None and (identity := _read(rule, segments[place + 1 :], strict=strict)):
            return identity
    return None


def _read(rule: Rule, segments: list[str], *, strict: bool) -> Identity | None:
    """Read value, then AI and value of each qualifier; None where anything is not as the rule says."""
    value = _decode(segments[0])
    if len(segments) % 2 == 0 or value is None or not rule.value.fullmatch(value):
        return None
    if strict and rule.checked:
        digits = value if rule.checked < 0 else value[: rule.checked]
        if check_digit(digits[:-1]) != digits[-1]:
            return None
    finer = _read_qualifiers(rule, segments[1:])
    if finer is None:
        return None
    if rule.ai == "01":
        value = value.zfill(14)
    if strict and finer.get("254") == "0":
        del finer["254"]
    for ai in _FINEST:
        if ai in finer:
            return Identity(rule.ai, value, ai, finer[ai], finer.get("10", ""))
    return Identity(rule.ai, value)


def _read_qualifiers(rule: Rule, segments: list[str]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    allowed = rule.qualifiers
    for place in range(0, len(segments), 2):
        ai = _QUALIFIER_NAMES.get(segments[place], segments[place])
        value = _decode(segments[place + 1])
        if ai not in allowed or value is None or not QUALIFIERS[ai].fullmatch(value):
            return None
        allowed = allowed[allowed.index(ai) + 1 :]
        found[ai] = value
    return found
