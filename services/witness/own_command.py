"""`goodstrace dev-witnesses`: witnesses of one's own, for development."""

from pathlib import Path

import click

from services.runtime.errors import ServiceError
from services.runtime.files import replace_whole
from services.witness.own import MOST, NUMBER, make_own, policy_text


@click.command("dev-witnesses")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(1, MOST), default=3, show_default=True, help="How many.")
@click.option(
    "--url",
    default=f"http://witness-{NUMBER}:8082",
    show_default=True,
    help=f"Where the logs will reach a witness; {NUMBER} stands for its number, from 0 on.",
)
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The policy file to write, for GOODSTRACE_WITNESS_POLICY of ledger, audit and query: more than half must cosign.",
)
def dev_witnesses(folder: Path, count: int, url: str, policy: Path) -> None:
    """Make the keys of a few witnesses in FOLDER, and the policy that names them.

    Not for production: witnesses run by whoever runs the logs convince nobody. Keys that are there stay. Each is then run by
    `goodstrace witness --folder FOLDER/0` and so on, as the profile `witnesses` of docker-compose.yml does. See docs/witnesses.md.
    """
    if count > 1 and NUMBER not in url:
        raise click.UsageError(f"--url needs {NUMBER} in it, else {count} witnesses have one address")
    try:
        vkeys = make_own(folder, count)
        urls = [url.replace(NUMBER, str(number)) for number in range(count)]
        text = policy_text(vkeys, urls)
        replace_whole(policy, text.encode(), mode=0o644)
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{policy}: {error}") from error
    click.echo(text, nl=False)
