"""Copies of stores: files that say where they are damaged, logs that are derived again, and whose tail may come from Kafka."""

import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import bson
import msgspec
import pytest
from click.testing import CliRunner

from goodstrace import block as blocks
from goodstrace.log_keys import LogKeys
from goodstrace.policy import Policy
from services.backup import checking, command, groups, ready
from services.backup.checking import Trust
from services.backup.command import backup
from services.backup.erased import Applied, destroyed_in
from services.backup.errors import BackupError, DamagedError
from services.backup.folder import PIECE_BYTES, FolderWriter, read_documents, read_manifest
from services.backup.same_kafka import check_topic
from services.backup.values import FORMAT, MANIFEST, SUMS, FileEntry, GroupOffsets, LogCopy, Manifest
from services.runtime import envelope
from services.runtime.settings import KafkaSettings
from services.runtime.vault.wrapping import KeyRing
from services.sealing import documents
from services.sealing.core import TopicIdentity
from services.sealing.erasure.records import Erasure, Scope, Why, erasure_record
from services.sealing.fsck import root_check
from services.sealing.fsck.faults import Verdict
from services.sealing.indexes import BLOCKS, CHECKPOINTS, LOGS, PACKS
from services.sealing.values import LogInfo
from tests.memory_documents import MemoryDocuments
from tests.unit.sealing_bench import LOG
from tests.unit.test_fsck import sealed_store

Rows = dict[str, list[dict[str, object]]]


def copied(folder: Path, change: Callable[[Rows], None] = lambda _: None) -> Manifest:
    """A copy of the log LOG of a sealed store, whose documents `change` may spoil before they are written."""
    found = MemoryDocuments.of(sealed_store()).collections
    rows: Rows = {
        name: sorted(
            (dict(each) for each in found[name].values() if each.get("log", each["_id"]) == LOG),
            key=lambda each: (each.get("height", 0), each.get("first", 0), each.get("size", 0)),
        )
        for name in (LOGS, BLOCKS, PACKS, CHECKPOINTS)
    }
    change(rows)
    newest = rows[CHECKPOINTS][-1]
    writer = FolderWriter(folder)
    infos = writer.file("logs.bson")
    infos.write(LOGS, rows[LOGS][0])
    log = writer.file("logs/goods-0.bson")
    packs = {each["_id"]: each for each in rows[PACKS]}
    for block in rows[BLOCKS]:
        for each in block["packs"]:
            if each in packs:
                log.write(PACKS, packs[each])
        log.write(BLOCKS, block)
        for each in rows[CHECKPOINTS]:
            if each["size"] == block["size"]:
                log.write(CHECKPOINTS, each)
    kafka = blocks.decode(rows[BLOCKS][-1]["header"]).kafka
    root = newest["root"].hex()
    copy = LogCopy(LOG, newest["size"], len(rows[BLOCKS]) - 1, root, newest["note"], kafka, log.close())
    manifest = Manifest(FORMAT, "store", "00", 1, [copy], [infos.close()])
    writer.finish(manifest)
    return manifest


def test_a_copy_that_is_whole(tmp_path: Path) -> None:
    copied(tmp_path / "copy")
    manifest = read_manifest(tmp_path / "copy", "store")
    checking.verify(tmp_path / "copy", manifest, Trust())
    modes = {stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "copy").rglob("*") if each.is_file()}
    assert modes == {0o600}
    with pytest.raises(BackupError, match="backup of a store"):
        read_manifest(tmp_path / "copy", "vault")
    with pytest.raises(BackupError, match="is there already"):
        FolderWriter(tmp_path / "copy")


