import json
from pathlib import Path

import pytest

from goodstrace.errors import RememberedError
from goodstrace.memory import CheckpointMemory, FileMemory, VolatileMemory


@pytest.fixture(params=["volatile", "file"])
def memory(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointMemory:
    return VolatileMemory() if request.param == "volatile" else FileMemory(tmp_path / "a" / "memory.json")


def test_each_origin_has_the_note_put_last(memory: CheckpointMemory) -> None:
    assert memory.get("a") is None
    memory.put("a", "one\n")
    memory.put("b", "other ü\n")
    memory.put("a", "two\n")
    assert (memory.get("a"), memory.get("b"), memory.get("c")) == ("two\n", "other ü\n", None)


def test_a_file_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    FileMemory(tmp_path / "memory.json").put("a", "note")
    assert FileMemory(tmp_path / "memory.json").get("a") == "note"
    assert [file.name for file in tmp_path.iterdir()] == ["memory.json"]  # nothing half written lies about


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"a": "cut', b"\xff", b"[]", b"null", b'{"a": 1}', b'{"a": null}']
)
def test_a_corrupt_file_is_an_error_and_never_an_empty_memory(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "memory.json"
    file.write_bytes(content)
    with pytest.raises(RememberedError, match=r"memory\.json"):
        FileMemory(file).get("a")
    with pytest.raises(RememberedError):
        FileMemory(file).put("a", "note")
    assert file.read_bytes() == content  # what may be evidence is not overwritten


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(RememberedError, match="cannot"):
        FileMemory(tmp_path / "file" / "memory.json").put("a", "note")
    with pytest.raises(RememberedError):
        FileMemory(tmp_path).get("a")


def test_a_failed_change_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "memory.json"
    FileMemory(file).put("a", "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RememberedError, match="No space left"):
        FileMemory(file).put("a", "new")
    assert json.loads(file.read_text()) == {"a": "old"}


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = FileMemory(tmp_path / "checkpoints.json")
    memory.put("origin", "first")

    def no_space(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("goodstrace.memory.os.fsync", no_space)
    with pytest.raises(RememberedError, match="no space left"):
        memory.put("origin", "second")
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoints.json"]
    assert memory.get("origin") == "first"
