import json
import subprocess
import sys
from pathlib import Path

import pytest

from goodstrace.errors import RememberedError
from goodstrace.memory import CheckpointMemory, FileMemory, VolatileMemory


@pytest.fixture(params=["volatile", "file"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointMemory:
    return VolatileMemory() if request.param == "volatile" else FileMemory(tmp_path / "a" / "memory.json")


def test_each_origin_has_the_note_put_last(memory: CheckpointMemory) -> None:
    assert memory.get("a") is None
    assert memory.replace("a", None, "one\n")
    assert memory.replace("b", None, "other ü\n")
    assert memory.replace("a", "one\n", "two\n")
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == ("two\n", "other ü\n", None)


def test_what_another_remembered_meanwhile_stays(memory: CheckpointMemory) -> None:
    memory.replace("a", None, "theirs")
    assert not memory.replace("a", None, "ours")
    assert not memory.replace("a", "older", "ours")
    assert not memory.replace("b", "older", "ours")
    assert (memory.get("a"), memory.get("b")) == ("theirs", None)


GROWING = """
import sys
from pathlib import Path
from goodstrace.memory import FileMemory

memory, own = FileMemory(Path(sys.argv[1])), sys.argv[2]
for size in range(1, 16):
    assert memory.replace(own, str(size - 1) if size > 1 else None, str(size))
    seen = memory.get("shared")
    while not memory.replace("shared", seen, str(int(seen or 0) + 1)):
        seen = memory.get("shared")
"""


def test_processes_that_remember_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    names = ["a", "b", "c", "d"]
    command = [sys.executable, "-c", GROWING, str(file)]
    running = [subprocess.Popen([*command, name]) for name in names]
    assert [each.wait(60) for each in running] == [0] * len(names)
    assert json.loads(file.read_text()) == {"shared": str(15 * len(names)), **dict.fromkeys(names, "15")}


def test_a_system_without_locks_reads_and_does_not_remember(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = FileMemory(tmp_path / "memory.json")
    memory.replace("a", None, "note")
    monkeypatch.setattr("goodstrace.file_lock.fcntl", None)
    assert memory.get("a") == "note"
    with pytest.raises(RememberedError, match="no flock"):
        memory.replace("a", "note", "next")


def test_a_file_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    FileMemory(tmp_path / "memory.json").replace("a", None, "note")
    assert FileMemory(tmp_path / "memory.json").get("a") == "note"
    assert {file.name for file in tmp_path.iterdir()} == {".memory.json.lock", "memory.json"}, (
        "nothing half written"
    )


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": "cut', b"\xff", b"[]", b"null", b'{"a": 1}', b'{"a": null}']
)
def test_a_corrupt_file_is_an_error_and_never_an_empty_memory(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "memory.json"
    file.write_bytes(content)
    with pytest.raises(RememberedError, match=r"memory\.json"):
        FileMemory(file).get("a")
    with pytest.raises(RememberedError):
        FileMemory(file).replace("a", None, "note")
    assert file.read_bytes() == content  # what may be evidence is not overwritten


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(RememberedError, match="cannot"):
        FileMemory(tmp_path / "file" / "memory.json").replace("a", None, "note")
    with pytest.raises(RememberedError):
        FileMemory(tmp_path).get("a")


def test_a_failed_change_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "memory.json"
    FileMemory(file).replace("a", None, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RememberedError, match="No space left"):
        FileMemory(file).replace("a", "old", "new")
    assert json.loads(file.read_text()) == {"a": "old"}


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = FileMemory(tmp_path / "checkpoints.json")
    memory.replace("origin", None, "first")

    def no_space(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("goodstrace.durable.os.fsync", no_space)
    with pytest.raises(RememberedError, match="no space left"):
        memory.replace("origin", "first", "second")
    assert {each.name for each in tmp_path.iterdir()} == {".checkpoints.json.lock", "checkpoints.json"}
    assert memory.get("origin") == "first"
