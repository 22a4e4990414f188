"""Links and the tokens of their pages: what is taken, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from hypothesis import given
from hypothesis import strategies as st

from hubwarden.domain.approval import Ask
from hubwarden.domain.message import TOGETHER
from hubwarden.web.links import FORM_LASTS, SEVERAL, LinkError, Links


OLD, NEW = b"o" * 40, b"n" * 40
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
ID, OTHER = "f-0123456789abcdef", "f-fedcba9876543210"
DIGEST = "sha256:" + "a" * 64


def links(*keys):
    return Links(keys or (NEW,), "https://app.example")


def query_of(url):
    return dict(parse_qsl(urlsplit(url).query))


def made(*keys, **more):
    return query_of(links(*keys).url([Ask(ID, DIGEST)], NOW + timedelta(hours=24))) | more


def test_a_link_leads_to_its_finding_and_plan():
    url = links().url([Ask(ID, DIGEST)], NOW + timedelta(hours=24))
    assert url.startswith(f"https://app.example/api/approvals/{ID}?v=1&p=sha256:")
    link = links().read(ID, query_of(url), NOW)
    assert (link.asks, link.expires_at) == ((Ask(ID, DIGEST),), NOW + timedelta(hours=24))
    assert urlsplit(url).query == link.query


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 400),
        (made(s=""), 400),
        (made(s=made()["s"][:-1]), 400),
        (made(v="2"), 400),
        (made(v=""), 400),
        (made(e="9" * 40), 400),
        (made(e="-1"), 400),
        (made(e="١٢٣٤٥٦٧٨٩٠"), 400),
        (made(p=""), 400),
        (made(s="A" * 43), 403),
        (made(p="sha256:" + "b" * 64), 403),
        (made(e=str(int((NOW + timedelta(days=300)).timestamp()))), 403),
        (made(b"x" * 40), 403),
    ],
)
def test_what_is_no_link_of_ours_is_refused(query, status):
    with pytest.raises(LinkError) as caught:
        links().read(ID, query, NOW)
    assert caught.value.status == status


def test_a_link_opens_no_other_request():
    with pytest.raises(LinkError) as caught:
        links().read(OTHER, made(), NOW)
    assert caught.value.status == 403


SOME = [Ask(ID, DIGEST), Ask(OTHER, "sha256:" + "0123456789abcdef" * 4)]


def several(asks=SOME, *keys):
    return query_of(links(*keys).url(asks, NOW + timedelta(hours=24)))


def test_a_link_to_several_requests_names_each_and_its_plan():
    url = links().url(SOME, NOW + timedelta(hours=24))
    assert url.startswith(f"https://app.example/api/approvals/{SEVERAL}?v=1&p=")
    link = links().read(SEVERAL, query_of(url), NOW)
    assert [ask.finding_id for ask in link.asks] == [ID, OTHER]
    assert all(ask.means(asked.digest) for ask, asked in zip(link.asks, SOME, strict=True))
    assert not link.asks[0].means(SOME[1].digest)
    assert (link.place, link.query) == (SEVERAL, urlsplit(url).query)


ids = st.integers(0, 2**64 - 1).map(lambda n: f"f-{n:016x}")
digests = st.integers(0, 2**256 - 1).map(lambda n: f"sha256:{n:064x}")


@given(st.lists(st.builds(Ask, ids, digests), min_size=2, max_size=TOGETHER))
def test_whatever_a_link_names_is_read_from_it_again(asks):
    read = links().read(SEVERAL, several(asks), NOW).asks
    assert [(ask.finding_id, ask.digest) for ask in read] == [(ask.finding_id, ask.digest[:39]) for ask in asks]
    assert all(ask.means(asked.digest) for ask, asked in zip(read, asks, strict=True))


def test_as_many_as_a_page_holds_fit_into_an_address_that_every_front_end_takes():
    asks = [Ask(f"f-{n:016x}", f"sha256:{n:064x}") for n in range(TOGETHER)]
    assert len(urlsplit(links().url(asks, NOW)).query) < 2000


@pytest.mark.parametrize(
    ("place", "query", "status"),
    [
        (ID, several(), 400),
        (SEVERAL, made(), 400),
        (SEVERAL, several() | {"p": several()["p"][:-4]}, 400),
        (SEVERAL, several() | {"p": several()["p"] + "AAAA"}, 403),
        (SEVERAL, several() | {"p": several(SOME[::-1])["p"]}, 403),
        (SEVERAL, several() | {"s": made()["s"]}, 403),
        (SEVERAL, several(SOME, b"x" * 40), 403),
        ("SEVERAL", several(), 400),
    ],
)
def test_what_is_no_link_of_ours_to_several_is_refused(place, query, status):
    with pytest.raises(LinkError) as caught:
        links().read(place, query, NOW)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "digest", ["", "sha256:", DIGEST[:38], DIGEST + "0", "sha256:" + "b" * 64, DIGEST.upper()]
)
def test_a_plan_is_named_by_its_digest_or_the_first_half_and_by_nothing_less(digest):
    assert not Ask(ID, digest).means(DIGEST)
    assert Ask(ID, DIGEST).means(DIGEST)
    assert Ask(ID, DIGEST[:39]).means(DIGEST)


def test_a_link_ends_with_its_time_and_not_a_second_later():
    links().read(ID, made(), NOW + timedelta(hours=24, seconds=-1))
    with pytest.raises(LinkError) as caught:
        links().read(ID, made(), NOW + timedelta(hours=24))
    assert caught.value.status == 410


def test_a_new_key_signs_and_the_old_one_is_still_taken():
    both = links(NEW, OLD)
    both.read(ID, made(OLD), NOW)
    assert query_of(both.url([Ask(ID, DIGEST)], NOW + timedelta(hours=24))) == made(NEW)
    with pytest.raises(LinkError):
        links(NEW).read(ID, made(OLD), NOW)


@given(st.sampled_from("vpes"), st.integers(0, 60), st.characters(codec="utf-8"))
def test_no_change_of_any_letter_is_taken(name, at, letter):
    query = made()
    at %= len(query[name])
    changed = query[name][:at] + letter + query[name][at + 1 :]
    if changed != query[name]:
        with pytest.raises(LinkError):
            links().read(ID, query | {name: changed}, NOW)


@pytest.mark.parametrize(
    ("who", "link", "later", "fine"),
    [
        ("kim", made(), timedelta(0), True),
        ("kim", made(), FORM_LASTS - timedelta(seconds=1), True),
        ("kim", made(), FORM_LASTS, False),
        ("robin", made(), timedelta(0), False),
        ("kim", query_of(links().url([Ask(ID, "sha256:b")], NOW + timedelta(hours=24))), timedelta(0), False),
    ],
)
def test_a_form_belongs_to_its_link_its_person_and_its_hours(who, link, later, fine):
    of = links().read(ID, made(), NOW)
    token = links().form_token(of, "kim", NOW)
    assert links().is_form_token(token, links().read(ID, link, NOW), who, NOW + later) is fine


@pytest.mark.parametrize("token", ["", ".", "1.2", "x" * 50, f"{int(NOW.timestamp()) + 60}." + "A" * 43])
def test_what_is_no_token_is_refused(token):
    assert not links().is_form_token(token, links().read(ID, made(), NOW), "kim", NOW)


def test_a_links_signature_is_no_token():
    of = links().read(ID, made(), NOW)
    assert not links().is_form_token(f"{made()['e']}.{made()['s']}", of, "kim", NOW)
