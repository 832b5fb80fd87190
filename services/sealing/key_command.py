"""Keys that another program keeps (an HSM, a cloud's key service, an agent): a configured command signs for us.

`COMMAND public LOG` prints the Ed25519 public keys it has for a log, base64 of 32 bytes, one a line: the one in force
and, once the key shall change, the next one after it. `COMMAND sign LOG PUBLIC` signs what it reads on standard input
with the key whose public key (base64) is named, and prints the signature, base64 of 64 bytes. Status 0 is success;
the last line of standard error says why it was not. Nothing it says is believed before it is verified.
"""

import base64
import binascii
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Final

from goodstrace.errors import NoteError
from goodstrace.note import SigningKey, Verifier
from services.runtime.errors import UnavailableError
from services.sealing.errors import LogKeyError
from services.sealing.values import LogInfo

_SECRETS: Final = (
    "GOODSTRACE_LOG_KEY_",
    "GOODSTRACE_KEY_PASSPHRASE",
)  # keys of ours are not the command's concern
MAX_REASON_CHARS: Final = 200
SIGNATURE_BYTES: Final = 64


class KeyCommandError(UnavailableError):
    """The command that keeps the keys failed or did not answer in time; it is asked again."""

    category = "key-command"


class KeyCommand:
    """The configured command."""

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        """Take the command and its first arguments, at least one; each call has so much time."""
        self._command = tuple(command)
        self._timeout_s = timeout_s

    def call(self, *arguments: str, message: bytes = b"") -> list[bytes]:
        """Run the command; give the base64 values that it printed, one a line. Raises: KeyCommandError."""
        name = f"the key command ({arguments[0]} {arguments[1]})"
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own command, without a shell
                [*self._command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)},
                start_new_session=True,  # so that all it started can be ended with it
            )
        except OSError as error:
            raise KeyCommandError(f"{name} cannot be run: {error.strerror}") from error
        try:
            printed, complaint = process.communicate(message, self._timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise KeyCommandError(f"{name} did not answer within {self._timeout_s:g} s") from None
        if process.returncode:
            reason = complaint.decode(errors="replace").strip().rpartition("\n")[2][:MAX_REASON_CHARS]
            raise KeyCommandError(f"{name} ended with status {process.returncode}: {reason}")
        try:
            return [base64.b64decode(line, validate=True) for line in printed.split()]
        except binascii.Error:
            raise KeyCommandError(f"{name} printed something else than base64") from None


class CommandSigner:
    """A key that the command signs with. `sign` blocks as long as the command takes: call it from a thread."""

    def __init__(self, command: KeyCommand, log: str, verifier: Verifier) -> None:
        """Sign for `log` by the key of this verifier."""
        self._command = command
        self._log = log
        self.verifier: Final = verifier

    def __repr__(self) -> str:
        return f"CommandSigner({self.verifier.vkey()!r})"

    @property
    def name(self) -> str:
        """The key's name."""
        return self.verifier.name

    def sign(self, message: bytes) -> bytes:
        """See SigningKey. Raises: KeyCommandError; LogKeyError where the signature is not that of the key."""
        public = base64.b64encode(self.verifier.public_key).decode()
        answer = self._command.call("sign", self._log, public, message=message)
        if len(answer) != 1 or len(answer[0]) != SIGNATURE_BYTES:
            raise KeyCommandError(f"the key command (sign {self._log}) did not print one signature")
        if not self.verifier.is_valid(answer[0], message):
            raise LogKeyError(f"{self._log}: the key command signed with another key, or another message")
        return answer[0]


class CommandKeys:
    """Keys kept by the command: the port `Keys`."""

    def __init__(self, command: KeyCommand) -> None:
        """Ask this command."""
        self._command = command

    def find(self, log: str, origin: str, *, create: bool) -> Sequence[SigningKey]:  # noqa: ARG002 - never made here
        """See Keys. A key is made with the tools of whatever keeps it. Raises: LogKeyError, KeyCommandError."""
        found = self._command.call("public", log)
        if not found:
            raise LogKeyError(f"the key command has no key for the log {log}: make one there")
        try:
            return [CommandSigner(self._command, log, Verifier(origin, public)) for public in found]
        except NoteError as error:
            raise LogKeyError(f"{log}: the key command printed a malformed public key: {error}") from error

    def may_have_next(self, log: str) -> bool:  # noqa: ARG002 - asking for each block would take too long
        """See Keys: a next key is noticed when the log is taken up."""
        return False

    def settle(self, info: LogInfo) -> None:
        """See Keys: what is kept elsewhere is destroyed there."""
