"""Sets of rules: the form of their files, their names, and their expressions compiled. Pure.

A file is TOML. A rule is tried where its `when` fits and everything that its expression reads is there, so an expression need not
ask whether a member exists.
"""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any, Final, Literal

import cel
import msgspec

from goodstrace.facts import STEPS, Step
from services.collector.errors import BookError
from services.collector.rules.expressions import Expression, NoAnswer
from services.collector.rules.things import ALWAYS, COLLECTIONS, MEMBERS, OF, About
from services.collector.rules.wording import names_in
from services.collector.steps import named
from services.collector.validation import EVENT_TYPES

BUILT_IN: Final = ("1", "2")
MAX_RULES: Final = 200
_LARGEST: Final = 256 * 1024
_TEXT: Final = 300
_OWN_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,29}\.[a-z][a-z0-9-]{0,59}")
_ACTIONS: Final = ("ADD", "OBSERVE", "DELETE")


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold before an expression is looked at; an empty list says nothing.

    shared: two collections of the event (see COLLECTIONS) that must have something in common, which `shared` then lists.
    """

    type: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    step: tuple[Step, ...] = ()
    shared: tuple[str, str] | None = None


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule as its file says it.

    id: names it for good. severity: see `goodstrace.facts.Severity`. about: what kind of thing. says: what is wrong, in a sentence.
    expr: CEL that is true where it is. detail: what the verdict tells, with {names} of values in it.
    """

    id: str
    severity: Literal["info", "warning", "critical"]
    about: About
    says: str
    detail: str
    expr: str = "true"
    when: When = When()


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file. leave_out: IDs of rules that come with the program and shall not be tried."""

    version: str
    rules: tuple[Written, ...]
    leave_out: tuple[str, ...] = ()


class Rule:
    """A rule ready to be tried."""

    def __init__(self, written: Written) -> None:
        """Compile. Raises: BookError."""
        self.written = written
        self.id = written.id
        self.severity: str = written.severity
        self.expression = Expression(written.expr)
        self.names = self.expression.names
        """Values that must be there."""
        self.member = self._member()
        """A member without which an event has nothing that the rule is about; empty where there is none such."""

    def _member(self) -> str:
        if self.written.when.shared is not None:
            return COLLECTIONS[self.written.when.shared[0]].member
        return next((member for name, member in MEMBERS.items() if name in self.names), "")

    def fits(self, event_type: str, action: str, step: str) -> bool:
        """Say whether the rule is about such events."""
        when = self.written.when
        return (
            (not when.type or event_type in when.type)
            and (not when.action or action in when.action)
            and (not when.step or step in when.step)
        )


class RuleSet:
    """The rules of one file; `name` is what facts call it by."""

    def __init__(self, name: str, rules: tuple[Rule, ...], leave_out: frozenset[str] = frozenset()) -> None:
        """Take rules that were compiled."""
        self.name = name
        self.rules = rules
        self.leave_out = leave_out


def built_in(version: str) -> RuleSet:
    """Give the rules that come with the program, by version (see BUILT_IN)."""
    content = resources.files("services.collector.rules").joinpath(f"rules-{version}.toml").read_bytes()
    return RuleSet(version, tuple(map(Rule, _read(content).rules)))


def operators(content: bytes) -> RuleSet:
    """Read an operator's rules from the bytes of their file. Raises: BookError, with the first thing that is wrong."""
    file = _read(content)
    for fault in faults(file):
        raise BookError(fault)
    return RuleSet(named(file.version, content), tuple(map(Rule, file.rules)), frozenset(file.leave_out))


def problems(content: bytes) -> list[str]:
    """List all that is wrong with a file of an operator."""
    try:
        file = _read(content)
        named(file.version, content)
    except BookError as error:
        return [str(error)]
    return faults(file)


def faults(file: File) -> list[str]:
    """List what is wrong with the rules of a file that has the right form."""
    found = []
    known = {rule.id for version in BUILT_IN for rule in built_in(version).rules}
    found += [
        f"leave_out: there is no rule {name!r} to leave out" for name in file.leave_out if name not in known
    ]
    seen: set[str] = set()
    for written in file.rules:
        if not _OWN_ID.fullmatch(written.id):
            found.append(
                f"{written.id!r}: an ID is a name of yours, a dot and the rule's, such as acme.too-warm"
            )
        if written.id in seen:
            found.append(f"{written.id}: the ID is there twice")
        seen.add(written.id)
        found += [f"{written.id}: {fault}" for fault in faults_of(written)]
    return found


def faults_of(written: Written) -> list[str]:
    """List what is wrong with one rule: its expression is compiled, and tried on examples of all that it reads."""
    found = _unknown_values(written)
    for name in ("says", "detail"):
        if not 0 < len(getattr(written, name)) <= _TEXT:
            found.append(f"{name}: must be 1 to {_TEXT} characters")
    try:
        expression = Expression(written.expr)
    except BookError as error:
        return [*found, f"expr: {error}"]
    readable = readable_by(written)
    strange = sorted(expression.names - readable.keys())
    if strange:
        found.append(
            f"expr: there is no {', '.join(strange)} {_about(written)}; there is {', '.join(sorted(readable))}"
        )
    elif "event" not in expression.names:
        answer = expression.holds(cel.Context(readable))
        found += [f"expr: {answer.reason}"] if isinstance(answer, NoAnswer) else []
    strange = sorted(names_in(written.detail) - readable.keys())
    if strange:
        found.append(
            f"detail: there is no {', '.join(strange)} {_about(written)}; there is {', '.join(sorted(readable))}"
        )
    return found


def readable_by(written: Written) -> dict[str, Any]:
    """Give what a rule may read, each with an example."""
    readable = {**ALWAYS, **OF[written.about]}
    if written.about == "event" and written.when.shared is None:
        del readable["shared"]
    return readable


def _about(written: Written) -> str:
    return f"about {'an' if written.about == 'event' else 'a'} {written.about}"


def _unknown_values(written: Written) -> list[str]:
    when = written.when
    named_: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
        "type": (when.type, EVENT_TYPES),
        "action": (when.action, _ACTIONS),
        "step": (when.step, STEPS),
        "shared": (when.shared or (), tuple(COLLECTIONS)),
    }
    found = [
        f"when.{name}: {value!r} is none of {', '.join(allowed)}"
        for name, (values, allowed) in named_.items()
        for value in values
        if value not in allowed
    ]
    if when.shared is not None and written.about != "event":
        found.append("when.shared: is for rules about an event")
    return found


def _read(content: bytes) -> File:
    if len(content) > _LARGEST:
        raise BookError(f"is over {_LARGEST} bytes")
    try:
        file = msgspec.convert(tomllib.loads(content.decode()), File)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise BookError(f"is no file of rules: {error}") from error
    if len(file.rules) > MAX_RULES:
        raise BookError(f"has {len(file.rules)} rules, over {MAX_RULES}")
    return file
