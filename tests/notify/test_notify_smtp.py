"""E-mail by a mail server: over TLS or not at all."""

from __future__ import annotations

import email
import email.policy
import logging
import socket
import ssl

import pytest

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from hubwarden.adapters.notify.smtp import SmtpChannel
from hubwarden.adapters.tickets.http import Secret
from hubwarden.domain.channels import Smtp
from hubwarden.service.errors import DeniedError, PermanentError, TransientError
from tests.notify.cases import HOSTILE, message_of


class Post:
    """A mail server on loopback; ``answer`` is what it says to each letter."""

    def __init__(self):
        self.letters = []
        self.answer = "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.letters.append((session, envelope))
        return self.answer

    def last(self):
        return email.message_from_bytes(self.letters[-1][1].content, policy=email.policy.default)


def start(post, context, **more):
    class Loopback(Controller):
        def factory(self):
            return SMTP(self.handler, **more)

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Loopback(post, hostname="127.0.0.1", port=port, ssl_context=context)
    controller.start()
    return controller


@pytest.fixture
def tls(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def post():
    return Post()


def letters_by(controller, trusting, *, secret="S3CRET", **more):
    port = controller.server.sockets[0].getsockname()[1]
    settings = Smtp.model_construct(
        kind="smtp", host="localhost", port=port, sender="hubwarden@example.com", to=["ops@example.com"],
        user=None, password_setting="HUBWARDEN_SMTP_PASSWORD",
    ).model_copy(update=more)  # fmt: skip
    return SmtpChannel(settings, Secret("HUBWARDEN_SMTP_PASSWORD", secret), tls=trusting)


@pytest.fixture
def server(post, tls):
    def authenticated(_server, _session, _envelope, _mechanism, data):
        return AuthResult(success=data.password == b"S3CRET", handled=False)

    running = start(post, None, tls_context=tls, require_starttls=True, authenticator=authenticated)
    yield running
    running.stop()


async def test_a_letter_is_sent_over_tls(server, post, trusting):
    await letters_by(server, trusting).send(message_of())
    session, envelope = post.letters[0]
    assert session.ssl is not None
    assert envelope.rcpt_tos == ["ops@example.com"]
    assert post.last()["Subject"] == "[hubwarden] Approval needed: tls-minimum on hub-00"
    assert post.last()["Auto-Submitted"] == "auto-generated"
    assert "https://app.example/decide?t=1" in post.last().get_content()


async def test_with_a_user_it_signs_in(server, post, trusting):
    await letters_by(server, trusting, user="me").send(message_of())
    assert post.letters[0][0].authenticated


async def test_a_wrong_password_is_told_without_it(server, post, trusting):
    with pytest.raises(DeniedError) as caught:
        await letters_by(server, trusting, user="me", secret="wr0ng-one").send(message_of())
    assert "wr0ng-one" not in str(caught.value)
    assert not post.letters


async def test_a_server_without_tls_gets_nothing(post, trusting):
    plain = start(post, None)
    try:
        with pytest.raises(DeniedError):
            await letters_by(plain, trusting).send(message_of())
    finally:
        plain.stop()
    assert not post.letters


async def test_a_server_that_nobody_vouches_for_gets_nothing(server, post):
    with pytest.raises(DeniedError, match=r"(?i)certificate"):
        await letters_by(server, ssl.create_default_context).send(message_of())
    assert not post.letters


@pytest.mark.parametrize(
    ("answer", "error"), [("451 later", TransientError), ("554 never", PermanentError)], ids=["4xx", "5xx"]
)
async def test_an_answer_becomes_the_error_that_it_is(server, post, trusting, answer, error):
    post.answer = answer
    with pytest.raises(error):
        await letters_by(server, trusting).send(message_of())


async def test_a_server_that_is_down_is_waited_for(server, trusting):
    with pytest.raises(TransientError):
        await letters_by(server, trusting, port=1).send(message_of())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_whatever_a_hub_is_called_the_headers_are_ours(server, post, trusting, text, caplog):
    caplog.set_level(logging.CRITICAL)
    await letters_by(server, trusting).send(message_of(text))
    assert sorted(post.last().keys()) == sorted([
        "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "Content-Type",
        "Content-Transfer-Encoding", "MIME-Version",
    ])  # fmt: skip
    assert post.last().get_content_type() == "text/plain"
    assert post.letters[0][1].rcpt_tos == ["ops@example.com"]
