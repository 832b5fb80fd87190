"""What a password must be: long, and not one that is tried first. Pure.

No rules of composition, no change by the calendar. Source: NIST SP 800-63B-4 section 3.1.1.2; OWASP ASVS 5.0, 6.2.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from zxcvbn import zxcvbn

from services.runtime.access.naming import NOBODIES

MIN_CHARACTERS: Final = 12
MAX_CHARACTERS: Final = 128
MAX_SENT_BYTES: Final = 1024
GUESSES_LOG10: Final = 8.0
"""A password that is guessed in fewer tries counts as well known: docs/decisions/0032-accounts.md has what that refuses."""
_ESTIMATED_CHARACTERS: Final = 72  # the estimator takes no more; its time grows with them
_PRODUCT: Final = "goodstrace"
_TEMPORARY_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
_NAME: Final = re.compile(r"[a-z0-9.\-_@]{1,64}", re.ASCII)


def normalised(password: str) -> str:
    """Give the form that is hashed: whoever types the same characters on another keyboard is let in (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def problem(password: str, name: str) -> str:
    """Say why a new password, normalised, cannot be one of the account `name`; "" where it can.

    Takes up to half a second of computing for hostile text: not for the event loop.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        return f"must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters"
    if any(unicodedata.category(each) in ("Cc", "Cs", "Cn") for each in password):
        return "holds control characters"
    folded = password.casefold()
    if name and (folded == name or folded.replace(name, "") == ""):
        return "is the account's name"
    estimate = zxcvbn(
        folded[:_ESTIMATED_CHARACTERS], user_inputs=[name, *re.split(r"[.\-_@]", name), _PRODUCT]
    )
    if float(estimate["guesses_log10"]) < GUESSES_LOG10:
        return "is one of those that are tried first"
    return ""


def account_name(text: str) -> str:
    """Give the form of a name by which its account is found: any case is the same."""
    return unicodedata.normalize("NFKC", text).casefold()


def is_name(text: str) -> bool:
    """Say whether an account can be called that; records have words of their own for those who are nobody in particular."""
    return _NAME.fullmatch(text) is not None and text not in NOBODIES


def temporary(below: Callable[[int], int]) -> str:
    """Make a password to be told once and changed at once: 100 bits, in letters that are not mistaken for others.

    Args:
        below: gives a random number below another one.
    """
    letters = [_TEMPORARY_ALPHABET[below(len(_TEMPORARY_ALPHABET))] for _ in range(20)]
    return "-".join("".join(letters[start : start + 5]) for start in range(0, 20, 5))
