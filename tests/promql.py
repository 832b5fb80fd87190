"""What tests need to know of PromQL: the selectors of an expression, and the expression with comparisons that answer 0 or 1."""

import re

_SELECTOR = re.compile(r"\b((?:goodstrace|node|kubelet|process|up|ALERTS)[A-Za-z0-9_:]*)(\{[^}]*\})?")
_OPAQUE = re.compile(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"')
_COMPARISON = re.compile(r"(==|!=|>=|<=|>(?!=)|<(?!=))(?!\s*bool)")


def selectors(expr: str) -> list[str]:
    """List the selectors of series in an expression of ours."""
    return [f"{name}{labels}" for name, labels in _SELECTOR.findall(expr)]


def answered(expr: str) -> str:
    """Make comparisons answer 0 or 1 for every series, so that an alert that does not fire is no empty answer."""
    held: list[str] = []

    def hold(found: "re.Match[str]") -> str:
        held.append(found.group())
        return f"\0{len(held) - 1}\0"

    bare = _COMPARISON.sub(r"\1 bool", _OPAQUE.sub(hold, expr))
    return re.sub("\0(\\d+)\0", lambda found: held[int(found.group(1))], bare)
