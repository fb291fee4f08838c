"""What stops a request before its page is made. `error_responses` answers each."""

from __future__ import annotations


class SignInRequired(Exception):
    """Nobody is signed in."""


class InvalidCsrfToken(Exception):
    """The form does not carry the token of this web session, so it may come from another site."""


class StaleSuggestion(Exception):
    """The suggestion that was decided on is no longer the one that is shown."""
