"""What `/openapi.json` says of who may call, and what the guard lets pass, are the same: tried at each operation."""

from typing import Any

import pytest

from services.runtime.access.openapi import (
    ACCESS_TOKEN,
    MERCHANT_BEARER,
    MERCHANT_KEY,
    OPERATOR_TOKEN,
    requirements,
)
from services.runtime.access.table import TABLE
from services.runtime.access.values import Role
from tests.memory_accounts import OPERATOR, token_of
from tests.unit.capture_api import Running
from tests.unit.collector_builders import NOW_MS
from tests.unit.registry_builders import Registry, registry, whole_app

OPERATIONS = {
    (method, path): told
    for path, operations in whole_app(Registry()).openapi()["paths"].items()
    for method, told in operations.items()
}


def test_every_operation_names_who_may_call_it() -> None:
    told = {place: operation["security"] for place, operation in OPERATIONS.items()}
    assert len(told) >= 23
    rows = [requirements(row.roles) for row in TABLE if row.service == "collector"]
    assert all(each in rows for each in told.values())
    schemes = whole_app(Registry()).openapi()["components"]["securitySchemes"]
    assert schemes.keys() == {MERCHANT_KEY, MERCHANT_BEARER, ACCESS_TOKEN, OPERATOR_TOKEN}
    assert (schemes[MERCHANT_KEY]["in"], schemes[MERCHANT_KEY]["name"]) == ("header", "X-API-Key")
    assert schemes[MERCHANT_BEARER]["scheme"] == schemes[OPERATOR_TOKEN]["scheme"] == "bearer"


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda each: each)
async def test_the_guard_lets_pass_who_the_openapi_names_and_nobody_else(method: str, path: str) -> None:
    async with registry() as here:
        whole_app(here)
        number, key = await here.merchant(everything=True)
        roles = OPERATIONS[method, path]["x-roles"]
        account = here.accounts.add(
            "ann", *map(Role, roles or [Role.SHOPPER]), merchant=number if "merchant" in roles else 0
        )
        place = path.format(number=number, identifier="0" * 16, capture_id="0" * 32, record_id="0" * 32)
        sent = (
            {"params": {"key": "urn:a:b"}, "json": {}}
            if method not in ("get", "options")
            else {"params": {"key": "urn:a:b"}}
        )
        shown: dict[str, dict[str, str]] = {
            "nobody": {},
            "a stranger": {"Authorization": f"Bearer {key[:-4]}xxxx"},
            MERCHANT_KEY: {"X-API-Key": key},
            MERCHANT_BEARER: {"Authorization": f"Bearer {key}"},
            ACCESS_TOKEN: {"Authorization": f"Bearer {token_of(account, NOW_MS)}"},
            OPERATOR_TOKEN: {"Authorization": f"Bearer {OPERATOR}"},
        }
        security = OPERATIONS[method, path]["security"]
        may = {name for each in security for name in each} if security else set(shown)
        passed = set()
        for who, headers in shown.items():
            before = len(here.refusals)
            answer = await here.http.request(method, place, headers=headers, **sent)  # type: ignore[arg-type]
            assert answer.status_code < 500
            if len(here.refusals) == before:
                passed.add(who)
            else:
                assert answer.status_code in (401, 403)
        assert passed == may


def test_where_accounts_are_off_nobody_needs_to_say_who_they_are() -> None:
    def told(app: Any) -> list[Any]:
        return [each["security"] for path in app.openapi()["paths"].values() for each in path.values()]

    for security in told(Running().app):
        assert security == [] or {} in security
    assert not any({} in security for security in told(whole_app(Registry())))
