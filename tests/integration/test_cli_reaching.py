"""What the command line says where a service is not reached: against ports that really listen, speak TLS, or do not."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest

from goodstrace.cli.main import main
from goodstrace.cli.reaching import hints, trouble
from goodstrace.cli.tls import AskedTarget
from goodstrace.connections import SYSTEM, Tls
from goodstrace.errors import CallError
from tests.certificates import World
from tests.unit.test_log_keys import GOODS


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@contextmanager
def listening(world: World | None, protocols: tuple[str, ...] = ("h2",)) -> Iterator[int]:
    """Accept whoever comes, by TLS where certificates are given, else answering as an HTTP server does to what it does not know."""
    context = None
    if world is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(world.server.cert, world.server.key)
        context.set_alpn_protocols(list(protocols))
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def serve() -> None:
            while True:
                try:
                    plain, _ = server.accept()
                    with plain if context is None else context.wrap_socket(plain, server_side=True) as one:
                        one.settimeout(2)
                        one.recv(1024)
                        one.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                except ssl.SSLError:
                    continue
                except OSError:
                    if server.fileno() < 0:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def nobody() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


def test_where_nobody_listens_it_asks_whether_it_is_up() -> None:
    text = f"127.0.0.1:{nobody()}"
    said = trouble(AskedTarget(text, "--query", SYSTEM), is_grpc=True)
    assert said == f"nothing listens at {text}: is it up (`make status`)? Another address: --query"


def test_a_host_that_nobody_knows_is_named() -> None:
    said = trouble(AskedTarget("https://nowhere.invalid:1", "--url", SYSTEM), is_grpc=False)
    assert said is not None
    assert "nobody knows the host of https://nowhere.invalid:1" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError("timed out"), "is not reached (timed out)"),
        (OSError(101, "Network is unreachable"), "is not reached (Network is unreachable)"),
        (OSError(113, "No route to host"), "is not reached (No route to host)"),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "cannot be looked up now",
        ),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "nobody knows the host"),
        (ConnectionRefusedError(111, "Connection refused"), "nothing listens"),
    ],
)
def test_only_what_is_refused_listens_nowhere_and_make_is_for_this_machine(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", failing)
    told = trouble(AskedTarget("trace.shop.example:443", "--query", SYSTEM), is_grpc=True)
    assert told is not None
    assert said in told
    assert ("nothing listens" in told) is isinstance(error, ConnectionRefusedError)
    assert "make status" not in told


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".com"])
def test_a_host_that_is_no_name_is_said_to_be_that(host: str) -> None:
    told = trouble(AskedTarget(f"{host}:50051", "--query", SYSTEM), is_grpc=True)
    assert told is not None
    assert "a host that is no name" in told


def test_tls_that_was_not_asked_for_is_named(world: World) -> None:
    with listening(world) as port:
        said = trouble(AskedTarget(f"127.0.0.1:{port}", "--query", SYSTEM), is_grpc=True)
    assert said == f"127.0.0.1:{port} speaks TLS: say https://127.0.0.1:{port}"


def test_a_ca_that_is_not_named_is_asked_for(world: World) -> None:
    with listening(world) as port:
        text = f"https://127.0.0.1:{port}"
        said = trouble(AskedTarget(text, "--query", SYSTEM), is_grpc=True)
        assert said is not None
        assert said.endswith("name its CA with --ca-file")
        assert trouble(AskedTarget(text, "--query", Tls(world.ca)), is_grpc=True) is None


def test_a_port_of_another_protocol_is_named(world: World) -> None:
    with listening(world, ("http/1.1",)) as port:
        asked = AskedTarget(f"https://127.0.0.1:{port}", "--grpc", Tls(world.ca))
        said = trouble(asked, is_grpc=True)
        assert said == f"https://127.0.0.1:{port} does not speak gRPC: another port with --grpc"
        assert trouble(asked, is_grpc=False) is None


def test_a_port_without_tls_is_named(world: World) -> None:
    with listening(None) as port:
        asked = AskedTarget(f"https://127.0.0.1:{port}", "--url", Tls(world.ca))
        assert trouble(asked, is_grpc=False) == f"https://127.0.0.1:{port} does not speak TLS"
        assert trouble(AskedTarget(f"http://127.0.0.1:{port}", "--url", SYSTEM), is_grpc=False) is None


def test_what_a_service_answered_itself_has_no_hint() -> None:
    asked = [AskedTarget(f"127.0.0.1:{nobody()}", "--query", SYSTEM)]
    assert hints(CallError("UNAVAILABLE", "the store is away", reason="DEPENDENCY_UNAVAILABLE"), asked) == []
    assert hints(CallError("NOT_FOUND", "no such log"), asked) == []
    assert (
        "another service listens at 127.0.0.1:"
        in hints(CallError("UNIMPLEMENTED", "Method not found!"), asked)[0]
    )
    assert "accounts are off" in hints(CallError("UNIMPLEMENTED", "Method not found!"), asked)[0]
    assert len(hints(_away(), asked)) == 1


def _away() -> CallError:
    error = CallError("UNAVAILABLE", "failed to connect")
    error.__cause__ = grpc.RpcError()
    return error


def test_only_where_the_failed_call_went_is_looked_at(world: World) -> None:
    """The collector's HTTP port is well, and is not blamed for not speaking gRPC; nor is a gRPC port for an HTTP call."""
    nowhere = f"127.0.0.1:{nobody()}"
    with listening(world, ("http/1.1",)) as port:
        asked = [
            AskedTarget(f"https://127.0.0.1:{port}", "--url", Tls(world.ca)),
            AskedTarget(nowhere, "--grpc", SYSTEM),
        ]
        [said] = hints(_away(), asked)
        assert f"nothing listens at {nowhere}" in said
        assert hints(CallError("UNAVAILABLE", "ConnectError"), asked) == []


