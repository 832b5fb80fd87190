"""The languages of the pages: which one a request wants, and the texts in it. The catalogues are `catalogue/<language>.json`, one text an ID."""

from collections.abc import Mapping
from importlib import resources
from typing import Final

import msgspec

ENGLISH: Final = "en"
SIMPLIFIED: Final = "zh-Hans"
TRADITIONAL: Final = "zh-Hant"
LANGUAGES: Final = (ENGLISH, SIMPLIFIED, TRADITIONAL)
OWN_NAMES: Final = {ENGLISH: "English", SIMPLIFIED: "简体中文", TRADITIONAL: "繁體中文"}
MAX_HEADER_CHARS: Final = 1000
_TRADITIONAL_MARKS: Final = ("hant", "tw", "hk", "mo")


def language_of(tag: str) -> str | None:
    """Give the language that a BCP 47 tag means here; None for another. `zh` alone, and places but Taiwan, Hong Kong and Macau, mean simplified."""
    subtags = tag.strip().lower().replace("_", "-").split("-")
    if subtags[0] == ENGLISH:
        return ENGLISH
    if subtags[0] != "zh":
        return None
    if "hans" in subtags:
        return SIMPLIFIED
    return TRADITIONAL if any(each in subtags for each in _TRADITIONAL_MARKS) else SIMPLIFIED


def wanted(header: str) -> str:
    """Choose a language by an Accept-Language header: the one of most weight that there is, English where there is none (RFC 9110, 12.5.4)."""
    best, best_weight = ENGLISH, 0.0
    for each in header[:MAX_HEADER_CHARS].split(","):
        tag, _, parameter = each.partition(";")
        language, weight = language_of(tag), _weight(parameter)
        if language is not None and weight > best_weight:
            best, best_weight = language, weight
    return best


def chosen(asked: str, kept: str, header: str) -> str:
    """Choose the language: what was `asked` for just now, else what the browser has `kept`, else what its header wants."""
    for each in (asked, kept):
        if each in LANGUAGES:
            return each
    return wanted(header)


def best_name(names: Mapping[str, str], language: str) -> str:
    """Choose of names by language (BCP 47) the one to show; empty where there is none."""
    by_language: dict[str, str] = {}
    for tag in sorted(names, key=lambda each: (len(each), each)):
        by_language.setdefault(language_of(tag) or tag, names[tag])
    other = {SIMPLIFIED: TRADITIONAL, TRADITIONAL: SIMPLIFIED}.get(language, ENGLISH)
    for each in (language, other, ENGLISH):
        if each in by_language:
            return by_language[each]
    return next(iter(by_language.values()), "")


class Catalogue:
    """The texts of the pages, by language and ID."""

    def __init__(self) -> None:
        """Read them from the package."""
        folder = resources.files(__package__) / "catalogue"
        self.texts: dict[str, dict[str, str]] = {
            each: msgspec.json.decode(folder.joinpath(f"{each}.json").read_bytes(), type=dict[str, str])
            for each in LANGUAGES
        }

    def text(self, language: str, name: str, /, **values: object) -> str:
        """Give the text `name` with its {placeholders} filled; without values as it is, for scripts to fill. It is plain text: templates escape it."""
        text = self.texts[language][name]
        return text.format(**values) if values else text

    def word(self, language: str, family: str, word: str) -> str:
        """Give the text of a word of a vocabulary (`<family>.<word>`); a word that has none is shown as it is, with blanks."""
        return self.texts[language].get(f"{family}.{word}") or word.replace("_", " ").replace("-", " ")


def _weight(parameter: str) -> float:
    name, _, value = parameter.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
