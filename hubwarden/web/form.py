"""The form of a page: what was sent with it, and what is wrong with that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from hubwarden.web.requests import Request, message
from hubwarden.web.webhook import LONGEST_BODY
from hubwarden.web.who import RefusedError


LONGEST_REASON: Final = 1000
NOTHING: Final = "Nothing was decided and nothing was changed."
DECISIONS: Final = frozenset({"approve", "reject"})

_FORM: Final = "application/x-www-form-urlencoded"
_FIELDS: Final = frozenset({"csrf", "decision", "reason", "request"})
_MOST_FIELDS: Final = 60


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent; ``requests`` are the ids of the findings that were ticked, where there are several."""

    decision: str
    reason: str
    csrf: str
    requests: frozenset[str]

    @property
    def wrong(self) -> str | None:
        """What is to be put right, or None."""
        if self.decision not in DECISIONS:
            return "Say whether you approve or reject."
        if self.decision == "reject" and not self.reason:
            return "Give a reason: whoever made the change will ask for it."
        if len(self.reason) > LONGEST_REASON:
            return f"The reason is longer than {LONGEST_REASON} characters."
        return None


def read_form(request: Request) -> Form:
    """The form that was sent.

    Raises:
        RefusedError: it is none of ours.
    """
    if len(request.body) > LONGEST_BODY:
        raise RefusedError(message(413, "That was too long", NOTHING), "the form is too long")
    if request.media_type != _FORM:
        raise RefusedError(message(415, "That was no form", NOTHING), "the content type is not a form's")
    try:
        fields = parse_qsl(request.body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        fields = []
    ticked = [value for name, value in fields if name == "request"]
    values = {name: value for name, value in fields if name != "request"}
    once = len(values) + len(ticked) == len(fields) and len(set(ticked)) == len(ticked)
    if not once or not {"csrf", "decision"} <= values.keys() <= _FIELDS:
        raise RefusedError(message(400, "That form was not complete", NOTHING), "the form is not ours")
    return Form(values["decision"], values.get("reason", "").strip(), values["csrf"], frozenset(ticked))
