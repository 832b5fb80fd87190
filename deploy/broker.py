"""Apache Kafka on this machine: one KRaft node, its data in a folder, run from the jars that Maven copied."""

import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from deploy.processes import HOST, Daemon, Report, StackError, ToolMissing, is_listening, silent
from deploy.securing import BrokerSecurity

ROOT = Path(__file__).resolve().parent.parent
JARS = ROOT / ".stack" / "kafka"
CONFIG = Path(__file__).resolve().parent / "kafka"
READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
# Enough for the topics of this system; what the machine has beyond it serves as page cache.
HEAP = ("-Xms256m", "-Xmx768m")
# This broker lives for minutes or hours beside everything else: code that the first compiler makes is good at once, where the second
# one computes as long as the broker itself (decision 31). One collector thread suffices for so small a heap.
JIT = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class Broker:
    """A Kafka broker of our own.

    Args:
        run_dir: its data goes to `kafka/` in it, its logs and pid file to `logs/` and `pids/`.
        port, controller_port: TCP ports of 127.0.0.1.
        security: certificate and users; without, it speaks to whoever reaches its port.
    """

    def __init__(
        self,
        run_dir: Path,
        port: int,
        controller_port: int,
        report: Report = silent,
        *,
        security: BrokerSecurity | None = None,
    ) -> None:
        self._security = security
        self.port = port
        self.controller_port = controller_port
        self._data = run_dir / "kafka"
        self._properties = run_dir / "kafka.properties"
        self._logs = run_dir / "logs"
        self._report = report
        self.daemon = Daemon(
            name="kafka",
            command=[*self._java(), *HEAP, "kafka.Kafka", str(self._properties)],
            run_dir=run_dir,
            ports=(port, controller_port),
            own_log=self._logs / "server" / "kafka.log",
            report=report,
        )

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Format the data folder if it is new, and start the broker; `wait_ready` tells when it serves.

        Raises: StackError.
        """
        if self.daemon.process is None:
            self.daemon.check_ports()
            self._write_properties()
            self._format_once()
        self.daemon.start()

    def wait_ready(self) -> None:
        """Return when topics can be listed and a transactional write was acknowledged; raises DidNotStart."""
        self.daemon.wait_ready(self._not_ready, READY_TIMEOUT_S)

    def stop(self) -> None:
        """Stop in order; what was acknowledged is on disk."""
        self.daemon.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End it as a crash would."""
        self.daemon.kill()

    def _not_ready(self) -> str:
        if not is_listening(self.port):
            return f"{self.bootstrap_servers} does not listen yet"
        quiet: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap_servers,
            "log_level": 0,
            **(self._security.client() if self._security else {}),
        }
        try:
            admin = AdminClient(quiet)
            admin.list_topics(timeout=5)
            admin.describe_cluster(request_timeout=5).result()
            # Writes a record to Kafka's own transaction log, so that the services' first transaction does not wait
            # for that topic to be made.
            Producer({**quiet, "transactional.id": "goodstrace-ready"}).init_transactions(10)
        except KafkaException as error:
            return f"it answers {error.args[0].name()}"
        return ""

    def _java(self) -> list[str]:
        return [
            shutil.which("java") or "java",
            *JIT,
            "-cp",
            f"{JARS}/*",
            f"-Dlog4j2.configurationFile={CONFIG / 'log4j2.properties'}",
            f"-Dgoodstrace.logs={self._logs / 'server'}",
        ]

    def _write_properties(self) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        text = (CONFIG / "server.properties").read_text()
        for place, value in (
            ("KAFKA_PORT", self.port),
            ("CONTROLLER_PORT", self.controller_port),
            ("DATA_DIR", self._data),
        ):
            text = text.replace(f"@{place}@", str(value))
        text = text.replace("@PROTOCOL@", "SASL_SSL" if self._security else "PLAINTEXT")
        self._properties.touch(mode=0o600)
        self._properties.write_text(text + (self._security.properties() if self._security else ""))

    def _format_once(self) -> None:
        if (self._data / "meta.properties").exists():
            return
        if not JARS.is_dir() or shutil.which("java") is None:
            raise ToolMissing(
                "kafka: its jars or `java` are not there: install Java 17 and run `make install`"
            )
        self._report("kafka: formatting a new data folder")
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # A cluster id that starts with a dash would be read as an option.
        users = self._security.scram() if self._security else []
        tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster_id}",
            "--ignore-formatted",
            *users,
        ]
        done = subprocess.run(
            [*self._java(), *tool, "--config", str(self._properties)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"kafka: the data folder could not be formatted:\n{done.stdout}{done.stderr}")
