"""What `/openapi.json` says of who may call, and what the gate lets pass, are the same: tried at each operation."""

import asyncio
from typing import Any

import pytest

from services.collector.openapi_security import (
    BY_ANYONE,
    BY_EITHER,
    BY_MERCHANT,
    BY_OPERATOR,
    MERCHANT_BEARER,
    MERCHANT_KEY,
    OPERATOR_TOKEN,
)
from tests.unit.capture_api import Running
from tests.unit.registry_builders import OPERATOR, Registry, registry, whole_app

OPERATIONS = {
    (method, path): told
    for path, operations in whole_app(Registry()).openapi()["paths"].items()
    for method, told in operations.items()
}


def test_every_operation_names_who_may_call_it() -> None:
    told = {place: operation["security"] for place, operation in OPERATIONS.items()}
    assert len(told) >= 23
    assert {str(each) for each in told.values()} == {
        str(each) for each in (BY_ANYONE, BY_EITHER, BY_MERCHANT, BY_OPERATOR)
    }
    schemes = whole_app(Registry()).openapi()["components"]["securitySchemes"]
    assert schemes.keys() == {MERCHANT_KEY, MERCHANT_BEARER, OPERATOR_TOKEN}
    assert (schemes[MERCHANT_KEY]["in"], schemes[MERCHANT_KEY]["name"]) == ("header", "X-API-Key")
    assert schemes[MERCHANT_BEARER]["scheme"] == schemes[OPERATOR_TOKEN]["scheme"] == "bearer"


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda each: each)
async def test_the_gate_lets_pass_who_the_openapi_names_and_nobody_else(method: str, path: str) -> None:
    async with registry() as here:
        whole_app(here)
        number, key = await here.merchant(everything=True)
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
            OPERATOR_TOKEN: {"Authorization": f"Bearer {OPERATOR}"},
        }
        security = OPERATIONS[method, path]["security"]
        may = {name for each in security for name in each} if security else set(shown)
        passed = set()
        for who, headers in shown.items():
            answer = await here.http.request(method, place, headers=headers, **sent)  # type: ignore[arg-type]
            assert answer.status_code < 500
            if answer.status_code != 401:
                passed.add(who)
        assert passed == may


async def test_in_open_mode_merchants_need_not_say_who_they_are_and_operators_must() -> None:
    def told(app: Any) -> list[Any]:
        return [each["security"] for path in app.openapi()["paths"].values() for each in path.values()]

    is_open = Running()
    await asyncio.sleep(0)
    for security in told(is_open.app):
        assert security == [] or {} in security
    assert not any({} in security for security in told(whole_app(Registry())))
