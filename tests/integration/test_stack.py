"""The local stack itself: on free ports, started, stopped, crashed and started again."""

import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pymongo import MongoClient

from deploy.processes import Daemon, DidNotStart, PortTaken, ProcessId, free_port, is_listening, stop_all
from deploy.stack import Stack, main
from tests.conftest import Names
from tests.deadlines import DEADLINE_S


def _write(stack: Stack, names: Names, value: str, *, new_topic: bool) -> None:
    """Write one record and one document, both acknowledged."""
    if new_topic:
        admin = AdminClient({"bootstrap.servers": stack.kafka_bootstrap_servers})
        made = admin.create_topics([NewTopic(names.topic("kept"), num_partitions=1, replication_factor=1)])
        made[names.topic("kept")].result(30)
    producer = Producer({"bootstrap.servers": stack.kafka_bootstrap_servers, "acks": "all"})
    producer.produce(names.topic("kept"), value.encode())
    assert producer.flush(30) == 0
    with MongoClient[dict[str, object]](stack.mongodb_uri) as client:
        client[names.database]["kept"].insert_one({"_id": value})


def _read(stack: Stack, names: Names, count: int) -> tuple[list[str], list[object]]:
    """Return the first `count` records and all documents."""
    consumer = Consumer(
        {
            "bootstrap.servers": stack.kafka_bootstrap_servers,
            "group.id": names.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([names.topic("kept")])
    records = [(message.value() or b"").decode() for message in consumer.consume(count, timeout=DEADLINE_S)]
    consumer.close()
    with MongoClient[dict[str, object]](stack.mongodb_uri) as client:
        return records, [document["_id"] for document in client[names.database]["kept"].find().sort("_id")]


def test_data_outlive_stop_and_kill(own_stack: Stack, names: Names) -> None:
    own_stack.start()
    _write(own_stack, names, "1", new_topic=True)
    own_stack.stop()
    assert own_stack.kafka is not None
    assert not is_listening(own_stack.kafka.port)

    own_stack.start()
    _write(own_stack, names, "2", new_topic=False)
    own_stack.kill()
    assert own_stack.kafka.daemon.pid_file.exists(), "a crash leaves its pid file"

    own_stack.start()
    assert _read(own_stack, names, 2) == (["1", "2"], ["1", "2"])


def test_a_second_start_changes_nothing(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert stack.kafka is not None
    assert stack.store is not None
    before = (stack.kafka.daemon.process, stack.store.daemon.process)
    again = Stack(
        stack.run_dir,
        stack.kafka.port,
        stack.store.port,
        controller_port=stack.kafka.controller_port,
        report=print,
    )
    again.start()
    assert (stack.kafka.daemon.process, stack.store.daemon.process) == before
    assert "kafka: already running" in capsys.readouterr().out


def test_a_taken_port_is_named_with_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
        monkeypatch.setenv("MONGODB_URI", "mongodb://127.0.0.1:1")
        monkeypatch.setenv("GOODSTRACE_KAFKA_PORT", str(port))
        monkeypatch.setenv("GOODSTRACE_RUN_DIR", str(tmp_path))
        assert main(["up", "--stores-only"]) == 1
    said = capfd.readouterr().err
    assert f"needs port {port}" in said
    assert f"(pid {os.getpid()})" in said


def test_given_servers_are_used_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("MONGODB_URI", "mongodb://someone:secret@127.0.0.1:1")
    monkeypatch.setenv("GOODSTRACE_RUN_DIR", str(tmp_path))
    assert main(["up", "--stores-only"]) == 0
    assert not (tmp_path / "pids").exists()
    assert "secret" not in capfd.readouterr().out
    for action, blanks in (("down", ": "), ("status", "       ")):
        main([action])
        said = capfd.readouterr().out
        assert f"kafka{blanks}not ours (KAFKA_BOOTSTRAP_SERVERS is set)\n" in said
        assert f"store{blanks}not ours (MONGODB_URI is set)\n" in said


def test_a_port_that_is_no_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GOODSTRACE_MONGO_PORT", "many")
    assert main(["status"]) == 1
    assert "GOODSTRACE_MONGO_PORT: 'many' is no port number" in capfd.readouterr().err


def test_a_server_that_ends_shows_the_end_of_its_log(tmp_path: Path) -> None:
    code = "import sys; print('the reason', file=sys.stderr); sys.exit(3)"
    daemon = Daemon("short", [sys.executable, "-c", code], tmp_path, ports=())
    daemon.start()
    with pytest.raises(DidNotStart, match="the reason"):
        daemon.wait_ready(lambda: "it never is", timeout_s=30)
    assert daemon.process is None


def _not_on(daemon: Daemon) -> str:
    return "" if "on" in daemon.log.read_text() else "it is not on"


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); signal.pause()"
    said: list[str] = []
    daemon = Daemon("deaf", [sys.executable, "-c", code], tmp_path, ports=(), report=said.append)
    daemon.start()
    daemon.wait_ready(partial(_not_on, daemon), timeout_s=30)
    daemon.stop(timeout_s=0.2)
    assert daemon.process is None
    assert "deaf: did not stop in 0 s, killing it" in said


def test_several_are_asked_to_stop_at_once(tmp_path: Path) -> None:
    """Each of them ends only once the other was asked, too."""
    code = (
        "import pathlib, signal, sys, time\n"
        "def asked(*_):\n"
        "    pathlib.Path(sys.argv[1]).touch()\n"
        "    while not pathlib.Path(sys.argv[2]).exists(): time.sleep(0.01)\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, asked); print('on', flush=True); signal.pause()"
    )
    said: list[str] = []
    pair = [
        Daemon(name, [sys.executable, "-c", code, *paths], tmp_path, ports=(), report=said.append)
        for name, paths in (
            ("one", (str(tmp_path / "one"), str(tmp_path / "two"))),
            ("two", (str(tmp_path / "two"), str(tmp_path / "one"))),
        )
    ]
    for each in pair:
        each.start()
        each.wait_ready(partial(_not_on, each), timeout_s=DEADLINE_S)
    said.clear()
    stop_all(pair)
    assert [each.process for each in pair] == [None, None]
    assert sorted(said) == ["one: stopped", "two: stopped"]


def test_the_pid_of_another_process_is_left_alone(tmp_path: Path) -> None:
    daemon = Daemon("old", ["true"], tmp_path, ports=())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        identity = ProcessId.of(stranger.pid)
        assert identity is not None
        daemon.pid_file.parent.mkdir(parents=True)
        stale = {"pid": identity.pid, "start_ticks": identity.start_ticks - 1, "boot_id": identity.boot_id}
        daemon.pid_file.write_text(json.dumps(stale))
        assert daemon.process is None
        daemon.stop()
        daemon.kill()
        assert identity.is_running()
        stranger.communicate(b"\n")
        assert stranger.returncode == 0


def test_a_broken_pid_file_counts_as_not_running(tmp_path: Path) -> None:
    daemon = Daemon("old", ["true"], tmp_path, ports=())
    daemon.pid_file.parent.mkdir(parents=True)
    for text in ("", "{", "[]", '{"pid": 1}', "7"):
        daemon.pid_file.write_text(text)
        assert daemon.process is None


def test_a_port_is_given_once() -> None:
    """What it was given to may not have begun to listen."""
    ports = [free_port() for _ in range(300)]
    assert len(set(ports)) == len(ports)


def test_a_free_port_is_not_taken() -> None:
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(PortTaken, match=str(port)):
            Daemon("next", ["true"], Path("unused"), ports=(port,)).start()
