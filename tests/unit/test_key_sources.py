"""Keys from elsewhere than our own folder: a command, the environment; and the settings that say so."""

import os
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from goodstrace import key_changes
from goodstrace.note import Signer
from services.runtime.settings import load
from services.sealing import key_sources, key_text
from services.sealing.errors import LogKeyError
from services.sealing.key_command import CommandKeys, KeyCommand, KeyCommandError
from services.sealing.key_sources import EnvironmentKeys, configured_keys, variable
from services.sealing.keys import KeyFolder
from services.sealing.settings import KeySettings
from services.sealing.values import LogInfo
from tests.deadlines import DEADLINE_S

LOG = "goods/0"
ORIGIN = "test.local/0011/goods/0"
SEED = "5e" * 32
NEXT_SEED = "7a" * 32
PASSPHRASE = b"a passphrase of some length"
HOOK = """
import base64, pathlib, sys, time
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
def text(data): print(base64.b64encode(data).decode())
verb, log, *rest = sys.argv[1:]
keys = [Ed25519PrivateKey.from_private_bytes(bytes.fromhex(line)) for line in pathlib.Path({seeds!r}).read_text().split()]
if verb == "public":
    for key in keys: text(key.public_key().public_bytes_raw())
else:
    [key] = [key for key in keys if key.public_key().public_bytes_raw() == base64.b64decode(rest[0])]
    text(key.sign(sys.stdin.buffer.read()))
"""


def vkey(seed: str) -> str:
    return Signer(ORIGIN, bytes.fromhex(seed)).verifier.vkey()


def hook(folder: Path, text: str = HOOK, timeout_s: float = 20) -> CommandKeys:
    """A command that signs with the seeds in a file."""
    seeds, script = folder / "seeds", folder / "hook.py"
    if not seeds.exists():
        seeds.write_text(SEED)
    script.write_text(text.replace("{seeds!r}", repr(str(seeds))))
    return CommandKeys(KeyCommand([sys.executable, str(script)], timeout_s))


# -- the command -------------------------------------------------------------------------------------------------


def test_a_command_keeps_the_key_and_signs(tmp_path: Path) -> None:
    keys = hook(tmp_path)
    [key] = keys.find(LOG, ORIGIN, create=True)
    assert key.verifier.vkey() == vkey(SEED)
    assert key.verifier.is_valid(key.sign(b"any\x00message\n"), b"any\x00message\n")
    (tmp_path / "seeds").write_text(f"{SEED}\n{NEXT_SEED}\n")
    assert [each.verifier.vkey() for each in keys.find(LOG, ORIGIN, create=False)] == [
        vkey(SEED),
        vkey(NEXT_SEED),
    ]
    assert SEED not in repr(key)
    assert not keys.may_have_next(LOG)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit('the token is locked')", "status 1: the token is locked"),
        ("print('not base64!')", "something else than base64"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
    ],
)
def test_a_command_that_fails_is_to_be_asked_again(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(KeyCommandError, match=said) as caught:
        hook(tmp_path, script).find(LOG, ORIGIN, create=False)
    assert caught.value.retry


def test_a_command_is_handed_no_keys_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(LOG), SEED)
    monkeypatch.setenv("GOODSTRACE_KEY_PASSPHRASE", PASSPHRASE.decode())
    monkeypatch.setenv("PKCS11_PIN", "1234")
    said = """
import os, sys
sys.exit(" ".join(sorted(name for name in os.environ if "KEY" in name or "PIN" in name)))
"""
    with pytest.raises(KeyCommandError, match=r"status 1: PKCS11_PIN\Z"):
        hook(tmp_path, said).find(LOG, ORIGIN, create=False)


def test_a_command_that_cannot_be_run_is_to_be_asked_again(tmp_path: Path) -> None:
    keys = CommandKeys(KeyCommand([str(tmp_path / "absent")], 5))
    with pytest.raises(KeyCommandError, match="cannot be run"):
        keys.find(LOG, ORIGIN, create=False)


