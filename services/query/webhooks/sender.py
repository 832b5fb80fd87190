"""Sending one message to one destination: the resolved address is checked and is the one that is connected to."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import httpx
import msgspec

from services.query.epcis_problems import ParameterError
from services.query.webhooks.guard import Reach, check_addresses, checked_url
from services.runtime.outgoing import careful_client, read_plain, trusted

AT_ONCE: Final = 8
ANSWER_BYTES: Final = 1024  # of a receiver's answer, for people who look why it failed
_GONE: Final = 410
_SHOWN_CHARS: Final = 200
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Outcome(StrEnum):
    """What became of an attempt: the closed set of the metric's label."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    GONE = "gone"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"


class Sent(msgspec.Struct, frozen=True):
    """An attempt: `detail` says for people what went wrong; `told_s` is the receiver's `Retry-After`, 0 without; `may_have_arrived` is False where nothing was sent."""

    outcome: Outcome
    detail: str = ""
    told_s: float = 0.0
    may_have_arrived: bool = True


async def resolved(host: str, port: int) -> Sequence[str]:
    """Look a name up. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


class Sender:
    """Sends messages: no redirect is followed, no proxy used, and no name believed twice."""

    def __init__(
        self,
        reach: Reach,
        timeout_s: float,
        *,
        resolve: Resolve = resolved,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Send where `reach` allows; `timeout_s` bounds a whole attempt."""
        self._reach, self._timeout_s = reach, timeout_s
        self._resolve = resolve
        # A transport of our own leaves proxies out that the environment names: they would look the name up again.
        self._http = careful_client(
            max_connections=AT_ONCE, transport=transport or httpx.AsyncHTTPTransport(verify=trusted())
        )

    async def addresses(self, url: httpx.URL) -> list[str]:
        """Resolve a destination. Raises: OSError; ForbiddenAddressError where it leads to where nothing may be sent."""
        port = url.port or (443 if url.scheme == "https" else 80)
        return check_addresses(await self._resolve(url.host, port), self._reach)

    async def send(self, dest: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """Try once; whatever happens is an outcome."""
        try:
            url = checked_url(dest, self._reach)
            async with asyncio.timeout(self._timeout_s):
                address = (await self.addresses(url))[0]
                return await self._post(url, address, headers, body)
        except TimeoutError:
            return Sent(Outcome.TIMEOUT, f"no answer within {self._timeout_s:g} s")
        except ParameterError as error:  # also where the setting was changed since it was made
            return Sent(Outcome.FORBIDDEN, error.problem, may_have_arrived=False)
        except (httpx.HTTPError, OSError, ValueError) as error:
            detail = (str(error) or type(error).__name__)[:_SHOWN_CHARS]
            began = isinstance(error, httpx.HTTPError) and not isinstance(error, httpx.ConnectError)
            return Sent(Outcome.UNREACHABLE, detail, may_have_arrived=began)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _post(self, url: httpx.URL, address: str, headers: Mapping[str, str], body: bytes) -> Sent:
        """Connect to the address that was checked; the name is in the Host header and in what TLS verifies."""
        named = {**headers, "Host": url.netloc.decode("ascii")}
        async with self._http.stream(
            "POST",
            url.copy_with(host=address),
            headers=named,
            content=body,
            extensions={"sni_hostname": url.host},
        ) as response:
            if response.is_success:
                return Sent(Outcome.DELIVERED)
            said = (await read_plain(response, ANSWER_BYTES))[:_SHOWN_CHARS].decode("utf-8", "replace")
            told = response.headers.get("retry-after", "")
            return Sent(
                Outcome.GONE if response.status_code == _GONE else Outcome.REFUSED,
                f"{response.status_code}: {said.strip()}",
                float(told) if told.isascii() and told.isdigit() and len(told) < 9 else 0.0,
            )
