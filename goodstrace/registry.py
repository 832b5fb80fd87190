"""A client of the collector's registry: of merchants for operators, of goods and places for merchants. See docs/merchants.md."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import httpx

from goodstrace.closing import Closing
from goodstrace.connections import SYSTEM, Tls, http_client
from goodstrace.errors import CallError
from goodstrace.token_sources import TokenSource, as_source

_PAGE: Final = 1000


class RegistryClient(Closing):
    """Asks the registry at `url` (that of the capture API) as the operator whose token, or the merchant whose API key it is."""

    def __init__(
        self, url: str, token: TokenSource | str, *, timeout_s: float = 30, tls: Tls = SYSTEM
    ) -> None:
        """Prepare to ask; `timeout_s` bounds each request.

        Raises: CredentialsError where the token would go in clear text, or a file of `tls` cannot be used.
        """
        base = f"{url.rstrip('/')}/registry/v1"
        self._http = http_client(base, tls, timeout_s=timeout_s, source=as_source(token))

    def me(self) -> dict[str, Any]:
        """Show the merchant whose API key was given in place of a token. Raises: CallError."""
        return self._ask("GET", "/me")

    def add(self, content: dict[str, Any]) -> dict[str, Any]:
        """Register a merchant; `merchant` of the answer is its number. Raises: CallError."""
        return self._ask("POST", "/merchants", json=content)

    def merchant(self, number: int) -> dict[str, Any]:
        """Show a merchant. Raises: CallError."""
        return self._ask("GET", f"/merchants/{number}")

    def merchants(self) -> list[dict[str, Any]]:
        """List all merchants by number. Raises: CallError."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["merchant"] if found else 0
            page = self._ask("GET", "/merchants", params={"after": after, "limit": _PAGE})["merchants"]
            found += page
            if len(page) < _PAGE:
                return found

    def change(self, number: int, patch: dict[str, Any]) -> dict[str, Any]:
        """Register a merchant anew, changed by a JSON merge patch. Raises: CallError."""
        return self._ask("PATCH", f"/merchants/{number}", json=patch)

    def new_key(self, number: int, label: str = "") -> dict[str, Any]:
        """Make an API key: `apiKey` of the answer is told this once. Raises: CallError."""
        return self._ask("POST", f"/merchants/{number}/keys", params={"label": label})

    def keys(self, number: int) -> list[dict[str, Any]]:
        """List a merchant's API keys. Raises: CallError."""
        return list(self._ask("GET", f"/merchants/{number}/keys")["keys"])

    def revoke_key(self, number: int, identifier: str) -> None:
        """Take an API key back for good. Raises: CallError."""
        self._ask("DELETE", f"/merchants/{number}/keys/{identifier}")

    def register(self, kind: str, content: dict[str, Any], *, patience_s: float = 60) -> dict[str, Any]:
        """Register one of the merchant's goods or places; the same again changes nothing.

        Args:
            kind: "goods" or "places".
            content: its fields, see docs/merchants.md.
            patience_s: over the merchant's rate, wait and try again for so long.
        Raises: CallError.
        """
        end_s = time.monotonic() + patience_s
        while True:
            try:
                return self._ask("PUT", f"/{kind}", json=content)
            except CallError as error:
                if error.code != "429" or time.monotonic() > end_s:
                    raise
                time.sleep(1)

    def registered(self, kind: str, key: str) -> dict[str, Any]:
        """Show one of the merchant's goods or places by its key, in any spelling. Raises: CallError."""
        return self._ask("GET", f"/{kind}", params={"key": key})

    def page_registered(self, kind: str, after: str = "", limit: int = _PAGE) -> list[dict[str, Any]]:
        """List the merchant's goods or places by key, from the one after `after`, at most `limit` (1..1000). Raises: CallError."""
        return list(self._ask("GET", f"/{kind}", params={"after": after, "limit": limit})["registered"])

    def list_registered(self, kind: str) -> Iterator[dict[str, Any]]:
        """List the merchant's goods or places by key, page after page. Raises: CallError."""
        after = ""
        while True:
            page = self.page_registered(kind, after)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1]["key"]

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **arguments)
            told = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise CallError("UNAVAILABLE", f"{self._http.base_url}: {error}") from error
        if answer.is_success and isinstance(told, dict):
            return told
        raise CallError(str(answer.status_code), _refusal(told, answer.reason_phrase))


def _refusal(told: Any, phrase: str) -> str:
    """Say what is wrong and where."""
    detail = told.get("detail", phrase) if isinstance(told, dict) else phrase
    return str(detail)
