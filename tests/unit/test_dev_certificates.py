"""Development certificates: what they are for, how long, and that they are not overwritten."""

import datetime as dt
import json
import ssl
import stat
import subprocess
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from goodstrace.certificate_files import CA, SERVER, certificate_path, ensure, key_path
from goodstrace.cli.main import cli
from goodstrace.dev_certificates import LOCAL_NAMES, Pair, make_ca, make_client, make_server, names_in
from goodstrace.errors import CredentialsError

NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


def verify(ca: Pair, leaf: Pair, name: str, now: dt.datetime = NOW) -> None:
    """Build the chain as another implementation does. Raises: VerificationError."""
    store = Store([x509.load_pem_x509_certificate(ca.certificate)])
    subject = x509.DNSName(name)
    verifier = PolicyBuilder().store(store).time(now).build_server_verifier(subject)
    verifier.verify(x509.load_pem_x509_certificate(leaf.certificate), [])


def test_a_server_is_believed_by_its_names_while_it_is_valid() -> None:
    ca = make_ca(NOW, ["localhost", "trace.example"])
    leaf = make_server(ca, NOW, ["localhost", "127.0.0.1", "trace.example"])
    verify(ca, leaf, "trace.example")
    verify(ca, leaf, "trace.example", NOW + 29 * DAY)
    for name, now in (
        ("other.example", NOW),
        ("trace.example", NOW + 31 * DAY),
        ("trace.example", NOW - DAY),
    ):
        with pytest.raises(VerificationError):
            verify(ca, leaf, name, now)
    assert names_in(leaf.certificate) == ("localhost", "trace.example", "127.0.0.1")


def test_the_ca_can_speak_for_no_other_host() -> None:
    ca = make_ca(NOW, LOCAL_NAMES)
    with pytest.raises(VerificationError):
        verify(ca, make_server(ca, NOW, ["bank.example"]), "bank.example")


def test_a_client_has_its_uri_and_cannot_serve() -> None:
    ca = make_ca(NOW, LOCAL_NAMES)
    leaf = x509.load_pem_x509_certificate(make_client(ca, NOW, "a", "spiffe://x.example/a").certificate)
    usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in usages] == [x509.ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string]
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def run(*arguments: str) -> tuple[int, str]:
    with warnings.catch_warnings():
        done = CliRunner().invoke(cli, ["dev-certs", *arguments])
    return done.exit_code, done.output + str(done.exception or "")


