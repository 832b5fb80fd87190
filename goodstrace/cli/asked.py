"""What commands are asked about: keys in any spelling, and steps of the supply chain."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

import click

from goodstrace.asked_keys import is_uri, key_asked
from goodstrace.event_filter import MAX_KEY_CHARS
from goodstrace.facts import STEPS
from goodstrace.vocabulary import words


class KeyType(click.ParamType):
    """A key as people type, paste or scan it: an EPC URN, a Digital Link, an element string such as (01)09521234543213(10)A, a GTIN, an SSCC, any URI.

    What is none of these is asked for as it is, with a warning on standard error: nothing that an event names is written like that.
    """

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Give the canonical key. Raises: click.BadParameter where it is empty or too long."""
        key = key_asked(str(value))
        if key is None:
            self.fail(f"a key has 1 to {MAX_KEY_CHARS} characters", param, ctx)
        if not is_uri(key):
            warn(f"{key!r} is neither a URI nor a GS1 key with a right check digit: no event can name it")
        return key


class StepType(click.ParamType):
    """A step as `trace` shows it, or a business step: any word is taken, since events may have words of their own."""

    name = "step"

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> str:
        """Give the step as it is; one that no standard knows is warned of."""
        step = str(value)
        known = sorted({*STEPS, *words("bizstep")})
        if step not in known and not is_uri(step):
            near = get_close_matches(step, known, n=1)
            warn(f"no standard knows the step {step!r}" + (f": is {near[0]} meant?" if near else ""))
        return step


KEY: Final = KeyType()
STEP: Final = StepType()


def warn(message: str) -> None:
    """Say on standard error what is probably not meant; the command goes on."""
    click.secho("goodstrace: ", fg="yellow", bold=True, nl=False, err=True)
    click.echo(message, err=True)
