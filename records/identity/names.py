"""Names as words that can be compared, however a system writes them."""

from __future__ import annotations

import unicodedata


def normalized_words(text: str) -> list[str]:
    """The words of a name in lower case, without accents, apostrophes and hyphens."""
    letters = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join(
        letter if letter.isalnum() else " "
        for letter in letters
        if not unicodedata.combining(letter)
    ).split()


_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "æ": "ae",
        "œ": "oe",
        "'": "",
        "\u2019": "",
        "\u02bb": "",
        ".": "",
    }
)
"""What is written for a letter, or for nothing, and has no accent to remove."""
