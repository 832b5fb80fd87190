from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace import key_changes
from goodstrace.errors import KeyChangeError, NoteError, TrustFileError, UnknownLogError
from goodstrace.key_changes import KeyChange
from goodstrace.log_keys import LogKeys, log_of
from goodstrace.note import Signer


def vkey(origin: str, seed: int = 1) -> str:
    return Signer(origin, bytes([seed]) * 32).verifier.vkey()


GOODS = vkey("goodstrace.local/ab12/goods/0")
BROWSE = vkey("goodstrace.local/ab12/browse/0", 2)


def test_keys_are_found_by_the_log_they_sign_for() -> None:
    keys = LogKeys.parse([GOODS, BROWSE])
    assert keys.logs() == ["browse/0", "goods/0"]
    assert keys.verifier("goods/0").vkey() == GOODS
    assert {each.vkey() for each in keys} == {GOODS, BROWSE}


def test_comments_and_empty_lines_are_passed_over() -> None:
    assert LogKeys.parse(["", "# the goods", f"  {GOODS}  ", "\n"]).logs() == ["goods/0"]


def test_a_log_without_a_trusted_key_is_named() -> None:
    with pytest.raises(UnknownLogError, match="goods/7"):
        LogKeys.parse([GOODS]).verifier("goods/7")


def test_the_same_key_twice_is_one_key() -> None:
    assert LogKeys.parse([GOODS, GOODS]).logs() == ["goods/0"]


@pytest.mark.parametrize(
    "other", [vkey("goodstrace.local/ab12/goods/0", 3), vkey("goodstrace.local/other/goods/0")]
)
def test_two_keys_for_one_log_are_refused(other: str) -> None:
    with pytest.raises(NoteError, match="two keys claim the log goods/0"):
        LogKeys.parse([GOODS, other])


@pytest.mark.parametrize(
    "line", [GOODS[:-4] + "AAAA", "no key", GOODS.replace("+", " ", 1), vkey("goods/0"), vkey("a/b/goods/x")]
)
def test_a_malformed_key_or_a_name_without_a_log_is_refused(line: str) -> None:
    with pytest.raises(NoteError):
        LogKeys.parse([line])


@pytest.mark.parametrize("origin", ["", "goods/0", "a/goods/", "a/goods/-1", "a/b/c"])
def test_only_an_origin_has_a_log(origin: str) -> None:
    with pytest.raises(NoteError):
        log_of(origin)


def test_keys_are_loaded_from_a_file_or_from_the_vkey_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "goods-0.vkey").write_text(GOODS + "\n")
    (tmp_path / "browse-0.vkey").write_text(BROWSE + "\n")
    (tmp_path / "goods-0.key").write_text("a secret, and no vkey")
    (tmp_path / "all.txt").write_text(f"{GOODS}\n{BROWSE}\n")
    assert (
        LogKeys.load(tmp_path).logs() == LogKeys.load(tmp_path / "all.txt").logs() == ["browse/0", "goods/0"]
    )


def test_no_keys_unreadable_keys_and_no_file_are_said(tmp_path: Path) -> None:
    (tmp_path / "bytes.vkey").write_bytes(b"\xff\xfe")
    with pytest.raises(TrustFileError, match="cannot read log keys"):
        LogKeys.load(tmp_path)
    with pytest.raises(TrustFileError, match="cannot read log keys"):
        LogKeys.load(tmp_path / "absent")
    (tmp_path / "none").mkdir()
    with pytest.raises(TrustFileError, match="no log keys"):
        LogKeys.load(tmp_path / "none")


@pytest.mark.parametrize("line", ["# Goodstrace", "no key", GOODS[:-4] + "AAAA", vkey("goods/0")])
def test_of_a_file_that_holds_no_keys_file_and_line_are_said(tmp_path: Path, line: str) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Keys\n\n{GOODS}\n{line.removeprefix('# ')}\n")
    with pytest.raises(TrustFileError, match=r"README\.md, line 4, is no vkey of a log: "):
        LogKeys.load(path)
    path.write_text(f"{GOODS}\n{vkey('goodstrace.local/other/goods/0')}\n")
    with pytest.raises(TrustFileError, match=r"README\.md: two keys claim the log goods/0"):
        LogKeys.load(path)


SIGNERS = [Signer("goodstrace.local/ab12/goods/0", bytes([seed]) * 32) for seed in range(1, 6)]


def change(number: int, new: Signer | None = None) -> KeyChange:
    """The change from the key of this number to the next, or to another one."""
    return key_changes.sign(
        log="goods/0",
        height=number + 1,
        size=10 * (number + 1),
        previous="ab" * 32,
        time=number,
        old=SIGNERS[number],
        new=new or SIGNERS[number + 1],
    )


CHANGES = [change(number) for number in range(4)]


def followed(first: int, end: int, trusted: int) -> LogKeys:
    """Keys that trust one of the first log's keys, and have followed the changes from `first` up to `end`."""
    keys = LogKeys([SIGNERS[trusted].verifier])
    keys.follow(CHANGES[first:end])
    return keys


SPANS = st.integers(0, 4).flatmap(
    lambda first: st.integers(first, 4).flatmap(
        lambda end: st.tuples(st.just(first), st.just(end), st.integers(first, end))
    )
)


@given(SPANS, SPANS)
def test_joined_keys_keep_the_changes_that_either_has_followed(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    meet = max(one[0], other[0]) <= min(one[1], other[1])
    first, end = min(one[0], other[0]), max(one[1], other[1])
    for spans in ((one, other), (other, one)):
        keys = [followed(*span) for span in spans]
        if not meet:
            with pytest.raises((NoteError, KeyChangeError)):
                LogKeys.joined(*keys)
            continue
        joined = LogKeys.joined(*keys, LogKeys.parse([BROWSE]))
        assert joined.logs() == ["browse/0", "goods/0"]
        assert joined.changes("goods/0") == tuple(CHANGES[first:end])
        assert joined.verifier("goods/0") == SIGNERS[end].verifier
        for number in range(first, end):
            assert joined.verifier("goods/0", 10 * (number + 1)) == SIGNERS[number].verifier


def test_joined_keys_do_not_contradict_one_another() -> None:
    with pytest.raises(NoteError, match="two keys claim the log goods/0"):
        LogKeys.joined(LogKeys([SIGNERS[0].verifier]), LogKeys([SIGNERS[1].verifier]))
    with pytest.raises(NoteError, match="two keys claim the log goods/0"):
        LogKeys.joined(followed(0, 2, 0), LogKeys([SIGNERS[3].verifier]))
    thief = LogKeys([SIGNERS[0].verifier])
    thief.follow([change(0, SIGNERS[4])])
    with pytest.raises(KeyChangeError, match="two different successions"):
        LogKeys.joined(followed(0, 1, 0), thief)
    assert LogKeys.joined().logs() == []
