"""Servers as child processes: started once, found again by pid file, stopped by pid, never mixed up with a stranger.

Linux only: a process is known by its pid together with its start time in clock ticks and the machine's boot id, all
from /proc, so that a pid which the kernel gave to somebody else is never signalled.
"""

import contextlib
import errno
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
POLL_S = 0.05
STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 20
MAX_LOG_BYTES = 10 * 1024 * 1024
_TCP_LISTEN = "0A"
# Ports below the kernel's ephemeral range: no outgoing connection takes one between the choice and its use.
_FREE_PORTS = range(15_000, 32_000)
_GIVEN: set[int] = set()


class StackError(Exception):
    """The stack could not do what was asked; the message says what and, where known, what to do.

    PortTaken      another process listens on a port that a server needs
    DidNotStart    a server ended, or was not ready in time; carries the end of its log
    ToolMissing    a program or file that `make install` brings is not there
    """


class PortTaken(StackError):
    """Another process listens on a port that a server needs."""


class DidNotStart(StackError):
    """A server ended before it was ready, or was not ready in time."""


class ToolMissing(StackError):
    """A program or file that the stack runs is not there."""


Report = Callable[[str], None]

# What this very process started: kept until it has ended, so that no zombie is left, whichever Daemon stops it.
_children: dict[int, subprocess.Popen[bytes]] = {}


def silent(_line: str) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class ProcessId:
    """One process of one boot of this machine."""

    pid: int
    start_ticks: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Return the identity of the running process `pid`, None where there is none or it is a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
            threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
            boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The command name (field 2) may hold blanks and brackets: the fields after it start behind the last bracket.
        after_name = stat.rpartition(")")[2].split()
        state, start_ticks = after_name[0], int(after_name[19])
        # A killed process whose first thread is a zombie still holds its ports until its other threads are gone.
        return None if state in "ZX" and threads <= 1 else cls(pid, start_ticks, boot_id)

    def is_running(self) -> bool:
        """Tell whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and what it started; nothing when it has ended or the pid is another's."""
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


def port_from(environment: Mapping[str, str], name: str, default: int) -> int:
    """Return the TCP port that a variable names, `default` where it is unset or empty. Raises StackError."""
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise StackError(f"{name}: {text!r} is no port number")
    return int(text)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 on which nothing listens at the moment, and that this process was not given before.

    Processes of pytest-xdist have each their own share: a port of a server that is stopped and started again, or has not begun to listen, is given to no other meanwhile.
    """
    worker, workers = (os.environ.get(f"PYTEST_XDIST_WORKER{each}", "") for each in ("", "_COUNT"))
    mine = _FREE_PORTS[int(worker.removeprefix("gw")) :: int(workers)] if worker and workers else _FREE_PORTS
    for port in random.sample(mine, len(mine)):
        if port not in _GIVEN and not is_listening(port) and not _bind_fails(port):
            _GIVEN.add(port)
            return port
    raise PortTaken(f"no free port between {_FREE_PORTS.start} and {_FREE_PORTS.stop}")


def is_listening(port: int) -> bool:
    """Tell whether a TCP connection to 127.0.0.1:`port` is accepted."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def check_port(port: int, used_by: str) -> None:
    """Raise PortTaken, with the listening process where it is visible, unless `port` can be bound."""
    if _bind_fails(port):
        raise PortTaken(
            f"{used_by} needs port {port}, but {_listener(port)} listens there: "
            "stop that process, or choose another port (see `make help`)"
        )


