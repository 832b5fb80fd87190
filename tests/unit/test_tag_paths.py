"""Proofs that an entry is tagged: published examples, and all that can be changed about them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import entry as entries
from goodstrace.entry import Entry, Kind
from goodstrace.errors import AnswerError, EntryError
from goodstrace.tag_paths import tag_path, verify_tag
from tests.vector_files import vectors

VECTORS = vectors("tag_paths")
TAGS = st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=40, unique=True).map(sorted)


def entry_of(tags: list[bytes]) -> Entry:
    return Entry("0" * 32, Kind.EVENT, 1, (), entries.tags_commitment(tags), 1)


@pytest.mark.parametrize("vector", VECTORS["paths"], ids=lambda each: each["name"])
def test_a_published_path_is_made_and_verified(vector: dict[str, object]) -> None:
    tags = [bytes.fromhex(each) for each in VECTORS["tags"][: vector["n"]]]
    tag = bytes.fromhex(str(vector["tag"]))
    path = [bytes.fromhex(each) for each in vector["path"]]  # type: ignore[attr-defined]
    assert tag_path(tags, tag) == (vector["index"], path)
    assert entries.tags_commitment(tags).root == vector["root"]
    verify_tag(entry_of(tags), tag, int(str(vector["index"])), path)


@given(TAGS, st.data())
def test_every_tag_of_an_entry_has_a_path_and_nothing_else_has(
    tags: list[bytes], data: st.DataObject
) -> None:
    entry, tag = entry_of(tags), data.draw(st.sampled_from(tags))
    index, path = tag_path(tags, tag)
    verify_tag(entry, tag, index, path)
    other = data.draw(st.binary(min_size=16, max_size=16).filter(lambda each: each != tag))
    for wrong_tag, wrong_index, wrong_path in (
        (other, index, path),
        (tag[:-1], index, path),
        (tag, index + 1, path),
        (tag, len(tags), path),
        (tag, index, [*path, bytes(32)]),
        (tag, index, [bytes(32), *path[1:]] if path else [bytes(32)]),
    ):
        with pytest.raises(AnswerError):
            verify_tag(entry, wrong_tag, wrong_index, wrong_path)
    if other not in tags:
        with pytest.raises(EntryError):
            tag_path(tags, other)
