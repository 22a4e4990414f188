"""Messages to be sent, of names that somebody chose to do harm."""

from __future__ import annotations

from hubwarden.domain.hub_id import HubId
from hubwarden.domain.message import Kind, Notice, group
from hubwarden.domain.severity import Severity
from tests.unit.fakes import START, SUB


HOSTILE = {
    "html": "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "markdown": "[click](https://evil.example) **bold** # head `code` ![i](https://evil.example/i.png)",
    "mrkdwn": "<!channel> <@U0123> <https://evil.example|safe> *bold* _it_ &lt;!here&gt;",
    "newlines": "one\r\nBcc: all@evil.example\n\nSubject: two\u2028three",
    "direction": "abc\u202egnp.exe\u2066x\u2069\u200fz",
    "date": "{{DATE(2026-01-01T00:00:00Z, SHORT)}} {{{TIME(2026-01-01T00:00:00Z)}}",
    "mention": "<at>Everybody</at> @channel @everyone",
    "controls": "a\x00b\x07c\x1b[31md\x7f",
    "surrogate": "lone \ud800 one",
    "long": "x" * 5000,
}


def message_of(text="minTlsVersion is 1.0", count=1, kind=Kind.ASKED, url="https://app.example/decide?t=1"):
    told = [
        Notice(
            kind=kind,
            finding=f"f-{number}",
            hub=HubId(SUB, "rg-prod", f"hub-{number:02}"),
            rule_id="tls-minimum",
            severity=Severity.HIGH,
            summary=text,
            reason=text,
            actor=text,
            at=START,
            digest="sha256:0",
        )
        for number in range(count)
    ]
    (message,) = group(told, lambda _: url)
    return message
