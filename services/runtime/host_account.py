"""Who runs a command on this machine: what records say of an operator who works on the store itself."""

import os
import pwd


def account_here() -> str:
    """Give the name of the account that this process runs as; its number in a container that has no names.

    It is asked of the system by the process's real user ID. `getpass.getuser` believes LOGNAME, USER and the like before that, and so whatever
    the one who is recorded would like to be called.
    """
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
