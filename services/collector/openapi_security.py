"""Who may call what, as `/openapi.json` says it; what is enforced is the gate's (`registry/gate.py`), and a test holds the two together."""

from typing import Any, Final

from fastapi import FastAPI

MERCHANT_KEY: Final = "merchantKey"
MERCHANT_BEARER: Final = "merchantBearer"
OPERATOR_TOKEN: Final = "operatorToken"  # noqa: S105 - the name of a scheme
_SCHEMES: Final[dict[str, Any]] = {
    MERCHANT_KEY: {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key of the merchant's.",
    },
    MERCHANT_BEARER: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT, or an API key",
        "description": "A token of the platform's identity provider that names the merchant, or an API key.",
    },
    OPERATOR_TOKEN: {"type": "http", "scheme": "bearer", "description": "The operator's token."},
}
Requirements = list[dict[str, list[str]]]
BY_ANYONE: Final[Requirements] = []
BY_OPERATOR: Final[Requirements] = [{OPERATOR_TOKEN: []}]
BY_MERCHANT: Final[Requirements] = [{MERCHANT_KEY: []}, {MERCHANT_BEARER: []}]
BY_EITHER: Final[Requirements] = [*BY_MERCHANT, *BY_OPERATOR]
_NOTHING: Final[dict[str, list[str]]] = {}


def described(app: FastAPI, *, is_open: bool) -> None:
    """Have an application's OpenAPI name the schemes; where it `is_open`, merchants need not say who they are."""
    without = app.openapi

    def openapi() -> dict[str, Any]:
        schema = without()
        schema.setdefault("components", {})["securitySchemes"] = _SCHEMES
        operations = [each for path in schema["paths"].values() for each in path.values()]
        for each in operations if is_open else ():
            told = each["security"]
            if {MERCHANT_KEY: []} in told and _NOTHING not in told:
                each["security"] = [*told, _NOTHING]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it
