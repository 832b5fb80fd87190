"""Starting and stopping the services, on a sample that is ready only after a while."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.processes import DidNotStart, free_port
from deploy.service_processes import Service, daemons, not_ready, start_services, stop_services


@pytest.fixture
def samples() -> list[Service]:
    return [Service(name, "tests.integration.sample_service", free_port()) for name in ("sample1", "sample2")]


@pytest.fixture
def run_dir(tmp_path: Path, samples: list[Service]) -> Iterator[Path]:
    yield tmp_path
    stop_services(tmp_path, print, samples)


def test_all_are_ready_when_start_returns_and_gone_when_stop_does(
    samples: list[Service], run_dir: Path
) -> None:
    said: list[str] = []
    start_services(run_dir, {}, said.append, samples)
    assert [not_ready(sample.ready_url) for sample in samples] == ["", ""]

    first = [daemon.process for _, daemon in daemons(run_dir, {}, print, samples)]
    start_services(run_dir, {}, said.append, samples)
    assert [daemon.process for _, daemon in daemons(run_dir, {}, print, samples)] == first
    assert any(line.startswith("sample1: already running") for line in said)

    said.clear()
    stop_services(run_dir, said.append, samples)
    assert said == ["sample2: stopped", "sample1: stopped"]
    assert all("refused" in not_ready(sample.ready_url) for sample in samples)


def test_one_that_ends_is_named_with_the_end_of_its_log(samples: list[Service], run_dir: Path) -> None:
    with pytest.raises(
        DidNotStart, match=r"(?s)sample1 ended before it was ready.*the sample was told to fail"
    ):
        start_services(run_dir, {"SAMPLE_FAILS": "1"}, print, samples)
