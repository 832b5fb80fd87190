"""Names in XML and their namespaces. Source: Namespaces in XML 1.0; EPCIS 2.0 section 9 (XML binding)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from goodstrace.vocabulary import CURIE_PREFIXES

__all__ = [
    "INSTANCE_NAMESPACE",
    "MAX_NAME",
    "STANDARD_NAMESPACES",
    "XML_NAMESPACE",
    "Names",
    "is_declaration",
]

MAX_NAME: Final = 1024
"""How many characters a name or namespace may have."""
MAX_PREFIXES: Final = 256
"""How many prefixes may be declared at one place."""
XML_NAMESPACE: Final = "http://www.w3.org/XML/1998/namespace"
"""Of the prefix `xml`, which is declared everywhere."""
INSTANCE_NAMESPACE: Final = "http://www.w3.org/2001/XMLSchema-instance"
"""Of attributes for XML processors (`xsi:type`, `xsi:nil`), which are no content."""
STANDARD_NAMESPACES: Final = frozenset(
    {
        "",
        "urn:epcglobal:epcis:xsd:1",
        "urn:epcglobal:epcis:xsd:2",
        "urn:epcglobal:epcis-query:xsd:1",
        "urn:epcglobal:epcis-query:xsd:2",
    }
)
"""Of the names that EPCIS itself defines: with and without a namespace, since documents are seen with either."""
_PREFERRED: Final = {
    "urn:epcglobal:cbv:mda": "cbvmda",
    XML_NAMESPACE: "xml",
    **{uri: prefix for prefix, uri in CURIE_PREFIXES.items()},
}


def is_declaration(attribute: str) -> bool:
    """Say whether an attribute declares a namespace."""
    return attribute == "xmlns" or attribute.startswith("xmlns:")


class Names:
    """Turns names as written into members' names, for one event. Source: Namespaces in XML 1.0."""

    def __init__(self, namespaces: Mapping[str, str], avoid: frozenset[str]) -> None:
        """Begin with what is declared around the event; no name gets a prefix out of `avoid`."""
        self.context: dict[str, str] = {}
        self._scopes: list[Mapping[str, str]] = [{"xml": XML_NAMESPACE, **namespaces}]
        self._avoid = avoid
        self._chosen: dict[str, str] = {}

    def declare(self, attributes: Mapping[str, str]) -> bool:
        """Take in the declarations among an element's attributes; True where there are some: `leave` must follow.

        Raises: ValueError.
        """
        declared = {name[6:]: uri for name, uri in attributes.items() if is_declaration(name)}
        if not declared:
            return False
        for prefix, uri in declared.items():
            if (prefix and not uri) or (prefix == "xml") != (uri == XML_NAMESPACE) or prefix == "xmlns":
                raise ValueError(f"the prefix {prefix!r} cannot be bound to {uri[:100]!r}")
            if len(uri) > MAX_NAME:
                raise ValueError(f"the namespace of {prefix!r} is over {MAX_NAME} characters")
        scope = {**self._scopes[-1], **declared}
        if len(scope) > MAX_PREFIXES:
            raise ValueError(f"more than {MAX_PREFIXES} prefixes are declared")
        self._scopes.append(scope)
        return True

    def leave(self) -> None:
        """Forget the last declarations."""
        self._scopes.pop()

    def in_scope(self) -> Mapping[str, str]:
        """Give what is declared here: prefix to URI, with `xml`. The same scope gives the same object."""
        return self._scopes[-1]

    def expand(self, name: str, *, attribute: bool = False) -> tuple[str, str]:
        """Give a name's namespace and local part. Raises: ValueError."""
        if len(name) > MAX_NAME:
            raise ValueError(f"a name is over {MAX_NAME} characters")
        prefix, colon, local = name.rpartition(":")
        if not colon:
            return ("" if attribute else self._scopes[-1].get("", "")), local
        uri = self._scopes[-1].get(prefix)
        if uri is None or not prefix or not local:
            raise ValueError(f"the prefix of {name[:100]!r} is not declared")
        return uri, local

    def member(self, name: str, *, attribute: bool = False) -> str:
        """Give the member's name: the local part in the standard's namespaces, else `prefix:local`. Raises: ValueError."""
        if ":" not in name and len(name) <= MAX_NAME and (attribute or "" not in self._scopes[-1]):
            return name  # nearly all names
        uri, local = self.expand(name, attribute=attribute)
        if uri in STANDARD_NAMESPACES:
            return local
        prefix = self._chosen.get(uri)
        if prefix is None:
            prefix = self._choose(uri, name.rpartition(":")[0])
        return f"{prefix}:{local}"

    def _choose(self, uri: str, written: str) -> str:
        numbered = (f"ns{number}" for number in range(1, len(self.context) + len(self._avoid) + 2))
        for prefix in (_PREFERRED.get(uri, ""), written, *numbered):
            taken = prefix in self.context or CURIE_PREFIXES.get(prefix, uri) != uri
            if prefix and not taken and (prefix not in self._avoid or CURIE_PREFIXES.get(prefix) == uri):
                self._chosen[uri] = prefix
                self.context[prefix] = uri
                return prefix
        raise AssertionError("there are more numbered prefixes than taken ones")