def test_the_command_makes_files_once_and_says_how_they_are_used(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    code, said = run(str(folder), "--name", "trace.example", "--client", "shop=spiffe://x.example/shop")
    assert code == 0
    assert f"GOODSTRACE_TLS_CERT_FILE={folder}/server.pem" in said
    assert "trace.example" in names_in((folder / "server.pem").read_bytes())
    assert names_in((folder / "shop.pem").read_bytes()) == ("spiffe://x.example/shop",)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.key")} == {0o600}
    for name in (SERVER, "shop"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            folder / f"{name}.pem", folder / f"{name}.key"
        )
        command = ["openssl", "verify", "-CAfile", folder / "ca.pem", folder / f"{name}.pem"]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, said = run(str(folder))
    assert code != 0
    assert "not overwritten" in said
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("client", ["shop", "shop=", "a/b=spiffe://x", "ca=spiffe://x", "=spiffe://x"])
def test_a_client_that_cannot_be_is_refused(tmp_path: Path, client: str) -> None:
    assert run(str(tmp_path / "certs"), "--client", client)[0] != 0
    assert not (tmp_path / "certs").exists()


def test_json_lists_the_files(tmp_path: Path) -> None:
    code, said = run(str(tmp_path), "--json")
    assert code == 0
    assert len(json.loads(said)["files"]) == 4


def test_certificates_are_renewed_near_their_end_and_the_ca_is_kept_while_it_lasts(tmp_path: Path) -> None:
    def held() -> tuple[bytes, bytes]:
        return certificate_path(tmp_path, CA).read_bytes(), certificate_path(tmp_path, SERVER).read_bytes()

    assert ensure(tmp_path, NOW)
    first = held()
    assert not ensure(tmp_path, NOW + 22 * DAY)
    assert ensure(tmp_path, NOW + 24 * DAY)
    second = held()
    assert (second[0], second[1]) == (first[0], held()[1])
    assert second[1] != first[1]
    assert ensure(tmp_path, NOW + 61 * DAY)  # the CA would end before what it signs
    assert held()[0] != first[0]
    assert ensure(tmp_path, NOW + 61 * DAY, [*LOCAL_NAMES, "more.example"])
    key_path(tmp_path, SERVER).unlink()
    assert ensure(tmp_path, NOW + 61 * DAY)


def test_a_ca_that_is_kept_bounds_what_it_signs(tmp_path: Path) -> None:
    """Who renews by himself tells nobody of another CA: what he makes ends with the one there is, and no later."""

    def end(name: str) -> dt.datetime:
        return x509.load_pem_x509_certificate(
            certificate_path(tmp_path, name).read_bytes()
        ).not_valid_after_utc

    with pytest.raises(CredentialsError, match="a new one is wanted"):
        ensure(tmp_path, NOW, keep_ca=True)
    assert ensure(tmp_path, NOW)
    first = certificate_path(tmp_path, CA).read_bytes()
    made = [day for day in range(90) if ensure(tmp_path, NOW + day * DAY, keep_ca=True)]
    assert made == [21, 42, 63]
    assert certificate_path(tmp_path, CA).read_bytes() == first
    assert end(CA) - DAY < end(SERVER) <= end(CA)
    assert ensure(tmp_path, NOW + 80 * DAY, [*LOCAL_NAMES, "one.localhost"], keep_ca=True)
    for day, names in ((90, LOCAL_NAMES), (80, [*LOCAL_NAMES, "audit"])):
        with pytest.raises(CredentialsError, match="a new one is wanted"):
            ensure(tmp_path, NOW + day * DAY, names, keep_ca=True)
    assert certificate_path(tmp_path, CA).read_bytes() == first


def test_names_that_the_ca_may_not_sign_for_want_another_ca(tmp_path: Path) -> None:
    """A certificate that its CA's constraints forbid would be made, and refused by every client."""
    assert ensure(tmp_path, NOW)
    before = certificate_path(tmp_path, CA).read_bytes()
    assert ensure(tmp_path, NOW, [*LOCAL_NAMES, "audit"])
    assert certificate_path(tmp_path, CA).read_bytes() != before
    command = ["openssl", "verify", "-attime", str(int(NOW.timestamp())), "-verify_hostname", "audit"]
    files = ["-CAfile", certificate_path(tmp_path, CA), certificate_path(tmp_path, SERVER)]
    assert subprocess.run([*command, *files], check=False, capture_output=True).returncode == 0
    before = certificate_path(tmp_path, CA).read_bytes()
    assert ensure(tmp_path, NOW, [*LOCAL_NAMES, "one.audit"])  # below a name that it may sign for
    assert certificate_path(tmp_path, CA).read_bytes() == before


def test_the_command_renews_as_often_as_it_is_run(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    for said in ("certificates made", "the certificates are good"):
        assert run(str(folder), "--renew", "--name", "audit", "--name", "query") == (0, f"{folder}: {said}\n")
    assert set(names_in((folder / "server.pem").read_bytes())) == {*LOCAL_NAMES, "audit", "query"}
    assert json.loads(run(str(folder), "--renew", "--name", "audit", "--json")[1])["made"] is False
    assert run(str(folder), "--renew", "--keep-ca", "--name", "audit")[0] == 0
    assert run(str(tmp_path / "none"), "--renew", "--keep-ca")[0] != 0
    assert run(str(tmp_path / "none"), "--keep-ca")[0] == 2
    assert run(str(folder), "--renew", "--client", "shop=spiffe://x.example/shop")[0] != 0
