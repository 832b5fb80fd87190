"""What the audit service keeps of users beside the logs, for erasing one."""

from services.audit.browse_index import BrowseIndex
from services.audit.figures.goods import forget_viewer
from services.audit.watch.store import forget
from services.runtime.blocking import USER, Blocks
from services.runtime.mongo import Database
from services.runtime.vault.asked import forget_asked
from services.sealing.erasure.steps import Known


async def erase_looks(_database: Database, known: Known) -> int:
    """Delete the rows of the index of looks, which looks asked for the user, and who looked at goods on days that are not over. Raises: UnavailableError."""
    rows = await BrowseIndex(known.vault).forget(known.subject)
    viewed = await forget_viewer(known.vault, known.pseudonyms)
    return rows + viewed + await forget_asked(known.vault, known.subject)


async def erase_watched(database: Database, known: Known) -> int:
    """Delete alerts, statistics and blocks. Raises: UnavailableError."""
    blocks = await Blocks(database).forget([f"{USER}:{known.name}"])
    return blocks + await forget(database, known.pseudonyms)
