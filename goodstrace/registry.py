"""A client of the collector's registry of merchants, for operators. See docs/merchants.md."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Self

import httpx

from goodstrace.errors import CallError

_PAGE: Final = 1000


class RegistryClient:
    """Asks the registry at `url` (that of the capture API) as the operator whose token it is."""

    def __init__(self, url: str, token: str, *, timeout_s: float = 30) -> None:
        """Prepare to ask; `timeout_s` bounds each request."""
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/registry/v1", timeout=timeout_s, headers=headers
        )

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

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **arguments)
            told = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise CallError("UNAVAILABLE", f"{self._http.base_url}: {error}") from error
        if answer.is_success and isinstance(told, dict):
            return told
        raise CallError(str(answer.status_code), str(told.get("detail", answer.reason_phrase)))