def _bind_fails(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of a former server in TIME_WAIT are no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def _listener(port: int) -> str:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(table).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _TCP_LISTEN and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        if inodes & _open_files(process / "fd"):
            return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return "another process"


def _reap() -> None:
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            _children.pop(pid, None)  # another thread may have seen it, too


def _open_files(folder: Path) -> set[str]:
    names: set[str] = set()
    with contextlib.suppress(OSError):  # it ended, or is another user's
        for file in list(folder.iterdir()):
            with contextlib.suppress(OSError):  # it was closed since
                names.add(str(file.readlink()))
    return names


@dataclass
class Daemon:
    """One server process with its pid file and log, in a session of its own so that Ctrl-C does not reach it.

    Args:
        name: short name for messages, the pid file and the log.
        command: program and arguments.
        run_dir: folder for `pids/<name>.json` and `logs/<name>.log`.
        ports: the TCP ports of 127.0.0.1 that it will listen on.
        environment: added to this process's environment.
        own_log: a log file that the server writes by itself, shown with the other on failure.
    """

    name: str
    command: Sequence[str]
    run_dir: Path
    ports: Sequence[int]
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    own_log: Path | None = None
    report: Report = silent

    @property
    def log(self) -> Path:
        """The file that takes the server's standard output and error."""
        return self.run_dir / "logs" / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """The JSON file that names the running process."""
        return self.run_dir / "pids" / f"{self.name}.json"

    @property
    def process(self) -> ProcessId | None:
        """The running process, None when it does not run; a stale pid file counts as not running."""
        try:
            recorded = ProcessId(**json.loads(self.pid_file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return recorded if recorded.is_running() else None

    def start(self) -> bool:
        """Start the server unless it runs; its readiness is another matter (`wait_ready`).

        Returns: True when started now, False when it was running already.
        Raises: PortTaken, ToolMissing.
        """
        running = self.process
        if running:
            self.report(f"{self.name}: already running (pid {running.pid})")
            return False
        self.check_ports()
        for file in (self.log, self.pid_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        self._rotate_log()
        with self.log.open("ab") as log:
            try:
                child = subprocess.Popen(
                    list(self.command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.cwd,
                    env={**os.environ, **self.environment},
                    start_new_session=True,
                )
            except FileNotFoundError as error:
                raise ToolMissing(
                    f"{self.name}: {self.command[0]} is not there: run `make install`"
                ) from error
        _children[child.pid] = child
        self._record(child.pid)
        return True

    def check_ports(self) -> None:
        """Raise PortTaken unless all its ports can be bound."""
        for port in self.ports:
            check_port(port, self.name)

    def wait_ready(self, not_ready: Callable[[], str], timeout_s: float) -> None:
        """Wait until `not_ready()` returns the empty string; else it returns what is waited for.

        Raises: DidNotStart when the process ends first or `timeout_s` seconds have passed, with the end of its log.
        """
        began = last_said = time.monotonic()
        while reason := not_ready():
            now = time.monotonic()
            if self.process is None:
                _reap()
                raise DidNotStart(f"{self.name} ended before it was ready ({reason}){self.tail()}")
            if now - began > timeout_s:
                raise DidNotStart(f"{self.name} is not ready after {timeout_s:.0f} s ({reason}){self.tail()}")
            if now - last_said > 5:
                self.report(f"{self.name}: waiting, {reason}")
                last_said = now
            time.sleep(POLL_S)
        self.report(f"{self.name}: ready after {time.monotonic() - began:.1f} s")

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask the server to end (SIGTERM), wait, and end it (SIGKILL) after `timeout_s` seconds, saying so."""
        process = self.process
        if process is None:
            self.report(f"{self.name}: not running")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)
            if not self._wait_end(process, timeout_s):
                self.report(f"{self.name}: did not stop in {timeout_s:.0f} s, killing it")
                process.signal_group(signal.SIGKILL)
                self._wait_end(process, STOP_TIMEOUT_S)
            self.report(f"{self.name}: stopped")
        _reap()
        self.pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """End the server by SIGKILL as a crash would: its pid file, locks and open files stay as they are."""
        process = self.process
        if process is not None:
            process.signal_group(signal.SIGKILL)
            self._wait_end(process, STOP_TIMEOUT_S)
            self._wait_ports(STOP_TIMEOUT_S)
        _reap()

    def tail(self) -> str:
        """Return the last lines of the server's logs, each file under its name; empty when there is none."""
        shown = ""
        for file in filter(None, (self.log, self.own_log)):
            if file.exists():
                lines = file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
                shown += f"\n--- the end of {file}:\n" + "\n".join(lines) if lines else ""
        return shown

    def _record(self, pid: int) -> None:
        process = ProcessId.of(pid)
        if process is None:
            _reap()
            raise DidNotStart(f"{self.name} ended at once{self.tail()}")
        scratch = self.pid_file.with_suffix(".new")
        scratch.write_text(json.dumps(asdict(process)))
        scratch.replace(self.pid_file)

    def _wait_end(self, process: ProcessId, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while process.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _wait_ports(self, timeout_s: float) -> None:
        """Wait until its ports are free: what it started may take a moment longer to end than itself."""
        deadline = time.monotonic() + timeout_s
        while any(map(_bind_fails, self.ports)) and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _rotate_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > MAX_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".1.log"))


def stop_all(daemons: Iterable[Daemon]) -> None:
    """Stop servers that do not need each other for it, all at once: as long as the slowest takes. Raises what any stop raised."""
    stopping = [each.stop for each in daemons]
    with ThreadPoolExecutor(len(stopping) or 1) as pool:
        for stopped in [pool.submit(stop) for stop in stopping]:
            stopped.result()
