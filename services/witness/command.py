"""The command `goodstrace witness`: run a witness, make its key, show what it has seen."""

import asyncio
import time
from pathlib import Path
from typing import Final

import click
import httpx
import structlog

from goodstrace.cli.options import print_json
from goodstrace.errors import NoteError, PolicyError
from goodstrace.note import Verifier
from goodstrace.policy import Policy
from services.runtime import lifecycle, logs
from services.runtime.command_errors import told
from services.runtime.errors import ServiceError
from services.runtime.http import HttpServer
from services.runtime.monitoring import Monitoring
from services.runtime.outgoing import careful_client
from services.runtime.probes import PROBE_EVERY_S, watch
from services.runtime.settings import load
from services.runtime.tls import TlsSettings, served
from services.witness.api import make_app
from services.witness.evidence import Evidence
from services.witness.index.source import IndexSource
from services.witness.index.state import Files
from services.witness.index.watch import IndexWatch
from services.witness.keys import Folder, open_folder
from services.witness.metrics import WitnessMetrics
from services.witness.service import Witness
from services.witness.settings import WitnessSettings
from services.witness.trust import Lists, Trust

_MAX_CONNECTIONS: Final = 200
_DRAIN_S: Final = 5


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("run/witness"),
    show_default=True,
    envvar="GOODSTRACE_WITNESS_FOLDER",
    help="The witness's key, its memory, and evidence. One witness, one folder.",
)
@click.option(
    "--name",
    envvar="GOODSTRACE_WITNESS_NAME",
    help="Name of a new witness: a URL without scheme, such as witness.example/1. It cannot change later.",
)
@click.option(
    "--log",
    "vkeys",
    multiple=True,
    metavar="VKEY",
    help="Follow the log with this public key; may be given again, also with a log's next key.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Follow the logs named in this c2sp.org/tlog-policy file.",
)
@click.option(
    "--logs-url",
    "lists",
    multiple=True,
    metavar="URL",
    help="Follow the logs listed there (the /logs of a Goodstrace query service), each with the key that is seen "
    "FIRST: whoever serves the list then is trusted once. Read again every minute; a change of key is followed where "
    "statements lead to it from the key that is trusted.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, envvar="GOODSTRACE_HOST", help="Address to serve on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8082,
    show_default=True,
    envvar="GOODSTRACE_WITNESS_PORT",
    help="Port of add-checkpoint.",
)
@click.option(
    "--prefix", default="", envvar="GOODSTRACE_WITNESS_PREFIX", help="Prefix of the paths, such as /witness."
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=9106,
    show_default=True,
    envvar="GOODSTRACE_WITNESS_METRICS_PORT",
    help="Port of /metrics, /healthz and /readyz.",
)
@click.option(
    "--index",
    default="",
    metavar="URL",
    envvar="GOODSTRACE_WITNESS_INDEX",
    help="Be an index witness: make the runs of the platform's log `index` again from the entries and tags that the query "
    "service at URL gives, and cosign it only where they are the same.",
)
@click.option(
    "--index-token-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="GOODSTRACE_WITNESS_INDEX_TOKEN_FILE",
    help="File with the token for --index, where the service asks for one.",
)
@click.option("--lists-every", "lists_every_s", type=click.FloatRange(min=0.1), default=60.0, hidden=True)
@click.option("--init", is_flag=True, help="Make the key if there is none, print the policy line, and end.")
@click.option("--status", is_flag=True, help="Print what was cosigned and which evidence is kept, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --init or --status: print one JSON document.")
def witness(
    vkeys: tuple[str, ...],
    policies: tuple[Path, ...],
    *,
    init: bool,
    status: bool,
    as_json: bool,
    **options: object,
) -> None:
    """Run a witness: an independent party that cosigns logs which only ever grow.

    A log asks for a cosignature of each new checkpoint and proves that it contains the one before. The witness keeps size
    and root of the newest one (never an entry), and signs no rollback and no second history. Checkpoints that contradict
    one another are kept as evidence. Protocol: c2sp.org/tlog-witness, so any C2SP log can be followed.

    \b
    Example, for a partner of a platform at trace.shop.example:
      goodstrace witness --init --name witness.partner.example/1
        ... send the line that it prints to the platform's operator, for the policy file of the ledger
      goodstrace witness --log 'trace.shop.example/4f1c.../goods/0+33d7b496+AeHU...' --log ...
        ... or, trusting the platform's list the first time it is read:
      goodstrace witness --logs-url https://trace.shop.example/logs
      goodstrace witness --logs-url https://trace.shop.example/logs --index https://trace.shop.example
        ... cosigning the log `index` only where it leaves nothing out
      goodstrace witness --status

    It serves HTTPS by GOODSTRACE_TLS_CERT_FILE and GOODSTRACE_TLS_KEY_FILE (docs/tls.md), else plain HTTP, for a TLS
    proxy before it. See docs/witnesses.md.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is
    settings = WitnessSettings(keys=_keys(vkeys, policies), **options)  # type: ignore[arg-type] # click checked the types
    if settings.prefix and (not settings.prefix.startswith("/") or settings.prefix.endswith("/")):
        raise click.UsageError("--prefix begins with a slash and does not end with one")
    if init or status:
        with told():
            if init:
                _init(settings, as_json=as_json)
            else:
                _status(settings, as_json=as_json)
        return
    log = logs.configure("witness", "info")
    lifecycle.run(lambda stop: _serve(stop, settings, log), log)


def _scheme() -> str:
    return "https" if load(TlsSettings).cert_file else "http"


def _keys(vkeys: tuple[str, ...], policies: tuple[Path, ...]) -> tuple[Verifier, ...]:
    try:
        keys = [Verifier.parse(vkey) for vkey in vkeys]
    except NoteError as error:
        raise click.UsageError(f"--log: {error}") from error
    for path in policies:
        try:
            keys += [log.verifier for log in Policy.parse(path.read_bytes()).logs]
        except (OSError, PolicyError) as error:
            raise click.UsageError(f"--policy {path}: {error}") from error
    return tuple(keys)


def _init(settings: WitnessSettings, *, as_json: bool) -> None:
    cosigner, store = open_folder(Folder(settings.folder), settings.name)
    store.close()
    label = cosigner.verifier.name.replace("/", "-")
    vkey, url = cosigner.verifier.vkey(), f"{_scheme()}://{settings.host}:{settings.port}{settings.prefix}"
    line = f"witness {label} {vkey} {url}"
    if as_json:
        print_json({"vkey": vkey, "url": url, "policy_line": line})
    else:
        click.echo(line)


def _status(settings: WitnessSettings, *, as_json: bool) -> None:
    folder = Folder(settings.folder)
    if not folder.key.exists():
        raise click.ClickException(f"there is no witness in {settings.folder}: make one with --init")
    cosigner, store = open_folder(folder, settings.name)
    sizes, trusted = store.sizes(), store.trusted()
    store.close()
    cases = Evidence(folder.evidence).cases()
    if as_json:
        vkey, evidence = cosigner.verifier.vkey(), [str(path) for path in cases]
        print_json({"vkey": vkey, "trusted": list(trusted), "cosigned": sizes, "evidence": evidence})
        return
    click.echo(f"witness   {cosigner.verifier.vkey()}")
    for vkey in trusted:
        click.echo(f"trusted   {vkey}  (on first use)")
    for origin, size in sizes.items():
        click.echo(f"cosigned  {origin}  {size}")
    for path in cases:
        click.echo(f"EVIDENCE  {path}")


def _index_watch(
    settings: WitnessSettings,
    trust: Trust,
    client: httpx.AsyncClient,
    metrics: WitnessMetrics,
    log: structlog.stdlib.BoundLogger,
) -> IndexWatch:
    token = settings.index_token_file.read_text(encoding="utf-8").strip() if settings.index_token_file else ""
    folder = Folder(settings.folder)
    source = IndexSource(client, settings.index.rstrip("/"), token)
    return IndexWatch(source, Files(folder.index), trust.keys, folder.evidence, metrics=metrics, log=log)


async def _serve(stop: asyncio.Event, settings: WitnessSettings, log: structlog.stdlib.BoundLogger) -> None:
    folder = Folder(settings.folder)
    cosigner, store = open_folder(folder, settings.name)
    metrics = WitnessMetrics()
    trust = Trust(settings.keys, map(Verifier.parse, store.trusted()), metrics)
    for origin, changes in store.changed().items():
        trust.follow(origin, changes)
    if not trust.origins() and not settings.lists:
        log.warning("follows no log: name some with --log, --policy or --logs-url")
    client = careful_client()
    watching = _index_watch(settings, trust, client, metrics, log) if settings.index else None
    witness = Witness(
        cosigner,
        store,
        trust,
        Evidence(folder.evidence),
        now_s=lambda: int(time.time()),
        metrics=metrics,
        log=log,
        index=watching,
    )
    certificate = served(log, settings.host)
    try:
        monitoring = Monitoring("witness", settings.host, settings.metrics_port, certificate=certificate)
    except ServiceError:
        witness.close()
        raise
    ready = monitoring.readiness
    ready.set("started")
    ready.set("api", problem="starting")

    def started(port: int) -> None:
        ready.set("api")
        where = f"{_scheme()}://{settings.host}:{port}{settings.prefix}"
        log.info(
            "witness",
            vkey=cosigner.verifier.vkey(),
            url=where,
            logs=trust.origins(),
            evidence=str(folder.evidence),
        )

    app = make_app(witness, metrics, log, prefix=settings.prefix)
    server = HttpServer(
        app,
        settings.host,
        settings.port,
        max_connections=_MAX_CONNECTIONS,
        drain_s=_DRAIN_S,
        certificate=certificate,
    )
    lists = Lists(settings.lists, trust, witness.remember, witness.follow, metrics=metrics, log=log)
    beside = [
        asyncio.create_task(watch(ready, {"store": witness.probe}, stop, every_s=PROBE_EVERY_S)),
        asyncio.create_task(lists.run(settings.lists_every_s)),
    ]
    try:
        await server.run(stop, started)
    finally:
        for task in beside:
            task.cancel()
        if watching is not None:
            await watching.close()
        await client.aclose()
        monitoring.stop()
        witness.close()
        if certificate is not None:
            certificate.stop()
