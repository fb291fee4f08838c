"""What the forms of several pages have in common: field types, the CSRF token, messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

ShortText = Annotated[str, Field(max_length=200)]
LongText = Annotated[str, Field(max_length=2000)]
Code = Annotated[str, Field(max_length=40)]
"""A student ID, the code in a student page's address, or the name of a choice."""

OptionalDay = Annotated[date | None, BeforeValidator(lambda text: text or None)]
"""A day; a field left empty is None."""

NO_SUCH_STUDENT = "No student has this ID or page code."


class CsrfForm(BaseModel):
    """A form that changes something: it carries the token of the web session, and no unknown
    field.
    """

    model_config = ConfigDict(extra="forbid")
    csrf: str


class FieldError(Protocol):
    """An error about one field of a form."""

    field: str
    reason: str


def field_message(labels: Mapping[str, str], error: FieldError) -> str:
    """What is wrong with a field, with its label in front where it has one."""
    label = labels.get(error.field)
    return f"{label}: this {error.reason}." if label else error.reason
