"""What services keep of users beside the logs: how it is deleted, and how it is shown, by name.

The tables are code, and no package metadata: a user whose steps were not found would be sealed as erased with everything still there.
"""

from collections.abc import Mapping
from typing import Final

from services.audit.erasing import erase_looks, erase_watched
from services.audit.exporting import export_looks
from services.audit.exporting_kept import export_vault, export_watched
from services.query.accounts.erasing import erase_user, export_user
from services.query.webhooks.erasing import erase_webhooks, export_webhooks
from services.sealing.erasure.steps import EraseStep, ExportStep

ERASE_STEPS: Final[Mapping[str, EraseStep]] = {
    "accounts": erase_user,
    "looks": erase_looks,
    "watch": erase_watched,
    "webhooks": erase_webhooks,
}
"""In the order in which they are taken."""
EXPORT_STEPS: Final[Mapping[str, ExportStep]] = {
    "accounts": export_user,
    "looks": export_looks,
    "vault": export_vault,
    "watch": export_watched,
    "webhooks": export_webhooks,
}
"""In the order in which they are written."""
