"""The login as the query service's process serves it: the commands, the ports, the record in Kafka, the answers' details."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from deploy.service_processes import ROOT
from deploy.stack import Stack
from goodstrace.query.v1 import login_pb2, login_pb2_grpc
from services.query.accounts import account_store, counters, session_store
from services.runtime.mongo import create_indexes
from tests.conftest import Names
from tests.deadlines import DEADLINE_S
from tests.integration.looking import Looking, eventually, parts_of


@pytest.fixture
def looking(stack: Stack, names: Names, tmp_path: Path) -> Iterator[Looking]:
    made = Looking(stack, tmp_path, names)
    made.environment["GOODSTRACE_LOGIN_CHALLENGE_BITS"] = "4"
    made.environment["GOODSTRACE_LOGIN_UNKNOWN_FAILURES"] = "5"
    yield made
    made.stop()


async def goodstrace(looking: Looking, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("goodstrace")),
        *arguments,
        env=looking.environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    return printed.decode()


async def test_the_first_operator_signs_in(looking: Looking) -> None:
    await looking.prepare()
    database = looking.mongo.database
    await create_indexes(database, account_store.indexes() | session_store.indexes() | counters.indexes())
    looking.environment["GOODSTRACE_ACCOUNTS"] = "required"
    made = json.loads(await goodstrace(looking, "accounts", "bootstrap", "Opal", "--json"))
    looking.daemons["query"].start()
    async with looking.query_channel() as channel:
        login = login_pb2_grpc.LoginServiceStub(channel)
        request = login_pb2.SignInRequest(name="opal", password=made["password"])
        answer = await login.SignIn(request, wait_for_ready=True, timeout=DEADLINE_S)
        assert answer.tokens.access_token.count(".") == 2
        (record,) = await looking.browsed()
        parts = parts_of(record)
        assert parts["what"] == {"checkpoints": [], "keys": [], "kind": "sign-in", "method": "SignIn"}
        assert parts["who"] == {"means": "token", "network": "127.0.0.0/24", "user": "opal"}

        statuses = []
        for number in range(6):
            metadata = (("x-forwarded-for", f"203.0.{number}.1"),)  # nobody is trusted to say so
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await login.SignIn(login_pb2.SignInRequest(name="opal", password="wrong"), metadata=metadata)
            statuses.append(refused.value.code().name)
        assert statuses == ["UNAUTHENTICATED"] * 5 + ["RESOURCE_EXHAUSTED"]
        assert reason(refused.value) == "LOCKED"

        for number in range(2):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await login.SignIn(login_pb2.SignInRequest(name=f"nobody-{number}", password="wrong"))
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED

        keys = await login.GetSigningKeys(login_pb2.GetSigningKeysRequest())
        async with httpx.AsyncClient(base_url=looking.log_url) as http:

            async def shown() -> httpx.Response | None:
                try:
                    return await http.get("/.well-known/jwks.json")
                except httpx.ConnectError:
                    return None

            first = await eventually(shown, "JWKS is served")
            assert first is not None
            assert first.status_code == 200
            assert first.text == keys.jwks
            assert first.headers["cache-control"] == "public, max-age=60"
            same = await http.get("/.well-known/jwks.json", headers={"If-None-Match": first.headers["etag"]})
            assert same.status_code == 304
            kid = json.loads(await goodstrace(looking, "login-keys", "rotate", "--json"))["keys"][0]["kid"]

            async def published() -> bool:
                return kid in (await http.get("/.well-known/jwks.json")).text

            await eventually(published, "the next key is published by the running service")
    logged = looking.daemons["query"].log.read_text()
    assert made["password"] not in logged
    assert "nobody-" not in logged


def reason(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.reason