@pytest.mark.parametrize(("command", "is_named"), [("trace", False), ("browses", True)])
def test_the_audit_service_is_named_by_who_asks_it(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    *,
    is_named: bool,
) -> None:
    (tmp_path / "own.vkey").write_text(GOODS + "\n")
    query, audit = f"127.0.0.1:{nobody()}", f"127.0.0.1:{nobody()}"
    options = ["--query", query, "--audit", audit, "--memory", str(tmp_path / "memory")]
    options += ["--log-keys", str(tmp_path / "own.vkey")]
    monkeypatch.setattr("sys.argv", ["goodstrace", command, "urn:x:1", *options])
    with pytest.raises(SystemExit):
        main()
    told = capfd.readouterr().err
    assert f"nothing listens at {query}" in told
    assert (f"nothing listens at {audit}" in told) is is_named


@pytest.mark.parametrize("command", ["trace", "goods"])
def test_the_command_says_it_beside_what_grpc_says(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    world: World,
) -> None:
    (tmp_path / "own.vkey").write_text(GOODS + "\n")
    with listening(world) as port:
        text = f"127.0.0.1:{port}"
        options = [
            "--query",
            text,
            "--audit",
            text,
            "--log-keys",
            str(tmp_path / "own.vkey"),
            "--memory",
            str(tmp_path / "memory"),
        ]
        monkeypatch.setattr("sys.argv", ["goodstrace", command, "urn:x:1", *options])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 1
    told = capfd.readouterr().err
    assert told.count(f"{text} speaks TLS: say https://{text}") == 1


def test_a_url_without_a_scheme_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document = tmp_path / "document.jsonld"
    document.write_text("{}")
    for text in (
        "127.0.0.1:28180",
        "https:",
        "ftp://127.0.0.1:1",
        "http://[::1",
        "http://127.0.0.1:abc",
        "http://h:0",
        "http://a..b/",
        f"http://{'a' * 70}.example",
    ):
        monkeypatch.setattr("sys.argv", ["goodstrace", "capture", "--url", text, str(document)])
        with pytest.raises(SystemExit):
            main()
        assert f"{text!r} is no URL of a service: https://host:port" in capsys.readouterr().err
