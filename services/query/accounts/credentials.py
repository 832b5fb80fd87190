"""Credentials that are made here and told once: temporary passwords, and programs' secrets."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable

import msgspec

from services.query.accounts import passwords
from services.query.accounts.account_store import MAX_SECRETS
from services.query.accounts.sessions import digest_of
from services.query.accounts.stored import StoredAccount

_SECRET_BYTES = 32


class Made(msgspec.Struct, frozen=True):
    """An account with a new credential, and that credential, which is kept nowhere."""

    account: StoredAccount
    credential: str


async def made_password(account: StoredAccount, hashed: Callable[[str], Awaitable[str]]) -> Made:
    """Give an account a password that is to be changed at the first sign-in."""
    password = passwords.temporary(secrets.randbelow)
    return Made(
        msgspec.structs.replace(account, password=await hashed(password), change_password=True), password
    )


def made_secret(account: StoredAccount, random: Callable[[int], bytes]) -> Made:
    """Give a program a secret of 256 bits; the one before it stays good until the next is made, so that it can be changed without a pause."""
    secret = "gss_" + urlsafe_b64encode(random(_SECRET_BYTES)).decode().rstrip("=")
    kept = (digest_of(secret), *account.secrets)[:MAX_SECRETS]
    return Made(msgspec.structs.replace(account, secrets=kept), secret)
