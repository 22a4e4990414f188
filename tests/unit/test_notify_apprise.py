"""What apprise may be given: text that is text everywhere, and URLs that lead where they should."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.adapters.notify.apprise_targets import OF_ONES_OWN, OF_VENDORS, check_host, check_options, scheme_of
from hubwarden.adapters.notify.apprise_text import body, neutral
from hubwarden.domain.channels import Notify
from hubwarden.domain.message import group
from hubwarden.service.errors import DeniedError
from tests.notify.cases import HOSTILE, message_of


MARKUP = set("<>&*_~`[]{}|\\#$^@")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plant-north-iot: minTlsVersion is 1.0, below 1.2 (a reason)",) * 2,
        ("the rights 'RegistryWrite, ServiceConnect'", "the rights 'RegistryWrite, ServiceConnect'"),
        ("<b>", "‹b›"),  # noqa: RUF001 - that they look alike is the point
        ("@everyone", "(at)everyone"),
        ("*b* _i_", "∗b∗ ＿i＿"),  # noqa: RUF001
        ("https://evil.example/x", "https∶//evil․example/x"),  # noqa: RUF001
        (":smile:", "∶smile:"),  # noqa: RUF001
        ("at 09:41", "at 09∶41"),  # noqa: RUF001
        ("[a](b)", "［a］(b)"),  # noqa: RUF001
    ],
)
def test_what_reads_as_more_than_text_is_replaced_by_what_looks_like_it(text, shown):
    assert neutral(text) == shown


@given(st.text())
def test_nothing_is_left_of_markup_mentions_and_links(text):
    said = neutral(text)
    assert not MARKUP & set(said)
    assert "://" not in said
    assert neutral(said) == said


def test_names_of_hosts_and_addresses_are_no_links_any_more():
    for text in ("www.evil.example", "evil.example", "xn--a.example", "mia@evil.example", "mailto:x"):
        said = neutral(text)
        assert "." not in said
        assert "mailto:" not in said


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_only_our_own_links_are_links(text):
    said = body(message_of(text, count=3, url="https://app.example/decide?t=a_b-c.d"), lambda _: True)
    rest = said.replace("https://app.example/decide?t=a_b-c.d", "")
    assert not MARKUP & set(rest)
    assert "://" not in rest
    assert said.count("https://app.example/decide?t=a_b-c.d") == 4


LINK = "https://app.example/decide?t=1"
PAGE = f"https://app.example/several?{'u' * 1900}"


@pytest.mark.parametrize(
    ("longest", "page", "hubs", "tail"),
    [
        (10_000, LINK, 10, f"and 30 more\nDecide on all 40: {LINK}"),
        (400, LINK, 3, f"and 37 more\nDecide on all 40: {LINK}"),
        (2500, PAGE, 5, f"and 35 more\nDecide on all 40: {PAGE}"),
        (1900, PAGE, 10, f"{LINK}\nand 30 more"),
        (400, PAGE, 3, f"{LINK}\nand 37 more"),
        (60, PAGE, 0, LINK),
        (20, LINK, 0, "Severity: high"),
    ],
)
def test_what_does_not_fit_is_fewer_hubs_each_with_its_link(longest, page, hubs, tail):
    (message,) = group(message_of(count=40).about, lambda some: LINK if len(some) == 1 else page)
    said = body(message, lambda text: len(text) <= longest)
    assert len(said) <= longest
    assert said.count("\n- hub-") == hubs
    assert said.endswith(tail)
    assert hubs == 0 or said.count(LINK) - tail.endswith(f"all 40: {LINK}") == hubs


SETTING = "HUBWARDEN_APPRISE_URL"


@pytest.mark.parametrize(
    "url",
    [
        # not encrypted, though their plugins have an encrypted twin
        *(
            "json://h.example/S3CRET",
            "xml://h.example/S3CRET",
            "form://h.example/S3CRET",
            "mqtt://h.example/S3CRET",
        ),
        *("mailto://u:S3CRET@h.example", "gotify://h.example/S3CRET", "ntfy://h.example/S3CRET", "irc://h/S3CRET"),
        # this machine
        *("file:///etc/S3CRET", "dbus://S3CRET", "gnome://S3CRET", "macosx://S3CRET", "windows://S3CRET"),
        *("syslog://S3CRET", "rsyslog://h/S3CRET", "growl://S3CRET", "glib://S3CRET", "blink1://S3CRET"),
        # they say that they are secure, and send over http, or over a bare socket, or wherever they are told
        *("kavenegar://S3CRET/1", "dapnet://u:S3CRET@x", "aprs://u:S3CRET@x", "vapid://S3CRET@x.example/y"),
        *("zulip://b@evil.example/S3CRET", "acs://S3CRET@x", "nostr://S3CRET", "matrixs://u:S3CRET@h/x"),
        *("azure://S3CRET", "workflows://h.example/S3CRET/x", "slack://S3CRET", "mailtos://u:S3CRET@h.example"),
        # no apprise URL at all
        *("", "S3CRET", "https://discord.com/api/webhooks/1/S3CRET", "://S3CRET", " jsons://h.example/S3CRET"),
        *("jsons:S3CRET", "jsonsx://S3CRET", "js ons://S3CRET"),
        # more than one
        *("jsons://h.example/S3CRET, json://evil.example", "discord://1/S3CRET json://evil.example"),
        *(
            "jsons://h.example/S3CRET,json://evil.example",
            "jsons://h.example/S3CRET;file://x",
            "jsons://h\n/S3CRET",
        ),
    ],
)
def test_a_url_that_leads_elsewhere_is_refused_and_unsaid(url):
    with pytest.raises(DeniedError, match=SETTING) as caught:
        scheme_of(url, SETTING)
    assert "S3CRET" not in str(caught.value)
    assert "evil" not in str(caught.value)


def test_a_refusal_says_what_is_allowed():
    with pytest.raises(DeniedError, match="discord://") as caught:
        scheme_of("json://h.example", SETTING)
    assert all(f"{scheme}://" in str(caught.value) for scheme in OF_VENDORS | OF_ONES_OWN)


@pytest.mark.parametrize("url", ["jsons://h.example/x?a=b,c", "JSONS://h.example", "jsons://u:p@h.example:8443/x"])
def test_a_url_that_may_be_used_is_known_by_its_scheme(url):
    assert scheme_of(url, SETTING) == "jsons"


@pytest.mark.parametrize("name", ["verify", "optional", "redirect", "mode", "template", "format", "rto"])
def test_what_hubwarden_decides_no_url_does(name):
    with pytest.raises(DeniedError, match=name):
        check_options(frozenset({name, "method"}), SETTING)
    check_options(frozenset({"method"}), SETTING)


NOTIFY = Notify.model_validate({"allowed_hosts": ["chat.example.com"], "channels": {"else": {"kind": "apprise"}}})


@pytest.mark.parametrize(
    "host",
    ["evil.example", "", "chat.example.com.evil.example", "CHAT.example.com.", "x@chat.example.com", "10.0.0.1"],
)
@pytest.mark.parametrize("scheme", sorted(OF_ONES_OWN))
def test_a_host_that_nobody_allowed_is_refused(scheme, host):
    with pytest.raises(DeniedError, match=r"notify\.allowed_hosts") as caught:
        check_host(scheme, host, NOTIFY, SETTING)
    assert "evil" not in str(caught.value)
    check_host(scheme, "chat.example.com", NOTIFY, SETTING)


def test_the_policy_file_names_the_setting_and_holds_no_url():
    assert NOTIFY.channels["else"].url_setting == SETTING
    with pytest.raises(ValueError, match="Extra inputs"):
        Notify.model_validate({"channels": {"x": {"kind": "apprise", "url": "discord://1/2"}}})


def test_a_cold_start_does_without_apprise():
    code = "import sys, hubwarden.bootstrap; sys.exit('apprise' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
