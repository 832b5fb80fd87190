"""Who may call what, as `/openapi.json` says it: made from the table that the guard goes by."""

from typing import Any, Final

from fastapi import FastAPI

from services.runtime.access.table import roles_of
from services.runtime.access.values import Role

MERCHANT_KEY: Final = "merchantKey"
MERCHANT_BEARER: Final = "merchantBearer"
ACCESS_TOKEN: Final = "accessToken"  # noqa: S105 - the name of a scheme
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
        "bearerFormat": "API key",
        "description": "An API key of the merchant's.",
    },
    ACCESS_TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of an account, or a token of the platform's identity provider.",
    },
    OPERATOR_TOKEN: {"type": "http", "scheme": "bearer", "description": "The operator's token."},
}
Requirements = list[dict[str, list[str]]]
_NOTHING: Final[dict[str, list[str]]] = {}


def requirements(roles: frozenset[Role]) -> Requirements:
    """Say what may be shown for something that is for `roles`: any one of these; nothing at all for anybody."""
    if Role.ANYBODY in roles:
        return []
    names = [
        *((MERCHANT_KEY, MERCHANT_BEARER) if Role.MERCHANT in roles else ()),
        ACCESS_TOKEN,
        *((OPERATOR_TOKEN,) if Role.OPERATOR in roles else ()),
    ]
    return [{name: []} for name in names]


def described(app: FastAPI, service: str, *, is_open: bool) -> None:
    """Have the OpenAPI of a service's application say it; where it `is_open`, nobody needs to say who they are."""
    without = app.openapi

    def openapi() -> dict[str, Any]:
        schema = without()
        schema.setdefault("components", {})["securitySchemes"] = _SCHEMES
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                roles = roles_of(service, f"{method.upper()} {_template(app, path)}")
                needed = [] if method == "options" else requirements(roles)
                operation["security"] = [*needed, _NOTHING] if needed and is_open else needed
                operation["x-roles"] = sorted(role.value for role in roles)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _template(app: FastAPI, path: str) -> str:
    """Find the template of a path as OpenAPI writes it, without the kinds of its parameters."""
    for route in app.routes:
        if getattr(route, "path_format", None) == path:
            return str(getattr(route, "path", path))
    return path
