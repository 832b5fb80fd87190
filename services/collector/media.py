"""Which media types a capture may have. Pure. Source: RFC 7303 (XML); RFC 8259 (JSON); EPCIS 2.0 section 12."""

from typing import Final

JSON_TYPES: Final = ("application/ld+json", "application/json")
XML_TYPES: Final = ("application/xml", "text/xml")
TAKEN: Final = (*JSON_TYPES, *XML_TYPES)
_CHARSETS: Final = frozenset({"utf-8", "us-ascii"})


def is_taken(content_type: str) -> bool:
    """Say whether a body of this Content-Type is taken: JSON or XML in UTF-8; none named counts as JSON or XML."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind in XML_TYPES:
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "charset" and value.strip().strip('"') not in _CHARSETS:
                return False
    return kind in ("", *TAKEN)
