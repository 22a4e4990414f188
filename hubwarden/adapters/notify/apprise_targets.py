"""Where an apprise URL may lead.

What apprise says of its plugins is no ground to trust them: some that pass for secure send over http, or to
whatever host an option names. So these are the ones whose addresses were looked up in their code, at the version
that is pinned, and that a test sees sending: over https, to the vendor's own host or to the one the URL names.
"""

from __future__ import annotations

import re

from typing import Final

from hubwarden.domain.channels import Notify
from hubwarden.service.errors import DeniedError


OF_VENDORS: Final = frozenset({
    "dingtalk", "discord", "feishu", "gchat", "jira", "lark", "line", "msgbird", "opsgenie", "pagerduty",
    "pagertree", "pbul", "postmark", "pover", "resend", "sendgrid", "signl4", "spike", "stackfield", "tgram",
    "threema", "twilio", "vonage", "webex", "wecombot", "wxteams", "zoom",
})  # fmt: skip
"""The plugin sends to its vendor and nowhere else.

Left out are those that give every message one key, so that the vendor takes the second for the first again:
firehydrant, ilert, incidentio, splunk, squadcast.
"""

OF_ONES_OWN: Final = frozenset({
    "apprises", "forms", "gotifys", "jsons", "mmosts", "nctalks", "ntfys", "rockets", "signals", "synologys",
    "xmls",
})  # fmt: skip
"""The URL names the host, which must be in notify.allowed_hosts."""

OURS: Final = frozenset({
    "cto", "emojis", "format", "mode", "optional", "overflow", "redirect", "retry", "rto", "store", "template",
    "tz", "verify", "wait",
})  # fmt: skip
"""Options that no URL may have: they turn checks off, call a failure a success, or name files and other hosts."""

_SCHEME: Final = re.compile(r"([A-Za-z0-9]{1,20})://")
_ANOTHER: Final = re.compile(r"\s|[,;][A-Za-z0-9]{1,20}://")


def scheme_of(url: str, setting: str) -> str:
    """The URL's scheme.

    Raises:
        DeniedError: it is none that may be sent to, or there is more than one URL.
    """
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match else ""
    if scheme not in OF_VENDORS | OF_ONES_OWN:
        raise DeniedError(
            f"the app setting {setting} holds no apprise URL that may be used; it must begin with one of "
            f"{', '.join(f'{one}://' for one in sorted(OF_VENDORS | OF_ONES_OWN))}"
        )
    if _ANOTHER.search(url):
        raise DeniedError(f"the app setting {setting} holds more than one URL: make a channel for each")
    return scheme


def check_options(names: frozenset[str], setting: str) -> None:
    """The names of the URL's options.

    Raises:
        DeniedError: one of them is not the URL's to choose.
    """
    if found := names & OURS:
        raise DeniedError(
            f"the URL in the app setting {setting} may not have the option {', '.join(sorted(found))}"
        )


def check_host(scheme: str, host: str, notify: Notify, setting: str) -> None:
    """The host that the URL names.

    Raises:
        DeniedError: nobody allowed it.
    """
    if scheme in OF_ONES_OWN and not notify.allows("apprise", host):
        raise DeniedError(
            f"the URL in the app setting {setting} goes to a host that notify.allowed_hosts does not name"
        )
