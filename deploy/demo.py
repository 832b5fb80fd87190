"""The demo: goods events in by HTTP, out by gRPC as a trace whose proofs the client checked by itself.

1. Make documents of simulated supply chains. 2. Capture them. 3. Wait until every event is sealed. 4. Trace one sold item,
verify and print it. 5. Show that the look-up was recorded.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from deploy.credentials import FILE as CREDENTIALS_FILE
from deploy.local_tls import client_side
from deploy.service_processes import SERVICES
from deploy.stack import Stack
from goodstrace.capture import CaptureClient, Job, Problem
from goodstrace.cli.browses import show as show_browses
from goodstrace.cli.display import console
from goodstrace.cli.trace import show as show_trace
from goodstrace.client import Client
from goodstrace.connections import channel
from goodstrace.credentials import local_api_key, local_user
from goodstrace.errors import GoodstraceError
from goodstrace.log_keys import LogKeys
from goodstrace.login import LoginClient
from goodstrace.memory import FileMemory
from goodstrace.simulate import SimulationOptions, write

RUN_DIR = Path(os.environ.get("GOODSTRACE_RUN_DIR", "run"))
SCHEME, TLS = client_side(RUN_DIR, os.environ)
CREDENTIALS = RUN_DIR / CREDENTIALS_FILE
CAPTURE_URL = f"{SCHEME}://127.0.0.1:{os.environ.get('GOODSTRACE_COLLECTOR_PORT', '8080')}"
QUERY_TARGET = f"{SCHEME}://127.0.0.1:{os.environ.get('GOODSTRACE_QUERY_GRPC_PORT', '50051')}"
AUDIT_TARGET = f"{SCHEME}://127.0.0.1:{os.environ.get('GOODSTRACE_AUDIT_GRPC_PORT', '50052')}"
WEB_URL = f"{SCHEME}://127.0.0.1:{os.environ.get('GOODSTRACE_QUERY_HTTP_PORT', '8081')}"
OPTIONS = SimulationOptions(seed=7, events=400, depth=3, events_per_document=40)
ROUNDS_S = 6
SEAL_DEADLINE_S = 60
out = console()


def main() -> int:
    """Run the demo against the local stack; exit status 0 only if everything verified."""
    try:
        run()
    except GoodstraceError as error:
        out.print(f"[red]the demo failed:[/red] {error}")
        return 1
    return 0


def run() -> None:
    """Do the five steps. Raises: GoodstraceError."""
    samples = RUN_DIR / "demo"
    out.rule("1. goods events of simulated supply chains")
    found = write(OPTIONS, samples)
    documents = sorted(samples.glob("*.jsonld"))
    out.print(f"{OPTIONS.events} events in {len(documents)} EPCIS documents in {samples}/")
    if found.item is None:
        raise GoodstraceError("the simulation made no sold item")
    keys = LogKeys.load(RUN_DIR / "keys")
    memory = FileMemory(RUN_DIR / "demo-checkpoints.json")
    with demo_client(keys, memory, local_api_key(CREDENTIALS, CAPTURE_URL) or "") as client:
        out.rule("2. captured by HTTP, through five stages on Kafka")
        wait_until_sealed(
            client, 1, told=False
        )  # the demo merchant itself: the first that is ever registered
        before = sealed(client)
        accepted = capture(documents)
        out.rule("3. sealed into signed, hash-chained Merkle blocks")
        wait_until_sealed(client, before + accepted)
        if accepted:
            wait_until_indexed(client)
        out.rule("4. traced by gRPC, verified by the client itself")
        looks = sealed_browses(client)
        show_trace(client.trace(found.item), out, most_events=8)
        out.rule("5. the look-up is recorded, and the record is sealed and proved too")
        wait_for_browse(client, looks)
    with demo_client(keys, memory, auditor_token()) as client:  # who sees everybody's
        show_browses(client.browses(key=found.item, limit=10), out, found.item)
    out.print(
        f"\nThe stack is up. Try:\n{exports()}"
        f"  .venv/bin/goodstrace trace {found.lot}\n"
        f"  .venv/bin/goodstrace trace {found.pallet} --direction history\n"
        f"  .venv/bin/goodstrace browses {found.item}\n"
        f"  .venv/bin/goodstrace verify --vkeys {RUN_DIR}/keys\n"
        f"In a browser: {page(found.item)}\n"
        f"API of the collector: {CAPTURE_URL}/docs    Stop everything with: make down",
        soft_wrap=True,
    )


def page(key: str) -> str:
    """Tell where the web page of goods is, by their GS1 Digital Link, and who sees their events there."""
    user = local_user(CREDENTIALS, QUERY_TARGET, "merchant")
    first = (
        f"sign in as {user.name} (password in {CREDENTIALS}) at {WEB_URL}/sign-in, then open " if user else ""
    )
    return f"{first}{WEB_URL}{urlsplit(key).path}"


def demo_client(keys: LogKeys, memory: FileMemory, token: str) -> Client:
    """Make a client that shows `token`; "" where nobody has to say who they are."""
    return Client(
        QUERY_TARGET,
        keys,
        user="demo",
        purpose="to see how it works",
        memory=memory,
        audit_target=AUDIT_TARGET,
        tls=TLS,
        token=token,
    )


def auditor_token() -> str:
    """Sign the demo auditor in; "" where the stack has no users."""
    user = local_user(CREDENTIALS, QUERY_TARGET, "auditor")
    if user is None:
        return ""
    with LoginClient(QUERY_TARGET, channel_of=partial(channel, tls=TLS, credential=True)) as login:
        return login.sign_in(*user).access_token


def exports() -> str:
    """Tell what the commands have to be told where the stack is not on its default ports, a line each."""
    stack = Stack.from_environment()
    said = {
        "GOODSTRACE_CREDENTIALS": (f"{RUN_DIR}/{CREDENTIALS_FILE}", "run/credentials.json"),
        "GOODSTRACE_OPERATOR_TOKEN_FILE": (f"{RUN_DIR}/keys/operator-token", "run/keys/operator-token"),
        "GOODSTRACE_CAPTURE_URL": (CAPTURE_URL, f"{SCHEME}://127.0.0.1:8080"),
        "GOODSTRACE_QUERY_TARGET": (QUERY_TARGET, f"{SCHEME}://127.0.0.1:50051"),
        "GOODSTRACE_AUDIT_TARGET": (AUDIT_TARGET, f"{SCHEME}://127.0.0.1:50052"),
        **({"GOODSTRACE_CA_FILE": (str(TLS.ca_file), "run/tls/ca.pem")} if TLS.ca_file else {}),
        "KAFKA_BOOTSTRAP_SERVERS": (stack.kafka_bootstrap_servers, "127.0.0.1:9092"),
        "MONGODB_URI": (stack.mongodb_uri, "mongodb://127.0.0.1:27017/?directConnection=true"),
        "GOODSTRACE_LOG_KEYS": (f"{RUN_DIR}/keys", "run/keys"),
        "GOODSTRACE_KEY_DIR": (f"{RUN_DIR}/keys", "run/keys"),
        "GOODSTRACE_INDEX_SECRET_FILE": (f"{RUN_DIR}/keys/index-secret", "run/keys/index-secret"),
        **{each.port_variable: (str(each.metrics_port), str(each.default_metrics_port)) for each in SERVICES},
    }
    lines = [f"  export {name}='{value}'\n" for name, (value, default) in said.items() if value != default]
    return (
        "".join(["  # in another shell: make would take these servers for yours\n", *lines]) if lines else ""
    )


def capture(documents: list[Path]) -> int:
    """Send the documents and follow them; gives how many events were accepted that are no duplicates."""
    accepted = duplicates = 0
    started = time.monotonic()
    api_key = local_api_key(CREDENTIALS, CAPTURE_URL)
    with CaptureClient(CAPTURE_URL, token=api_key, tls=TLS) as collector:
        jobs: list[Job] = []
        for document in documents:
            result = collector.send(document.read_bytes())
            if isinstance(result, Problem):
                raise GoodstraceError("\n".join([f"{document} was refused", *result.lines()]))
            jobs.append(result)
        for job in jobs:
            counts = collector.wait(job).counts
            accepted += counts["accepted"]
            duplicates += counts["duplicate"]
    out.print(
        f"{accepted} events accepted, {duplicates} known already, in {time.monotonic() - started:.1f} s"
    )
    return accepted


def sealed(client: Client) -> int:
    """Count the entries in all goods logs, by their signed checkpoints."""
    return sum(each.checkpoint.size for log, each in client.checkpoints().items() if log.startswith("goods/"))


def wait_until_sealed(client: Client, total: int, *, told: bool = True) -> None:
    """Wait until the goods logs hold `total` entries. Raises: GoodstraceError after the deadline."""
    deadline = time.monotonic() + SEAL_DEADLINE_S
    while (size := sealed(client)) < total:
        if time.monotonic() > deadline:
            raise GoodstraceError(
                f"only {size} of {total} events sealed after {SEAL_DEADLINE_S} s: see run/logs/ledger.log"
            )
        time.sleep(0.1)
    for log, each in sorted(client.checkpoints().items()) if told else ():
        out.print(f"{log}: {each.checkpoint.size} entries, root {each.checkpoint.root.hex()[:16]}…")


def wait_until_indexed(client: Client) -> None:
    """Wait until what was just sealed is pinned in the log `root`, and indexed after that: then a trace can be proved to be complete.

    Where that was done in the moment before, nothing follows; so each is waited for no longer than some of its rounds take.
    """
    for log in ("root", "index"):
        before, deadline = size_of(client, log), time.monotonic() + ROUNDS_S
        while size_of(client, log) == before and time.monotonic() < deadline:
            time.sleep(0.1)


def size_of(client: Client, log: str) -> int:
    """Tell how many entries a log has, by its signed checkpoint; 0 before the first."""
    known = client.checkpoints().get(log)
    return known.checkpoint.size if known else 0


def sealed_browses(client: Client) -> int:
    """Count the entries in all browse logs, by their signed checkpoints."""
    return sum(
        each.checkpoint.size for log, each in client.checkpoints().items() if log.startswith("browse/")
    )


def wait_for_browse(client: Client, before: int) -> None:
    """Wait until a look-up has been sealed since there were `before`. Raises: GoodstraceError after the deadline."""
    deadline = time.monotonic() + SEAL_DEADLINE_S
    while sealed_browses(client) <= before:
        if time.monotonic() > deadline:
            raise GoodstraceError("the look-up is not in the browse log: see run/logs/audit.log")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
