"""The clients of examples/, in Go, Java and TypeScript: they believe the published answers, refuse the forgeries, and are small."""

import base64
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.deadlines import DEADLINE_S
from tests.example_clients import CLIENTS, ExampleClient, ToolMissing
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("trace_answers")
MOST_LINES = 150  # of all: blank lines, comments and imports too
MOST_COLUMNS = 150


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda client: client.name)
def command(request: pytest.FixtureRequest) -> Sequence[str]:
    try:
        return request.param.build()
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.fixture
def check(
    command: Sequence[str], tmp_path: Path
) -> Callable[[dict[str, Any]], "subprocess.CompletedProcess[str]"]:
    """Gives an answer to the client."""
    keys = tmp_path / "vkeys"
    keys.write_text("".join(f"{vkey}\n" for vkey in VECTORS["vkeys"]))

    def run(vector: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
        answer = tmp_path / f"{hash(vector['what'])}.bin"
        answer.write_bytes(base64.b64decode(vector["answer"]))
        return subprocess.run(
            [*command, str(keys), str(answer)],
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_S,
        )

    return run


def test_it_prints_what_is_proved(check: Callable[..., Any]) -> None:
    for vector in VECTORS["answers"]:
        done = check(vector)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == vector["lines"]


def test_it_prints_nothing_of_what_is_forged(check: Callable[..., Any]) -> None:
    with ThreadPoolExecutor(4) as runs:
        outcomes = list(runs.map(check, VECTORS["refused"]))
    for vector, done in zip(VECTORS["refused"], outcomes, strict=True):
        told = f"{vector['what']}: {done.stdout}{done.stderr}"
        assert (done.returncode, done.stdout) == (1, ""), told
        assert done.stderr.startswith("refused: "), told
    assert len(outcomes) > 20


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_it_is_small_and_not_by_cramming_lines(client: ExampleClient) -> None:
    (source,) = (path for path in client.source.rglob("*.*") if path.suffix in {".go", ".java", ".ts"})
    lines = source.read_text().splitlines()
    assert len(lines) < MOST_LINES
    assert max(map(len, lines)) <= MOST_COLUMNS
