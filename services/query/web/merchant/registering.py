"""From the fields of a form to goods and places as the registry takes them, and back. Pure.

What is wrong is said by field, as the name of a text (`merchant.fault_<name>`); the registry's own limits are those of
`services.runtime.merchants.values`, which checks all that is not said here.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from goodstrace.asked_keys import is_gs1, key_asked, key_of_path
from goodstrace.temperatures import unclear_limit
from services.query.web.asking import spoken
from services.runtime.merchants.values import Goods, Place, plain

LANGUAGES: Final = {"name_en": "en", "name_zh_hans": "zh-Hans", "name_zh_hant": "zh-Hant"}
PICTURES: Final = 3
TEXTS: Final = {
    "kind": ("kind", 100),
    "street": ("street", 200),
    "postal_code": ("postalCode", 20),
    "city": ("city", 100),
    "region": ("region", 100),
}
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,8}", re.ASCII)
_WEB: Final = re.compile(r"https?://[^\s]{1,2040}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+", re.ASCII)
_MAX_NAME: Final = 200
Fields = Mapping[str, str]
Faults = dict[str, str]
Read = tuple[dict[str, Any], Faults]
"""The content to be registered, and what is wrong with it by field: nothing where that is empty."""


def read_goods(fields: Fields) -> Read:
    """Read the form of goods."""
    faults: Faults = {}
    attributes = _pairs(fields, "attributes", faults, 1000)
    if unclear_limit(attributes) is not None:
        faults.setdefault("attributes", "celsius")
    content = {
        "key": _key(key_asked(fields.get("key", "")), faults),
        "names": _names(fields, faults),
        "pictures": _pictures(fields, faults),
        "attributes": attributes,
    }
    return _checked({name: value for name, value in content.items() if value}, Goods, faults)


def read_place(fields: Fields) -> Read:
    """Read the form of a place."""
    faults: Faults = {}
    typed = re.sub(r"[\s-]", "", fields.get("key", ""))
    key = key_of_path(f"/414/{typed}") if re.fullmatch(r"[0-9]+", typed) else key_asked(fields.get("key", ""))
    content: dict[str, Any] = {"key": _key(key, faults), "names": _names(fields, faults)}
    for field, (name, most) in TEXTS.items():
        content[name] = fields.get(field, "").strip()
        if len(content[name]) > most:
            faults[field] = "long"
    content["country"] = fields.get("country", "").strip().upper()
    if not re.fullmatch(r"([A-Z]{2})?", content["country"]):
        faults["country"] = "country"
    content["coordinates"] = _coordinates(fields, faults)
    return _checked({name: value for name, value in content.items() if value}, Place, faults)


def goods_fields(content: Mapping[str, Any]) -> dict[str, str]:
    """Fill the form with what is registered."""
    fields = _name_fields(content)
    for number, each in enumerate(content.get("pictures", ())[:PICTURES], 1):
        fields |= {f"picture_{number}": each["uri"], f"sha256_{number}": each["sha256"]}
    fields["attributes"] = _lines(content.get("attributes", {}))
    return fields


def place_fields(content: Mapping[str, Any]) -> dict[str, str]:
    """Fill the form with what is registered."""
    fields = _name_fields(content)
    fields |= {field: content.get(name, "") for field, (name, _) in TEXTS.items()}
    fields["country"] = content.get("country", "")
    for name, value in (content.get("coordinates") or {}).items():
        fields[name] = str(value)
    return fields


def _name_fields(content: Mapping[str, Any]) -> dict[str, str]:
    names = dict(content.get("names", {}))
    fields = {field: names.pop(language, "") for field, language in LANGUAGES.items()}
    key = content.get("key", "")
    return {"key": spoken(key) if is_gs1(key) else key, **fields, "names_more": _lines(names)}


def _key(key: str | None, faults: Faults) -> str:
    if key is None or not _URI.fullmatch(key):
        faults["key"] = "key"
        return ""
    return key


def _names(fields: Fields, faults: Faults) -> dict[str, str]:
    names = {
        language: text for field, language in LANGUAGES.items() if (text := fields.get(field, "").strip())
    }
    for field in LANGUAGES:
        if len(fields.get(field, "").strip()) > _MAX_NAME:
            faults[field] = "long"
    more = _pairs(fields, "names_more", faults, _MAX_NAME)
    if any(not _LANGUAGE.fullmatch(each) for each in more):
        faults["names_more"] = "language"
    names = {**more, **names}
    if not names:
        faults["name_en"] = "name"
    return names


def _pictures(fields: Fields, faults: Faults) -> list[dict[str, str]]:
    found = []
    for number in range(1, PICTURES + 1):
        uri, digest = (fields.get(f"{name}_{number}", "").strip() for name in ("picture", "sha256"))
        if not uri and not digest:
            continue
        if not _WEB.fullmatch(uri):
            faults[f"picture_{number}"] = "url"
        if not _SHA256.fullmatch(digest.lower()):
            faults[f"sha256_{number}"] = "sha256"
        found.append({"uri": uri, "sha256": digest.lower()})
    return found


def _pairs(fields: Fields, field: str, faults: Faults, most: int) -> dict[str, str]:
    """Read lines of `name=value`."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, fields.get(field, "").splitlines())):
        name, equals, value = (each.strip() for each in line.partition("="))
        if not equals or not name or not value or name in found:
            faults[field] = "lines"
        elif len(name) > 100 or len(value) > most:
            faults[field] = "long"
        found[name] = value
    if len(found) > 100:
        faults[field] = "long"
    return found


def _coordinates(fields: Fields, faults: Faults) -> dict[str, float] | None:
    typed = {name: fields.get(name, "").strip() for name in ("latitude", "longitude")}
    if not any(typed.values()):
        return None
    found: dict[str, float] = {}
    for name, most in (("latitude", 90), ("longitude", 180)):
        if not re.fullmatch(r"-?[0-9]{1,3}(\.[0-9]{1,15})?", typed[name], re.ASCII):
            faults[name] = "degrees"
            continue
        found[name] = float(typed[name])
        if abs(found[name]) > most:
            faults[name] = "degrees"
    return found


def _lines(pairs: Mapping[str, str]) -> str:
    return "\n".join(f"{name}={value}" for name, value in sorted(pairs.items()))


def _checked(content: dict[str, Any], shape: type[Goods] | type[Place], faults: Faults) -> Read:
    if not faults:
        try:
            content = plain(msgspec.convert(content, shape))
        except msgspec.ValidationError:
            faults["key"] = "registry"
    return content, faults