def test_a_command_without_the_key_wants_an_operator(tmp_path: Path) -> None:
    with pytest.raises(LogKeyError, match="has no key for the log goods/0"):
        hook(tmp_path, "").find(LOG, ORIGIN, create=True)
    with pytest.raises(LogKeyError, match="malformed public key"):
        hook(tmp_path, "print('AAAA')").find(LOG, ORIGIN, create=False)


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(600)
"""
    keys = hook(tmp_path, script, timeout_s=2)
    with pytest.raises(KeyCommandError, match="did not answer within 2 s"):
        keys.find(LOG, ORIGIN, create=False)
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}/stat").exists() and _state(pid) != "Z":
        assert time.monotonic() < until
        threading.Event().wait(0.01)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "Z"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("text(keys[0].sign(b'another message'))", LogKeyError),
        ("text(Ed25519PrivateKey.from_private_bytes(b'x' * 32).sign(sys.stdin.buffer.read()))", LogKeyError),
        ("text(b'short')", KeyCommandError),
        ("pass", KeyCommandError),
        ("text(keys[0].sign(b'')); text(keys[0].sign(b''))", KeyCommandError),
    ],
)
def test_no_signature_is_believed_before_it_is_verified(
    tmp_path: Path, answer: str, error: type[Exception]
) -> None:
    lines = HOOK.replace("text(key.sign(sys.stdin.buffer.read()))", answer)
    [key] = hook(tmp_path, lines).find(LOG, ORIGIN, create=False)
    with pytest.raises(error):
        key.sign(b"message")


# -- the environment ---------------------------------------------------------------------------------------------


class NoKeys:
    """Fails the test where a key is looked for that the environment has."""

    def find(self, log: str, origin: str, *, create: bool) -> Any:
        raise AssertionError(log)

    def may_have_next(self, log: str) -> bool:
        raise AssertionError(log)

    def settle(self, info: LogInfo) -> None:
        raise AssertionError(info.name)


@pytest.mark.parametrize(
    ("log", "name"),
    [("goods/0", "GOODS_0"), ("browse/12", "BROWSE_12"), ("root", "ROOT"), ("goods.v2/0", "GOODS_V2_0")],
)
def test_the_variable_of_a_log(log: str, name: str) -> None:
    assert variable(log) == f"GOODSTRACE_LOG_KEY_{name}"


@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_key_handed_in_as_hex_or_as_a_file(tmp_path: Path, passphrase: bytes | None) -> None:
    file = tmp_path / "mounted"
    file.write_text(key_text.encode(bytes.fromhex(SEED), passphrase))
    file.chmod(0o440)
    for value in (SEED, SEED.upper() + "\n", str(file)):
        keys = EnvironmentKeys(NoKeys(), {variable(LOG): value}, passphrase)
        [key] = keys.find(LOG, ORIGIN, create=False)
        assert key.verifier.vkey() == vkey(SEED)
        assert not keys.may_have_next(LOG)
        keys.settle(LogInfo(LOG, ORIGIN, vkey(SEED)))
        assert SEED not in repr(keys)


def test_logs_without_a_variable_have_their_keys_elsewhere(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys")
    keys = EnvironmentKeys(folder, {variable("browse/0"): SEED, "GOODSTRACE_LOG_NAME": "x"}, None)
    [key] = keys.find(LOG, ORIGIN, create=True)
    keys.settle(LogInfo(LOG, ORIGIN, key.verifier.vkey()))
    assert (tmp_path / "keys" / "goods-0.vkey").exists()
    assert not keys.may_have_next(LOG)
    folder.rotate(LOG)
    assert keys.may_have_next(LOG)


def test_a_next_key_in_the_environment_is_told_to_be_moved_once_it_signs() -> None:
    keys = EnvironmentKeys(NoKeys(), {variable(LOG): SEED, f"{variable(LOG)}_NEXT": NEXT_SEED}, None)
    old, new = keys.find(LOG, ORIGIN, create=False)
    change = key_changes.sign(log=LOG, height=1, size=1, previous="ab" * 32, time=1, old=old, new=new)
    with capture_logs() as logged:
        keys.settle(LogInfo(LOG, ORIGIN, vkey(SEED)))
        assert not logged
        keys.settle(LogInfo(LOG, ORIGIN, vkey(NEXT_SEED), (change,)))
    assert [line["variable"] for line in logged] == [variable(LOG)]
    assert SEED not in str(logged)


@pytest.mark.parametrize(
    "value", ["5e" * 31, "5e" * 33, "", "nonsense that might be a secret\x00", "/absent/secret"]
)
def test_a_wrong_value_is_not_told(value: str) -> None:
    keys = EnvironmentKeys(NoKeys(), {variable(LOG): value}, None)
    with pytest.raises(LogKeyError, match="GOODSTRACE_LOG_KEY_GOODS_0") as caught:
        keys.find(LOG, ORIGIN, create=False)
    assert not value or value not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_open_to_all_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mounted"
    file.write_text(SEED)
    file.chmod(0o604)
    with pytest.raises(LogKeyError, match="open to other users"):
        EnvironmentKeys(NoKeys(), {variable(LOG): str(file)}, None).find(LOG, ORIGIN, create=False)


# -- the settings ------------------------------------------------------------------------------------------------


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in list(os.environ):
        if name.startswith(("GOODSTRACE_KEY_", key_sources.PREFIX)):
            monkeypatch.delenv(name)
    return monkeypatch.setenv


def test_the_first_source_that_is_configured_counts(setting: Any, tmp_path: Path) -> None:
    setting("GOODSTRACE_KEY_DIR", str(tmp_path / "keys"))
    [key] = configured_keys().find(LOG, ORIGIN, create=True)
    assert stat.S_IMODE((tmp_path / "keys" / "goods-0.key").stat().st_mode) == 0o600
    setting(variable(LOG), SEED)
    assert configured_keys().find(LOG, ORIGIN, create=False)[0].verifier.vkey() == vkey(SEED)
    hook(tmp_path)
    (tmp_path / "seeds").write_text(NEXT_SEED)
    setting("GOODSTRACE_KEY_COMMAND", f"{sys.executable} '{tmp_path / 'hook.py'}'")
    assert configured_keys().find(LOG, ORIGIN, create=False)[0].verifier.vkey() == vkey(NEXT_SEED)
    assert key.verifier.vkey() != vkey(SEED)


def test_the_passphrase_from_a_variable_or_a_file(setting: Any, tmp_path: Path) -> None:
    assert load(KeySettings).passphrase() is None
    (tmp_path / "passphrase").write_text(PASSPHRASE.decode() + "\n")
    setting("GOODSTRACE_KEY_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    assert load(KeySettings).passphrase() == PASSPHRASE
    setting("GOODSTRACE_KEY_DIR", str(tmp_path / "keys"))
    configured_keys().find(LOG, ORIGIN, create=True)
    assert key_text.is_encrypted((tmp_path / "keys" / "goods-0.key").read_bytes())


@pytest.mark.parametrize(
    "wrong",
    [
        {"GOODSTRACE_KEY_PASSPHRASE": "too short"},
        {"GOODSTRACE_KEY_PASSPHRASE_FILE": "/absent/file"},
        {"GOODSTRACE_KEY_PASSPHRASE_FILE": os.devnull},
        {"GOODSTRACE_KEY_COMMAND": "sign 'with"},
        {"GOODSTRACE_KEY_COMMAND_TIMEOUT_MS": "0"},
        {"GOODSTRACE_KEY_PASSPHRASE": PASSPHRASE.decode(), "GOODSTRACE_KEY_PASSPHRASE_FILE": os.devnull},
    ],
)
def test_wrong_settings_end_with_2_and_show_no_secret(
    setting: Any, wrong: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in wrong.items():
        setting(name, value)
    with pytest.raises(SystemExit) as ended:
        configured_keys()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert list(wrong)[-1] in said
    assert not any(value in said for name, value in wrong.items() if name.endswith("PASSPHRASE"))


def test_no_repr_shows_the_passphrase(setting: Any) -> None:
    setting("GOODSTRACE_KEY_PASSPHRASE", PASSPHRASE.decode())
    settings = load(KeySettings)
    assert PASSPHRASE.decode() not in f"{settings!r} {settings} {settings.model_dump()}"
