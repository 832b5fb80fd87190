"""What was counted goes from the disk of a worker, and not only from what it reads."""

import time
from pathlib import Path

from rocksdict import Options, Rdict

from services.audit.watch.faust_app import compact, drop_unused
from tests.deadlines import DEADLINE_S

USER = b"user:0123456789abcdef01234567"


def _holding(folder: Path) -> list[str]:
    """The files with the user in them, but the list of files, which is made anew when the database is opened."""
    found = [each.name for each in folder.rglob("*") if each.is_file() and USER in each.read_bytes()]
    return [name for name in found if not name.startswith("MANIFEST")]


def test_what_was_counted_goes_from_the_disk(tmp_path: Path) -> None:
    store = Rdict(str(tmp_path / "table"), Options(raw_mode=True))
    try:
        store.put(USER, b"counts of a day")
        store.put(b"key:other", b"counts of a shoe")
        store.flush()
        store.delete(USER)
        assert _holding(tmp_path)
        compact(store)
        until = time.monotonic() + DEADLINE_S
        while _holding(tmp_path) and time.monotonic() < until:
            time.sleep(0.02)  # files that are not used any more go in the background
        assert _holding(tmp_path) == []
        assert store.get(b"key:other") == b"counts of a shoe"
    finally:
        store.close()


def test_the_table_of_a_partition_that_is_elsewhere_goes_after_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "table-1.db"
    drop_unused(folder, 0)
    folder.mkdir()
    (folder / "000001.sst").write_bytes(USER)
    drop_unused(folder, 3600)
    assert folder.exists()
    drop_unused(folder, -1)
    assert not folder.exists()
