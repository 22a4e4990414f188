"""Whether words say anything: a blank, or a character that nobody sees, is no reason and no name."""

from __future__ import annotations

import unicodedata

from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints


_SEEN: Final = "LNPS"
"""Letters, numbers, punctuation, symbols: how the Unicode categories begin that leave a mark by themselves."""


def says_nothing(text: str) -> bool:
    """Whether nobody could read anything in it."""
    return not any(unicodedata.category(character)[0] in _SEEN for character in text)


def _saying(text: str) -> str:
    if says_nothing(text):
        raise ValueError("says nothing: write it in words")
    return text


type Words = Annotated[str, AfterValidator(_saying), StringConstraints(strip_whitespace=True, min_length=1)]
"""Text of the policy file that people are to read."""
