"""Accepting connections on an HTTP port with TLS: each gets the certificate that counts when it comes.

The first byte that a caller sends tells TLS from plain HTTP (0x16 is a handshake, RFC 8446 section 5.1, and begins no method).
Plain HTTP is answered 426 (RFC 9110 section 15.5.22), or served as such to callers on this machine where that is set.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

from goodstrace.connections import is_loopback
from services.runtime.tls import ServedCertificate

HANDSHAKE_S: Final = 10.0
_GOODBYE_S: Final = 5.0  # how long a closed connection waits for the caller's own goodbye
_BACKLOG: Final = 2048
_HANDSHAKE: Final = b"\x16"
_BODY: Final = b"This port speaks TLS: ask by https.\n"
_UPGRADE: Final = (
    b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nConnection: Upgrade, close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(_BODY) + _BODY
)
_EXHAUSTED_S: Final = 0.1  # how long to wait where the process has no file handles left
_HEADER_BYTES: Final = 64 * 1024


class TlsListener:
    """Accepts on a bound socket until closed. It stands in for asyncio's own server beside uvicorn's."""

    def __init__(
        self,
        listening: socket.socket,
        certificate: ServedCertificate,
        protocol: Callable[[], asyncio.Protocol],
        *,
        max_handshakes: int,
    ) -> None:
        """Begin to listen and accept; over `max_handshakes` at a time connections are closed at once."""
        self._listening, self._certificate, self._protocol = listening, certificate, protocol
        self._max_handshakes = max_handshakes
        self._plain = certificate.settings.plain_on_loopback and is_loopback(listening.getsockname()[0])
        self._admitting: set[asyncio.Task[None]] = set()
        listening.setblocking(False)
        listening.listen(_BACKLOG)
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accept no more; handshakes that have begun end here."""
        for task in (self._accepting, *self._admitting):
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when nothing is accepted any more."""
        await asyncio.wait({self._accepting, *self._admitting})

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listening)
            except OSError:
                await asyncio.sleep(_EXHAUSTED_S)
                continue
            if len(self._admitting) >= self._max_handshakes:
                connection.close()
                continue
            task = asyncio.create_task(self._admit(connection))
            self._admitting.add(task)
            task.add_done_callback(self._admitting.discard)

    async def _admit(self, connection: socket.socket) -> None:
        """Hand a connection to the protocol once it is known what it speaks; one that says nothing in time is closed."""
        loop = asyncio.get_running_loop()
        handed = False
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await _readable(connection)
                first = connection.recv(1, socket.MSG_PEEK)
                if first == _HANDSHAKE:
                    context: ssl.SSLContext | None = self._certificate.current().context
                elif first and self._plain:
                    context = None
                else:
                    await _refuse(connection, first)
                    return
                handed = True
                await _hand_over(loop, self._protocol, connection, context)
        except (OSError, TimeoutError):  # what a caller breaks is the caller's: ssl.SSLError is an OSError
            return
        finally:
            if not handed:
                connection.close()


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    protocol: Callable[[], asyncio.Protocol],
    connection: socket.socket,
    context: ssl.SSLContext | None,
) -> Awaitable[object]:
    if context is None:
        return loop.connect_accepted_socket(protocol, connection)
    return loop.connect_accepted_socket(
        protocol, connection, ssl=context, ssl_handshake_timeout=HANDSHAKE_S, ssl_shutdown_timeout=_GOODBYE_S
    )


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    def readable() -> None:
        if not came.done():
            came.set_result(None)

    loop.add_reader(connection, readable)
    try:
        await came
    finally:
        loop.remove_reader(connection)


async def _refuse(connection: socket.socket, first: bytes) -> None:
    """Answer what looks like HTTP; the request is read first, since closing over unread bytes would take the answer back."""
    if not first.isalpha():
        return
    loop = asyncio.get_running_loop()
    await loop.sock_recv(connection, _HEADER_BYTES)
    await loop.sock_sendall(connection, _UPGRADE)
    connection.shutdown(socket.SHUT_WR)
