"""The server-side commands `goodstrace login-keys ...` and `goodstrace accounts bootstrap NAME`."""

import asyncio
import os
from typing import Final

import click
from prometheus_client import CollectorRegistry

from goodstrace.cli.options import json_option, print_json
from services.query.accounts import passwords
from services.query.accounts.account_store import AccountStore
from services.query.accounts.credentials import made_password
from services.query.accounts.hashing import Hasher
from services.query.accounts.key_ring import configured_files
from services.query.accounts.metrics import LoginMetrics
from services.query.accounts.new_names import check_reserved
from services.query.accounts.sessions import ID_BYTES
from services.query.accounts.stored import StoredAccount, checked
from services.runtime import clock
from services.runtime.access.settings import LoginSettings, OidcSettings
from services.runtime.access.values import AccountKind, Role
from services.runtime.command_errors import told
from services.runtime.errors import ConflictError
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings, load

_MS_A_MINUTE: Final = 60_000


@click.group("login-keys")
def login_keys() -> None:
    """The keys that sign access tokens: files of GOODSTRACE_LOGIN_KEY_DIR (run/keys/login), with jwks.json beside them.

    Running query services read the folder every two seconds; nothing is restarted.

    \b
    To change the key:
      goodstrace login-keys rotate      the new key is published at once, and signs ten minutes later (the first one at once)
      goodstrace login-keys retire      later: remove the keys whose last token has ended
    After a leak:
      goodstrace login-keys retire --now KID
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is


@login_keys.command("list")
@json_option
def list_(*, as_json: bool) -> None:
    """List the keys, oldest first: `signing`, `next` (published, signs later), `ending` (its tokens still count), `ended`."""
    with told():
        states = configured_files().states(clock.now_ms())
    _print([{"kid": kid, "state": state.value} for kid, state in states.items()], as_json=as_json)


@login_keys.command()
@json_option
def rotate(*, as_json: bool) -> None:
    """Make the next key, unless there is one, and publish it; it signs once all who verify can know it."""
    with told():
        key = configured_files().rotate(clock.now_ms())
    in_minutes = max(key.signs_from_ms - clock.now_ms(), 0) / _MS_A_MINUTE
    _print([{"kid": key.kid, "state": f"signs in {in_minutes:.0f} minutes"}], as_json=as_json)


@login_keys.command()
@click.argument("kid", required=False)
@click.option(
    "--now", "at_once", is_flag=True, help="Remove the key KID at once, with all tokens that it has signed."
)
@json_option
def retire(kid: str | None, *, at_once: bool, as_json: bool) -> None:
    """Remove keys whose last token has ended. With --now: remove the key KID, which leaked, and sign with another one at once.

    Who verifies knows of it within five minutes, and of the new key at the first token of it.
    """
    if at_once != (kid is not None):
        raise click.UsageError("a key is named with --now, and only then")
    with told():
        if kid is None:
            rows = [{"kid": gone, "state": "removed"} for gone in configured_files().retire(clock.now_ms())]
        else:
            key = configured_files().revoke(kid, clock.now_ms())
            rows = [{"kid": kid, "state": "removed"}, {"kid": key.kid, "state": "signing"}]
    _print(rows, as_json=as_json)


@click.command()
@click.argument("name")
@json_option
def bootstrap(name: str, *, as_json: bool) -> None:
    """Make an operator account in the store itself: the first one, or another where nobody gets in any more.

    Prints its password once; it is to be changed at the first sign-in. Whoever may write to MongoDB may do this.
    """
    with told():
        password = asyncio.run(_bootstrapped(name))
    if as_json:
        print_json({"name": name, "password": password})
    else:
        click.echo(f"{name}, an operator, signs in with the password {password} and changes it then")


async def _bootstrapped(name: str) -> str:
    settings = load(LoginSettings)
    hasher = Hasher(
        memory_kib=settings.hash_memory_kib,
        passes=settings.hash_passes,
        threads=1,
        queue=1,
        metrics=LoginMetrics(CollectorRegistry()),
    )
    mongo = Mongo(load(MongoSettings))
    try:
        account = checked(
            StoredAccount(
                id=os.urandom(ID_BYTES).hex(),
                kind=AccountKind.USER,
                name=passwords.account_name(name),
                roles=(Role.OPERATOR,),
                created_ms=clock.now_ms(),
            )
        )
        check_reserved(account.name, load(OidcSettings).host)
        made = await made_password(account, lambda password: hasher.hash(password, first=True))
        await AccountStore(mongo.database).add(made.account)
    except ConflictError as error:
        raise click.ClickException(f"there is an account {name!r} already") from error
    finally:
        hasher.close()
        mongo.close()
    return made.credential


def _print(rows: list[dict[str, str]], *, as_json: bool) -> None:
    if as_json:
        print_json({"keys": rows})
        return
    for row in rows:
        click.echo(f"{row['kid']}  {row['state']}")
    if not rows:
        click.echo("none", err=True)
