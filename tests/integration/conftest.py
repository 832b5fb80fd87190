"""The two services that show what is sealed, ready to be started; a module that wants more of them overrides the fixture."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deploy.stack import Stack
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from tests.conftest import Names
from tests.integration.looking import Looking


@pytest.fixture
async def mongo(mongo_uri: str, names: Names) -> AsyncIterator[Mongo]:
    """A database of the test's own, empty."""
    made = Mongo(MongoSettings(uri=mongo_uri, database=names.database, timeout_ms=10_000))
    yield made
    made.close()


@pytest.fixture
async def looking(stack: Stack, tmp_path: Path, names: Names) -> AsyncIterator[Looking]:
    """Topics, keys and a database of the test's own; query and audit not started, but stopped after the test."""
    made = Looking(stack, tmp_path, names)
    try:
        await made.prepare()
        yield made
    finally:
        made.stop()


@pytest.fixture
async def http(looking: Looking) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the query service's HTTP port."""
    async with looking.http() as client:
        yield client
