import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodstrace.checkpoint import Checkpoint, sign_checkpoint
from goodstrace.cosignature import Cosigner
from goodstrace.errors import PolicyError
from goodstrace.note import Note, Signature, Signer, parse_note
from goodstrace.policy import MAX_POLICY_BYTES, NONE, Policy

LOG, OTHER = Signer("example.com/log", bytes(32)), Signer("example.com/other", bytes([9] * 32))
NAMES = ["X1", "X2", "X3", "Y1", "Y2", "Y3"]
WITNESSES = {name: Cosigner(f"witness.example/{name}", bytes([n] * 32)) for n, name in enumerate(NAMES, 1)}
LINES = {name: f"witness {name} {witness.verifier.vkey()}" for name, witness in WITNESSES.items()}
LOG_LINE = f"log {LOG.verifier.vkey()}"
EXAMPLE = f"""
# The example of the specification, with one URL
{LOG_LINE} https://logs.example/

{LINES["X1"]} http://x1.example/prefix
 \t{LINES["X2"]}
{LINES["X3"]}\t
group X-witnesses 2 X1 X2 X3

{LINES["Y1"]}
{LINES["Y2"]}
{LINES["Y3"]}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""
NOTE = parse_note(sign_checkpoint(Checkpoint(LOG.name, 5, bytes(32)), LOG))


def cosigned(*names: str, note: Note = NOTE) -> str:
    lines = [WITNESSES[name].cosign(note.text, 1_700_000_000) for name in names]
    return Note(note.text, (*note.signatures, *lines)).encode()


def test_the_example_of_the_specification() -> None:
    policy = Policy.parse(EXAMPLE)
    assert [(log.verifier, log.url) for log in policy.logs] == [(LOG.verifier, "https://logs.example/")]
    assert [witness.name for witness in policy.witnesses] == NAMES
    assert policy.witnesses[0].url == "http://x1.example/prefix"
    assert policy.witnesses[1].url is None
    assert policy.witnesses[1].verifier == WITNESSES["X2"].verifier
    assert policy.quorum == "X-and-Y"
    for count in range(len(NAMES) + 1):
        for names in itertools.combinations(NAMES, count):
            enough = len({"X1", "X2", "X3"} & set(names)) >= 2 and len({"Y1", "Y2", "Y3"} & set(names)) >= 1
            assert policy.is_satisfied(names) == enough
            assert policy.satisfied_by(cosigned(*names)) == enough
            assert policy.cosigners(cosigned(*names)) == set(names)


def test_a_name_that_is_not_a_witness_counts_for_nothing() -> None:
    policy = Policy.parse(EXAMPLE)
    assert not policy.is_satisfied(["X-and-Y"])
    assert not policy.is_satisfied(["X-witnesses", "Y-witnesses"])
    assert not policy.is_satisfied(["none", "X1", "X1", "Y1"])


def test_a_quorum_of_none_and_of_one_witness() -> None:
    none = Policy.parse(f"quorum {NONE}")
    assert none.is_satisfied([])
    assert none.satisfied_by(cosigned())
    assert not none.satisfied_by("no note")
    one = Policy.parse(f"{LINES['X1']}\nquorum X1\n")
    assert one.satisfied_by(cosigned("Y1", "X1"))
    assert not one.satisfied_by(cosigned("Y1"))


def test_a_log_of_the_policy_must_have_signed() -> None:
    policy = Policy.parse(f"{LOG_LINE}\n{LINES['X1']}\nquorum X1\n")
    assert policy.satisfied_by(cosigned("X1"))
    other = parse_note(sign_checkpoint(Checkpoint(OTHER.name, 5, bytes(32)), OTHER))
    assert not policy.satisfied_by(cosigned("X1", note=other))
    unsigned = Note(NOTE.text, (WITNESSES["X1"].cosign(NOTE.text, 7),))
    assert not policy.satisfied_by(unsigned.encode())
    assert Policy.parse(f"{LINES['X1']}\nquorum X1\n").satisfied_by(unsigned.encode())


def test_a_wrong_cosignature_of_a_known_witness_refuses_the_note() -> None:
    policy = Policy.parse(EXAMPLE.replace("quorum X-and-Y", "quorum none"))
    good = WITNESSES["X1"].cosign(NOTE.text, 7)
    wrong = Signature(good.name, good.key_id, bytes(72))
    assert not policy.satisfied_by(Note(NOTE.text, (*NOTE.signatures, wrong)).encode())
    post_quantum = Signature(good.name, b"\xff\xff\xff\xff", bytes(2428))  # another key ID: an unknown key
    assert policy.satisfied_by(Note(NOTE.text, (*NOTE.signatures, post_quantum)).encode())


def test_octets_beyond_ascii_are_opaque() -> None:
    key = WITNESSES["X1"].verifier.vkey().encode()
    policy = Policy.parse(b"witness \xff\xe2\x84\xaa " + key + b"\n# \x80\nquorum \xff\xe2\x84\xaa")
    assert policy.is_satisfied([policy.witnesses[0].name])
    with pytest.raises(PolicyError, match="line 2"):
        Policy.parse(b"witness \xe2\x84\xaa " + key + b"\nquorum K")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no quorum"),
        ("\nquorum x", "line 2: no line above defines 'x'"),
        (f"quorum X1\n{LINES['X1']}", "line 1: no line above"),
        (f"{LINES['X1']}\nquorum X1\nquorum X1", "line 3: there is a quorum line already"),
        ("quorum none\nquorum none", "line 2: there is a quorum"),
        ("quorum", "line 1: a quorum is written"),
        ("quorum none none", "line 1: a quorum is written"),
        ("Quorum none", "line 1: 'Quorum' is none of"),
        ("quorum\u00a0none", "line 1: .* is none of"),
        ("quorum none\r\n", "line 1: there is a control character"),
        ("quorum none\n\x0c", "line 2: there is a control character"),
        ("# \x7f\nquorum none", "line 1: there is a control character"),
        ("log", "line 1: a log is written"),
        (f"{LOG_LINE} a b", "line 1: a log is written"),
        (f"{LOG_LINE}\n{LOG_LINE}", "line 2: the public key .* line above"),
        (f"log {WITNESSES['X1'].verifier.vkey()}", "line 1: .*0x01"),
        (f"witness W {LOG.verifier.vkey()}", "line 1: .*0x04"),
        ("witness W", "line 1: a witness is written"),
        (f"{LINES['X1']} a b", "line 1: a witness is written"),
        (f"{LINES['X1']}\n{LINES['X2'].replace('X2', 'X1', 1)}", "line 2: the name 'X1' is taken"),
        (f"{LINES['X1']}\n{LINES['X1'].replace('X1', 'Z', 1)}", "line 2: the public key"),
        (f"witness same {Cosigner('renamed', bytes([1] * 32)).verifier.vkey()}\n{LINES['X1']}", "line 2: the public key"),
        (LINES["X1"].replace("X1", "none", 1), "line 1: the name 'none' is taken"),
        (f"{LINES['X1']}\ngroup none any X1", "line 2: the name 'none' is taken"),
        (f"{LINES['X1']}\ngroup X1 any X1", "line 2: the name 'X1' is taken"),
        ("group g any", "line 1: a group is written"),
        ("group g any none", "line 1: no line above defines 'none'"),
        (f"group g any X1\n{LINES['X1']}", "line 1: no line above defines 'X1'"),
        ("group g any g", "line 1: no line above defines 'g'"),
        (f"{LINES['X1']}\ngroup g all X1 X1", "line 2: 'X1' is a member of a group already"),
        (f"{LINES['X1']}\ngroup g all X1\ngroup h all X1", "line 3: 'X1' is a member of a group already"),
        *[
            (f"{LINES['X1']}\ngroup g {k} X1", f"line 2: '{k}' is not all, any, or a number in 1..1")
            for k in ("0", "2", "-1", "01", "1.0", "ANY", "\u0661")
        ],
    ],
)  # fmt: skip
def test_a_malformed_policy_names_the_line(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        Policy.parse(text)


@given(st.binary() | st.lists(st.sampled_from(EXAMPLE.split())).map(" ".join) | st.text())
def test_anything_is_a_policy_or_a_policy_error(text: bytes | str) -> None:
    try:
        policy = Policy.parse(text)
    except PolicyError:
        return
    assert policy.quorum == NONE or policy.is_satisfied([witness.name for witness in policy.witnesses])


@given(st.permutations([LOG_LINE, *LINES.values()]))
def test_lines_of_logs_and_witnesses_come_in_any_order(lines: list[str]) -> None:
    policy = Policy.parse("\n".join([*lines, f"group g 4 {' '.join(NAMES)}", "quorum g"]))
    assert policy.is_satisfied(NAMES[:4])
    assert not policy.is_satisfied(NAMES[:3])


def test_a_policy_has_a_limit() -> None:
    with pytest.raises(PolicyError, match="over"):
        Policy.parse("#" * (MAX_POLICY_BYTES + 1))
