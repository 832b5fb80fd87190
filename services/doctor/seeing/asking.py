"""What services and witnesses answer over HTTP. An answer's `Date` is its machine's clock."""

import asyncio
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from goodstrace.connections import Tls, ssl_context, with_local_ca
from services.doctor.checks.clocks import ClockSeen
from services.doctor.checks.connections import ServiceSeen, WitnessSeen
from services.runtime.outgoing import careful_client, read_plain

_MOST_BYTES: Final = 16_384


async def services(
    named: Sequence[tuple[str, str]], tls: Tls, timeout_s: float
) -> tuple[list[ServiceSeen], list[ClockSeen]]:
    """Ask each service, by name and the address of its port of health, whether it is ready; and what time it is there.

    Raises: CredentialsError where a file of `tls` cannot be used.
    """
    answers = await asyncio.gather(*(_service(name, url, tls, timeout_s) for name, url in named))
    return [seen for seen, _ in answers], [clock for _, clock in answers if clock is not None]


async def _service(name: str, url: str, tls: Tls, timeout_s: float) -> tuple[ServiceSeen, ClockSeen | None]:
    verify = ssl_context(with_local_ca(tls, url)) if url.startswith("https:") else True
    try:
        async with httpx.AsyncClient(verify=verify, timeout=timeout_s, trust_env=False) as client:
            begun = time.time()
            answer = await client.get(f"{url.rstrip('/')}/readyz")
            middle = (begun + time.time()) / 2
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return ServiceSeen(name, url, away=str(error) or type(error).__name__), None
    problems = "" if answer.status_code == httpx.codes.OK else answer.text[:1000].strip() or str(answer)
    return ServiceSeen(name, url, problems), _clock(name, answer.headers.get("date", ""), middle)


async def witnesses(named: Sequence[tuple[str, str]], timeout_s: float) -> list[WitnessSeen]:
    """Ask each witness, by name and submission prefix, for anything: that it answers is enough."""
    async with careful_client() as client:
        return list(await asyncio.gather(*(_witness(client, name, url, timeout_s) for name, url in named)))


async def _witness(client: httpx.AsyncClient, name: str, url: str, timeout_s: float) -> WitnessSeen:
    try:
        async with asyncio.timeout(timeout_s), client.stream("GET", url) as answer:
            await read_plain(answer, _MOST_BYTES)
    except TimeoutError:
        return WitnessSeen(name, url, f"no answer within {timeout_s:g} s")
    except httpx.HTTPError as error:
        return WitnessSeen(name, url, str(error) or type(error).__name__)
    return WitnessSeen(name, url)


def _clock(name: str, date: str, now: float) -> ClockSeen | None:
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return ClockSeen(
        f"the clock of {name}", told + 0.5 - now
    )  # the header leaves out what is less than a second
