"""Systems for tests: one shared by a module, or one of a test's own; their logs are shown where a test fails."""

from collections.abc import Callable, Iterator

import pytest

from deploy.stack import Stack
from tests.system.harness import System
from tests.system.local_stack import Local, local_stack

RUNNING = pytest.StashKey[list[System]]()


@pytest.fixture(scope="module")
def systems(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., System]]:
    """Make systems, not started, that are stopped after the module's tests."""
    made = request.node.stash.setdefault(RUNNING, [])

    def make(stack: Stack, **environment: str) -> System:
        made.append(System(stack, tmp_path_factory.mktemp("system"), environment))
        return made[-1]

    yield make
    for system in made:
        system.stop()


@pytest.fixture(scope="module")
def system(stack: Stack, systems: Callable[..., System]) -> System:
    """A running system that the tests of one module share."""
    return systems(stack).start()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A local stack with TLS and accounts that the tests of one module share."""
    with local_stack(tmp_path_factory.mktemp("local")) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> "Iterator[None]":
    """Show the ends of the services' logs with a failure."""
    report = yield
    if report.failed:
        module = item.getparent(pytest.Module)
        for system in module.stash.get(RUNNING, []) if module else []:
            report.sections.append((f"services in {system.run_dir}", system.tails()))
    return report
