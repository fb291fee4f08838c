"""What may go wrong in ordinary use, in any room: its message is a sentence for whoever asked, not
for a programmer.
"""

from __future__ import annotations


class UserError(Exception):
    """An error whose message is told as it is. The rooms' errors of ordinary use inherit it beside
    their own kind.

    So the command line can tell them without importing the rooms, which takes seconds.
    """
