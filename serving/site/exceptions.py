"""What stops a request before its page is made; `error_responses` answers each."""

from __future__ import annotations


class SignInRequired(Exception):
    """Nobody is signed in."""


class InvalidCsrfToken(Exception):
    """The form was not made by this session's own page."""


class StaleSuggestion(Exception):
    """What was shown is no longer what is suggested."""
