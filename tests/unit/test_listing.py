"""What the list of logs and a log's keys say."""

import msgspec

from goodstrace import key_changes
from goodstrace.note import Signer
from services.sealing.listing import key_history, listed
from services.sealing.values import LogInfo

ORIGIN = "example.com/a1/goods/0"
OLD, NEW = Signer(ORIGIN, b"o" * 32), Signer(ORIGIN, b"n" * 32)


def test_a_log_that_never_changed_its_key() -> None:
    info = LogInfo("goods/0", ORIGIN, OLD.verifier.vkey())
    assert key_history(info) == [{"vkey": info.vkey, "from_height": 0}]
    assert listed(info, "http://x/logs/goods/0") == {
        "name": "goods/0",
        "origin": ORIGIN,
        "vkey": info.vkey,
        "url": "http://x/logs/goods/0",
    }


def test_each_later_key_comes_with_the_statement_that_names_it() -> None:
    change = key_changes.sign(
        log="goods/0", height=7, size=70, previous="ab" * 32, time=1_700_000_000_000, old=OLD, new=NEW
    )
    info = LogInfo("goods/0", ORIGIN, NEW.verifier.vkey(), (change,))
    shown = msgspec.json.decode(msgspec.json.encode(key_history(info)))
    assert [(each["vkey"], each["from_height"]) for each in shown] == [
        (OLD.verifier.vkey(), 0),
        (NEW.verifier.vkey(), 7),
    ]
    # What a client gets of it, sorted as RFC 8785 wants, is the statement that both keys signed.
    assert key_changes.parse(msgspec.json.encode(shown[1]["change"], order="sorted")) == change
