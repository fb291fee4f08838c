"""The base class of errors of ordinary use, whose message is written for the person who asked."""

from __future__ import annotations


class UserError(Exception):
    """An error whose message is shown to the user as it is.

    Each folder's errors of ordinary use inherit it in addition to a built-in kind. The command line
    can then recognize them without importing the folders, which takes seconds.
    """
