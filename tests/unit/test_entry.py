"""Entry v1: the published vectors, RFC 8785 by another implementation, commitments, and refusal of all else."""

import hashlib
import hmac
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import entry as entries
from goodstrace.entry import Entry, Kind, PartCommitment, TagKind, TagsCommitment
from goodstrace.errors import EntryError
from goodstrace.merkle import EMPTY_ROOT, leaf_hash, root_of
from services.sealing import entries as sealing
from tests.records import make_record
from tests.vector_files import vectors

VECTORS: dict[str, Any] = vectors("entries")

hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
integers = st.integers(0, entries.MAX_INTEGER)
names = st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)
commitments = st.builds(PartCommitment, commit=hashes, name=names, size=integers)
valid = st.builds(
    Entry,
    id=st.binary(min_size=16, max_size=16).map(bytes.hex),
    kind=st.sampled_from(Kind),
    merchant=integers,
    parts=st.lists(commitments, max_size=4, unique_by=lambda part: part.name).map(tuple),
    tags=st.builds(TagsCommitment, n=integers, root=hashes),
    time=integers,
)


@given(valid)
def test_the_encoding_is_rfc_8785_by_another_implementation(entry: Entry) -> None:
    data = entries.encode(entry)
    assert data == rfc8785.dumps(msgspec.to_builtins(entry))
    assert entries.decode(data) == entry
    assert len(data) <= entries.MAX_ENTRY_BYTES


@given(valid, st.data())
def test_any_changed_byte_gives_another_entry_or_is_refused(entry: Entry, data: st.DataObject) -> None:
    encoded = bytearray(entries.encode(entry))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        other = entries.decode(bytes(encoded))
    except EntryError:
        return
    assert other != entry


@given(
    st.binary(max_size=300)
    | st.text().map(str.encode)
    | st.recursive(st.none(), st.lists).map(repr).map(str.encode)
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(EntryError):
        entries.decode(data)


@pytest.mark.parametrize("vector", VECTORS["entries"], ids=lambda vector: vector["name"])
def test_published_entries(vector: dict[str, Any]) -> None:
    data = vector["bytes"].encode()
    entry = entries.decode(data)
    assert entries.encode(entry) == data
    assert leaf_hash(data).hex() == vector["leaf_hash"]
    for part in vector["parts"]:
        entries.verify_part(entry, part["name"], bytes.fromhex(part["salt"]), bytes.fromhex(part["content"]))
    tags = [bytes.fromhex(tag) for tag in vector["tags"]]
    assert entries.tags_commitment(tags) == entry.tags


@pytest.mark.parametrize("vector", VECTORS["commitments"])
def test_published_commitments_word_by_word(vector: dict[str, Any]) -> None:
    name, salt, content = vector["name"], bytes.fromhex(vector["salt"]), bytes.fromhex(vector["content"])
    spelled = b"\x02" + bytes([len(name)]) + name.encode() + salt + content
    assert hashlib.sha256(spelled).hexdigest() == vector["commit"]
    assert entries.commit(name, salt, content).hex() == vector["commit"]


@pytest.mark.parametrize("vector", VECTORS["tags"])
def test_published_tags_word_by_word(vector: dict[str, Any]) -> None:
    secret, kind = bytes.fromhex(vector["secret"]), TagKind[vector["kind"]]
    spelled = hmac.new(secret, bytes([kind]) + vector["text"].encode(), "sha256").digest()[:16]
    assert entries.tag(secret, kind, vector["text"]) == spelled == bytes.fromhex(vector["tag"])


@given(secret=st.binary(max_size=150), kind=st.sampled_from(TagKind), text=st.text())
def test_a_tag_is_the_standard_librarys_hmac(secret: bytes, kind: TagKind, text: str) -> None:
    assert (
        entries.tag(secret, kind, text) == hmac.digest(secret, bytes((kind,)) + text.encode(), "sha256")[:16]
    )


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["why"])
def test_published_refusals(vector: dict[str, str]) -> None:
    with pytest.raises(EntryError):
        entries.decode(vector["bytes"].encode())


def test_tags_are_sorted_distinct_and_of_their_size() -> None:
    one, two = b"a" * 16, b"b" * 16
    assert entries.tags_commitment([]) == TagsCommitment(0, EMPTY_ROOT.hex())
    assert entries.tags_commitment([one, two]).root == root_of([leaf_hash(one), leaf_hash(two)]).hex()
    for wrong in ([two, one], [one, one], [b"short"]):
        with pytest.raises(EntryError):
            entries.tags_commitment(wrong)


def test_kinds_of_tags_never_share_a_tag() -> None:
    made = {entries.tag(b"s" * 32, kind, "text") for kind in TagKind}
    assert len(made) == len(TagKind)


@pytest.mark.parametrize(
    ("name", "salt"), [("", b"s" * 32), ("Upper", b"s" * 32), ("x" * 33, b"s" * 32), ("a", b"s")]
)
def test_a_part_out_of_its_limits_is_refused(name: str, salt: bytes) -> None:
    with pytest.raises(EntryError):
        entries.commit(name, salt, b"content")


def test_a_disclosed_part_must_be_the_one_committed_to() -> None:
    record = make_record(1)
    entry, part = entries.decode(record.entry), record.parts[0]
    entries.verify_part(entry, part.name, part.salt, part.content)
    for name, salt, content in (
        ("facts", part.salt, part.content),
        ("none", part.salt, part.content),
        (part.name, b"x" * 32, part.content),
        (part.name, part.salt, part.content + b"x"),
    ):
        with pytest.raises(EntryError):
            entries.verify_part(entry, name, salt, content)


@pytest.mark.parametrize("field", ["id", "kind", "time_ms", "merchant", "parts", "tags", "entry"])
def test_a_record_is_sealable_only_with_the_entry_of_its_own(field: str) -> None:
    record, other = make_record(1), make_record(2)
    assert sealing.check(record).id == record.id.hex()
    values = {"kind": Kind.BROWSE, "merchant": 2}
    changed = msgspec.structs.replace(record, **{field: values.get(field, getattr(other, field))})
    with pytest.raises(EntryError):
        sealing.check(changed)


def test_an_entry_over_its_size_is_refused() -> None:
    part = PartCommitment(commit="0" * 64, name="x" * 32, size=entries.MAX_INTEGER)
    parts = tuple(msgspec.structs.replace(part, name=f"{number}" * 32) for number in range(5))
    entry = Entry("0" * 32, Kind.EVENT, 0, parts, TagsCommitment(0, "0" * 64), 0)
    with pytest.raises(EntryError):
        entries.encode(entry)
