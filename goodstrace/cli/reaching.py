"""Why a service was not reached, seen by looking: what listens at the address, and what it speaks. Nothing is sent there.

gRPC and HTTP say little of it, each in its own words. So where a call failed the addresses that the command used are tried once more.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any, Final

import click
import grpc

from goodstrace.cli.tls import AskedTarget, asked_targets
from goodstrace.connections import Target, is_loopback, ssl_context, target_of
from goodstrace.errors import CallError, CredentialsError

PATIENCE_S: Final = 2.0
_GRPC: Final = "h2"
_UNREACHED: Final = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
_NO_SUCH_CALL: Final = "UNIMPLEMENTED"


class HintingGroup(click.Group):
    """A group whose commands, where a call fails, say what to do about it: notes of the error."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises: what it raises."""
        try:
            return super().invoke(ctx)
        except CallError as error:
            for each in (
                hints(error, asked_targets(ctx)) if ctx.parent is None else ()
            ):  # once, by the outermost
                error.add_note(each)
            raise


def hints(error: CallError, targets: list[AskedTarget]) -> list[str]:
    """Say what is wrong with the addresses that were used, and what to do; nothing where a service answered the call."""
    if error.reason:  # ours says so itself
        return []
    if error.code == _NO_SUCH_CALL:
        named = " or ".join(f"{each.text} ({each.option})" for each in targets if each.is_grpc)
        return (
            [f"another service listens at {named}, or one of an earlier release, or accounts are off there"]
            if named
            else []
        )
    if error.code not in _UNREACHED:
        return []
    is_grpc = isinstance(error.__cause__, grpc.RpcError)
    same = [each for each in targets if each.is_grpc is is_grpc]  # the call went to one of these
    return [found for each in same if (found := trouble(each, is_grpc=is_grpc))]


def trouble(asked: AskedTarget, *, is_grpc: bool) -> str | None:
    """Look at an address, for some seconds at the most.

    Returns: what keeps a client from being served there, and what to do; None where nothing is seen, or where it cannot be told.
    """
    try:
        target, context = target_of(asked.text, asked.tls), ssl_context(asked.tls)
    except CredentialsError:
        return None
    host, _, port = target.address.rpartition(":")
    if not port.isdigit():  # a Unix socket
        return None
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE_S) as plain:
            return _wrong_with(plain, asked, target, context, is_grpc=is_grpc)
    except (OSError, UnicodeError) as error:
        return _not_reached(asked, target, error)


def _not_reached(asked: AskedTarget, target: Target, error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):  # a label that is empty, or over 63 letters
        return f"{asked.text} has a host that is no name: another address with {asked.option}"
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return f"the host of {asked.text} cannot be looked up now ({error.strerror}): is the network up?"
        return f"nobody knows the host of {asked.text}: another address with {asked.option}"
    if isinstance(error, ConnectionRefusedError):
        up = " (`make status`)" if is_loopback(target.host) else ""
        return f"nothing listens at {asked.text}: is it up{up}? Another address: {asked.option}"
    why = error.strerror or error  # no answer in time, no route
    return (
        f"{asked.text} is not reached ({why}): does the network lead there? Another address: {asked.option}"
    )


def _wrong_with(
    plain: socket.socket, asked: AskedTarget, target: Target, context: ssl.SSLContext, *, is_grpc: bool
) -> str | None:
    if not target.secure:  # nothing is believed and nothing sent: it is only to see whether TLS is spoken
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if is_grpc:
        context.set_alpn_protocols([_GRPC])
    try:
        with context.wrap_socket(plain, server_hostname=target.host) as secured:
            spoken = secured.selected_alpn_protocol()
    except ssl.SSLCertVerificationError as error:
        return f"the certificate of {asked.text} is not believed ({error.verify_message}): name its CA with --ca-file"
    except OSError as error:
        is_clear = isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER"
        return f"{asked.text} does not speak TLS" if target.secure and is_clear else None
    if not target.secure:
        return f"{asked.text} speaks TLS: say https://{target.address}"
    return (
        f"{asked.text} does not speak gRPC: another port with {asked.option}"
        if is_grpc and spoken != _GRPC
        else None
    )
