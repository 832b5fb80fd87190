"""The command `goodstrace grow`: more partitions, and with them more logs."""

from typing import Final

import click

from goodstrace.cli.options import json_option, print_json
from services.collector.growth import grow as steps
from services.collector.settings import CollectorSettings
from services.runtime.command_errors import told
from services.runtime.settings import KafkaSettings, load

_MOST: Final = 1024


@click.command()
@click.option(
    "--partitions",
    type=click.IntRange(1, _MOST),
    help="How many there are to be; without it, GOODSTRACE_PARTITIONS.",
)
@json_option
def grow(partitions: int | None, *, as_json: bool) -> None:
    """Give every topic of goods more partitions: each is a log of its own.

    \b
      1. stop all collectors, when the stages have taken everything
      2. goodstrace grow --partitions 8
      3. set GOODSTRACE_PARTITIONS=8 and start them again

    It checks that no collector runs and that nothing waits, grows the topics, and writes to each partition what it must remember of
    the events of before, so that they are still recognised as duplicates. It runs with the settings of the collectors
    (KAFKA_BOOTSTRAP_SERVERS, GOODSTRACE_TOPIC_PREFIX, GOODSTRACE_COLLECTOR_WINDOW). Cut off, it is run again before they start.
    Partitions cannot be taken away. See docs/logs.md.
    """  # noqa: D301 - click leaves the paragraph after a backspace as it is
    kafka = load(KafkaSettings)
    if partitions is not None:
        kafka = kafka.model_copy(update={"partitions": partitions})
    said = []
    with told():
        for step in steps(kafka, load(CollectorSettings).window):
            said.append(step)
            if not as_json:
                click.echo(f"growth: {step}")
    if as_json:
        print_json({"partitions": kafka.partitions, "steps": said})
