"""One-time codes (TOTP, RFC 6238: SHA-1, six digits, 30 s) and the recovery codes in their place. Pure."""

import base64
import hashlib
import re
from collections.abc import Callable
from typing import Final

import pyotp

SECRET_BYTES: Final = 20
STEP_S: Final = 30
AROUND: Final = 1
"""So many steps before and after now count: clocks differ, and people type slowly."""
RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 10
_CODE: Final = re.compile(r"[0-9]{6}", re.ASCII)


def step_of(secret: bytes, code: str, after_step: int, now_s: int) -> int | None:
    """Find the time step that a code is of; None where it is wrong, or of a step not later than `after_step`.

    A code that was used once is of a step that does not count any more: whoever looked over a shoulder comes too late.
    """
    if _CODE.fullmatch(code) is None:
        return None
    totp = pyotp.TOTP(base64.b32encode(secret).decode())
    now_step = now_s // STEP_S
    found = None
    for step in range(now_step - AROUND, now_step + AROUND + 1):
        if pyotp.utils.strings_equal(totp.generate_otp(step), code) and step > after_step:
            found = step
    return found


def shown(secret: bytes, name: str, issuer: str) -> tuple[str, str]:
    """Give a secret as an authenticator wants it: base32, and an otpauth:// URI."""
    text = base64.b32encode(secret).decode()
    return text, pyotp.TOTP(text).provisioning_uri(name=name, issuer_name=issuer)


def recovery_codes(random: Callable[[int], bytes]) -> list[str]:
    """Make recovery codes of 80 bits: "abcd-efgh-ijkl-mnop"."""
    return [
        _grouped(base64.b32encode(random(_RECOVERY_BYTES)).decode().lower()) for _ in range(RECOVERY_CODES)
    ]


def recovery_digest(code: str) -> bytes:
    """Give what is kept of a recovery code; dashes, spaces and case do not matter. SHA-256, since 80 random bits are not guessed."""
    return hashlib.sha256(re.sub(r"[\s-]", "", code).lower().encode()).digest()


def _grouped(text: str) -> str:
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))
