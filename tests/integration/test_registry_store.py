"""The registry on a real store keeps the contract that the one in memory keeps."""

import os

from deploy.stack import Stack
from services.collector.registry.store import RegistryStore
from services.runtime.mongo import Mongo
from services.runtime.settings import MongoSettings
from tests.conftest import Names
from tests.memory_registry import check_registry


async def test_the_registry_keeps_its_contract(stack: Stack, names: Names) -> None:
    mongo = Mongo(MongoSettings(uri=stack.mongodb_uri, database=names.database))
    store = RegistryStore(mongo.database)
    try:
        await store.prepare()
        await check_registry(store, os.urandom)
    finally:
        mongo.close()