def test_every_flipped_byte_is_named_with_its_place(tmp_path: Path) -> None:
    manifest = copied(tmp_path / "copy")
    for entry in manifest.files():
        path = tmp_path / "copy" / entry.path
        data = path.read_bytes()
        for place in range(0, len(data), max(1, len(data) // 40)):
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            first = place // PIECE_BYTES * PIECE_BYTES
            with pytest.raises(DamagedError, match=f"{entry.path}: a byte from {first} to "):
                checking.verify(tmp_path / "copy", manifest, Trust())
        for cut in (data[:-1], data[: len(data) // 2], data + b"x", b""):
            path.write_bytes(cut)
            with pytest.raises(DamagedError):
                checking.verify(tmp_path / "copy", manifest, Trust())
        path.unlink()
        with pytest.raises(DamagedError, match="is missing"):
            checking.verify(tmp_path / "copy", manifest, Trust())
        path.write_bytes(data)
        sums = path.with_name(path.name + SUMS)
        right = sums.read_bytes()
        sums.write_bytes(bytes([right[0] ^ 1]) + right[1:])
        with pytest.raises(DamagedError, match="not what the manifest says"):
            checking.verify(tmp_path / "copy", manifest, Trust())
        sums.write_bytes(right)
    checking.verify(tmp_path / "copy", manifest, Trust())


def test_a_manifest_that_was_changed(tmp_path: Path) -> None:
    copied(tmp_path / "copy")
    path = tmp_path / "copy" / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"kind"', b'"kind" '))
    with pytest.raises(DamagedError, match=MANIFEST):
        read_manifest(tmp_path / "copy", "store")
    with pytest.raises(BackupError, match="no whole backup"):
        read_manifest(tmp_path, "store")


def test_a_file_outside_the_copy_is_not_read(tmp_path: Path) -> None:
    manifest = copied(tmp_path / "copy")
    entry = msgspec.structs.replace(manifest.collections[0], path="../copy/../../etc/passwd")
    with pytest.raises(BackupError, match="leads out"):
        list(read_documents(tmp_path / "copy", entry))


def _other_note(rows: Rows) -> None:
    rows[CHECKPOINTS][-1]["note"] = rows[CHECKPOINTS][0]["note"]


def _other_root(rows: Rows) -> None:
    rows[CHECKPOINTS][-1]["root"] = bytes(32)


def _entry(rows: Rows) -> None:
    _record(rows, entry=documents.pack(rows[PACKS][0]).records[0].entry + b" ")


def _record(rows: Rows, **fields: object) -> None:
    pack = documents.pack(rows[PACKS][0])
    spoiled = msgspec.structs.replace(pack.records[0], **fields)
    rows[PACKS][0] = documents.pack_document(
        msgspec.structs.replace(pack, records=(spoiled, *pack.records[1:]))
    )


def _part(rows: Rows, **fields: bytes) -> None:
    [first, *others] = documents.pack(rows[PACKS][0]).records[0].parts
    _record(rows, parts=(msgspec.structs.replace(first, **fields), *others))


def _checkpoint(rows: Rows, **fields: object) -> None:
    """Another checkpoint than the newest, with fields changed."""
    rows[CHECKPOINTS][1].update(fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: _part(rows, content=b"{}"), f"{LOG}, block 0, index 0: part "),
        (lambda rows: _part(rows, salt=bytes(32)), f"{LOG}, block 0, index 0: part "),
        (lambda rows: _record(rows, parts=()), f"{LOG}, block 0, index 0: part .* is missing"),
        (lambda rows: _record(rows, tags=(bytes(16),)), f"{LOG}, block 0, index 0: the tags are not"),
        (lambda rows: rows[PACKS][0].update(height=5), f"{LOG}, block 0: pack .* another place"),
        (lambda rows: rows[BLOCKS][0].update(more=1), "not as written: more"),
        (lambda rows: _checkpoint(rows, note=rows[CHECKPOINTS][0]["note"]), "another size or root"),
        (lambda rows: _checkpoint(rows, note="forged", signatures=0), f"{LOG}: the checkpoint of size 4"),
        (lambda rows: _checkpoint(rows, root=bytes(32)), "another size or root"),
        (lambda rows: _checkpoint(rows, log="goods/1"), "not as written: _id"),
        (lambda rows: rows[CHECKPOINTS].pop(1), f"{LOG}, block 1: the checkpoint of size 4 is missing"),
        (lambda rows: rows[BLOCKS].pop(0), f"{LOG}, block 0: "),
        (lambda rows: rows[BLOCKS][1].update(signature=bytes(64)), f"{LOG}, block 1: .*not signed"),
        (lambda rows: rows[BLOCKS][1].update(leaves=bytes(32)), f"{LOG}, block 1"),
        (lambda rows: rows[PACKS].pop(0), f"{LOG}, block 0: its packs"),
        (_entry, f"{LOG}, block 0, index 0: the entry is not"),
        (_other_note, "another size or root"),
        (_other_root, "another size or root"),
        (lambda rows: rows[BLOCKS].pop(), "entries do not give the root"),
    ],
)
def test_a_log_that_is_not_what_was_sealed(tmp_path: Path, change: Callable[[Rows], None], said: str) -> None:
    manifest = copied(tmp_path / "copy", change)  # its sums fit: somebody wrote them anew
    with pytest.raises(BackupError, match=said):
        checking.verify(tmp_path / "copy", manifest, Trust())


def test_a_log_that_ends_with_another_block_than_is_said(tmp_path: Path) -> None:
    manifest = copied(tmp_path / "copy")
    [log] = manifest.logs
    for copy, said in (
        (msgspec.structs.replace(log, height=9), "its last block is 3, and 9 is said"),
        (msgspec.structs.replace(log, kafka=msgspec.structs.replace(log.kafka, next=1)), "other records"),
    ):
        with pytest.raises(BackupError, match=said):
            checking.verify(tmp_path / "copy", msgspec.structs.replace(manifest, logs=[copy]), Trust())


def test_what_is_of_logs_comes_from_their_own_files_alone(tmp_path: Path) -> None:
    writer = FolderWriter(tmp_path / "copy")
    heads, other = writer.file("collections/heads.bson"), writer.file("collections/accounts.bson")
    heads.write("heads", {"_id": LOG})
    other.write("blocks", {"_id": f"{LOG}#9"})
    entries = [heads.close(), other.close()]
    for entry, said in zip(
        entries, ("belongs into their own files", "blocks where none belongs"), strict=True
    ):
        manifest = Manifest(FORMAT, "store", "00", 1, [], [entry])
        with pytest.raises(BackupError, match=said):
            checking.read_others(tmp_path / "copy.partial", manifest, lambda *_: None)


def test_what_lies_in_a_copy_and_is_no_document(tmp_path: Path) -> None:
    for number, data in enumerate(
        (b"\x06\x00\x00\x00\x01\x00", bson.encode({}), bson.encode({"in": 1, "document": {}}))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "x.bson").write_bytes(data)
        (folder / ("x.bson" + SUMS)).write_bytes(hashlib.sha256(data).digest())
        digest = hashlib.sha256(hashlib.sha256(data).digest()).hexdigest()
        with pytest.raises(DamagedError, match=r"x\.bson: what lies there is no document"):
            list(read_documents(folder, FileEntry("x.bson", 1, len(data), digest)))


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for out, said in (
        (Path(), "is there already"),
        (Path("/"), "no name of a folder"),
        (tmp_path, "already"),
    ):
        with pytest.raises(BackupError, match=said):
            FolderWriter(out)
    FolderWriter(tmp_path / "copy")
    assert not list(tmp_path.iterdir()), "nothing is there before there is something to write"
    found = CliRunner().invoke(backup, ["create", "--out", "."])
    assert found.exit_code == 1, "it is said before Kafka is asked, which there is none of"
    assert "is there already" in found.output


def test_names_of_databases_that_are_none() -> None:
    for into, vault in (("a.b", "v"), ("admin", "v"), ("a", "Local"), ("", "v"), ("a", "a$"), ("a", "a")):
        with pytest.raises(BackupError, match="database"):
            ready.check_names(into, vault)
    ready.check_names("goodstrace2", "goodstrace2_vault")


def test_a_copy_of_a_vault_that_does_not_open(tmp_path: Path) -> None:
    ring, other, subject = KeyRing((b"k" * 32,)), KeyRing((b"o" * 32,)), b"s" * 32
    writer = FolderWriter(tmp_path / "copy")
    file = writer.file("collections/vault_keys.bson")
    for each in (ring, other):
        file.write("vault_keys", {"_id": subject, **each.wrap(b"x" * 32, subject, b"n" * 12)})
    manifest = Manifest(FORMAT, "vault", "00", 1, [], [file.close()])
    both = KeyRing((b"k" * 32, b"o" * 32))
    ready.check_copy_opens(tmp_path / "copy.partial", manifest, both)
    with pytest.raises(BackupError, match=other.newest):
        ready.check_copy_opens(tmp_path / "copy.partial", manifest, ring)


def test_kafka_must_be_the_one_that_logs_were_sealed_from(tmp_path: Path) -> None:
    [copy] = copied(tmp_path / "copy").logs
    said = copy.kafka
    right = TopicIdentity(said.cluster, said.topic, said.topic_id)
    check_topic(copy, right, said.next)
    for wrong in (
        msgspec.structs.replace(right, cluster="other"),
        msgspec.structs.replace(right, topic_id="x"),
    ):
        with pytest.raises(BackupError, match=r"sealed from another .* set KAFKA_BOOTSTRAP_SERVERS"):
            check_topic(copy, wrong, said.next)
    with pytest.raises(BackupError, match=f"up to {said.next - 1} only"):
        check_topic(copy, right, said.next - 1)


def test_groups_read_again_for_the_older_of_two_copies() -> None:
    store = [GroupOffsets("a", [("t", 0, 9)]), GroupOffsets("b", [("w", 0, 8), ("w", 1, 3), ("w", 2, 4)])]
    vault = [GroupOffsets("b", [("w", 0, 5), ("w", 1, 7)])]
    assert groups.lowest(store, vault) == {
        "a": {("t", 0): 9},
        "b": {("w", 0): 5, ("w", 1): 3, ("w", 2): 0},
    }


def test_a_prefix_that_is_another_is_noticed() -> None:
    groups.check_ours(KafkaSettings(topic_prefix="x."), [GroupOffsets("x.collector.projector", [])])
    with pytest.raises(BackupError, match="GOODSTRACE_TOPIC_PREFIX"):
        groups.check_ours(KafkaSettings(topic_prefix="y."), [GroupOffsets("x.collector.projector", [])])


def test_a_record_of_an_erasure_says_when() -> None:
    digest = hashlib.sha256(b"key").digest()
    erasure = Erasure(b"s" * 32, Scope.USER, Why.ASKED, digest.hex(), b"", b"r" * 16, b"t" * 32, 77)
    record = erasure_record(erasure, b"i" * 32)
    assert destroyed_in(envelope.encode(record)) == {digest: 77}


@pytest.mark.parametrize(("vkeys", "is_said"), [((), True), (("--vkeys", "."), False)])
def test_restore_says_whose_keys_it_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vkeys: tuple[str, ...], *, is_said: bool
) -> None:
    manifest = copied(tmp_path / "copy")
    done = command.Restored(manifest, Applied(), groups.SetBack(3, (("w", 1),)), "v")
    monkeypatch.setattr(command, "_restored", lambda **_: done)
    found = CliRunner().invoke(command.restore, [str(tmp_path / "copy"), "--into", "x", *vkeys])
    assert found.exit_code == 0
    assert ("give --vkeys to trust your own" in found.output) is is_said
    assert "(w[1])" in found.output
    assert "goodstrace audit index rebuild" in found.output


def test_verify_says_what_is_not_sound_in_json_too(tmp_path: Path) -> None:
    copied(tmp_path / "copy")
    arguments = ["verify", str(tmp_path / "copy")]
    assert json.loads(CliRunner().invoke(command.backup, [*arguments, "--json"]).output)["sound"] is True
    damaged = next(each for each in sorted((tmp_path / "copy").rglob("*.bson")) if each.stat().st_size)
    data = bytearray(damaged.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    found = CliRunner().invoke(command.backup, [*arguments, "--json"])
    assert found.exit_code == 1
    said = json.loads(found.stdout)
    assert said["sound"] is False
    assert damaged.name in said["problem"]
    found = CliRunner().invoke(command.backup, arguments)
    assert found.exit_code == 1
    assert f"does not verify: {said['problem']}" in found.output


def test_a_folder_that_is_not_the_copy_asked_for_gets_no_verdict(tmp_path: Path) -> None:
    copied(tmp_path / "copy")
    (tmp_path / "empty").mkdir()
    for arguments in ([str(tmp_path / "empty")], ["--of-vault", str(tmp_path / "copy")]):
        found = CliRunner().invoke(command.backup, ["verify", "--json", *arguments])
        assert (found.exit_code, found.stdout) == (2, "")
    (tmp_path / "copy" / "manifest.json.sums").unlink()
    found = CliRunner().invoke(command.backup, ["verify", "--json", str(tmp_path / "copy")])
    assert found.exit_code == 1
    assert json.loads(found.stdout)["problem"].endswith("manifest.json.sums is missing")


def test_keys_and_witnesses_from_elsewhere_count(tmp_path: Path) -> None:
    manifest = copied(tmp_path / "copy")
    info: LogInfo = checking.log_infos(tmp_path / "copy", manifest)[LOG]
    checking.verify(tmp_path / "copy", manifest, Trust(LogKeys.parse([info.vkey])))
    with pytest.raises(BackupError, match=LOG):
        checking.verify(tmp_path / "copy", manifest, Trust(LogKeys.parse([])))
    none = Policy.parse("quorum none\n")
    checking.verify(tmp_path / "copy", manifest, Trust(policy=none))


def test_what_was_begun_and_not_finished_is_no_copy(tmp_path: Path) -> None:
    FolderWriter(tmp_path / "copy").file("logs.bson").close()
    assert not (tmp_path / "copy").exists()
    with pytest.raises(BackupError, match="broken off"):
        FolderWriter(tmp_path / "copy")


def test_the_manifest_is_json_for_people(tmp_path: Path) -> None:
    copied(tmp_path / "copy")
    told = json.loads((tmp_path / "copy" / MANIFEST).read_text())
    assert told["format"] == FORMAT
    assert told["logs"][0]["log"] == LOG


def pin(size: int) -> root_check._Pinned:
    return root_check._Pinned(0, LOG, 0, "", "", size, bytes(32), [])


def test_pins_of_blocks_that_were_lost_end_with_the_first_of_a_block_sealed_since() -> None:
    copied = root_check._copied(
        [{"_id": "restored", "times": [[{"log": LOG, "size": 10}], [{"log": LOG, "size": 30}]]}]
    )
    assert copied == {LOG: [10, 30]}
    for own, size, is_lost in (
        (0, 5, False),  # in the copy: it must be right
        (8, 12, True),  # sealed after the copy was made, and lost
        (12, 14, False),  # a block above the copy was seen to be of this store
        (12, 31, True),  # until it was put back once more
        (31, 40, False),
    ):
        verdict = Verdict(log="root", own_sizes={LOG: own})
        assert root_check._is_lost(pin(size), verdict, copied) is is_lost, (own, size)
    assert not root_check._is_lost(pin(12), Verdict(log="root"), {})  # of a store that never was restored
    other = {"goods/9": [10]}
    assert root_check._is_lost(pin(12), Verdict(log="root"), other)  # a log that began after the copy
