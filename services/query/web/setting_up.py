"""The settings of the pages as the query service starts with them: what cannot work ends it there, and is not found on a page."""

from pathlib import Path

from services.query.web.neighbours import check_targets
from services.query.web.settings import WebSettings
from services.runtime.errors import SettingsError
from services.runtime.outgoing import outgoing_tls
from services.runtime.settings import load, refuse
from services.sealing.witness_settings import WitnessSettings


def web_settings() -> WebSettings:
    """Read them; without a policy of their own it is that of the installation's witnesses. Exits with 2 where one is wrong, naming it."""
    web, witnesses = load(WebSettings), load(WitnessSettings).policy
    if "policy" not in web.model_fields_set and witnesses:
        web = web.model_copy(update={"policy": Path(witnesses)})
    try:
        web.verifiers()
        check_targets(web, outgoing_tls())
    except SettingsError as error:
        refuse(str(error))
    return web
