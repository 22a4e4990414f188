"""E-mail by a mail server: plain text, over TLS or not at all."""

from __future__ import annotations

import asyncio
import smtplib
import ssl

from collections.abc import Callable
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from hubwarden.adapters.azure.redaction import safe_text
from hubwarden.adapters.tickets.http import Secret
from hubwarden.domain.channels import Smtp
from hubwarden.domain.message import Message, visible
from hubwarden.service.errors import AzureError, DeniedError, PermanentError, TransientError


_TIMEOUT: Final = 20
_TLS_FROM_THE_START: Final = 465


class SmtpChannel:
    """Channel."""

    def __init__(
        self,
        settings: Smtp,
        secret: Secret,
        *,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._tls = tls

    async def send(self, message: Message) -> None:
        """See Channel."""
        await asyncio.to_thread(self._deliver, mail(self._settings, message))

    async def close(self) -> None:
        """See Channel."""

    def _deliver(self, letter: EmailMessage) -> None:
        try:
            with self._connected() as server:
                if self._settings.user is not None:
                    server.login(self._settings.user, self._secret.value)
                server.send_message(letter)
        except (smtplib.SMTPException, OSError) as error:
            raise self._translated(error) from None

    def _connected(self) -> smtplib.SMTP:
        host, port = self._settings.host, self._settings.port
        if port == _TLS_FROM_THE_START:
            return smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT, context=self._tls())
        server = smtplib.SMTP(host, port, timeout=_TIMEOUT)
        try:
            server.starttls(context=self._tls())
        except BaseException:
            server.close()
            raise
        return server

    def _translated(self, error: Exception) -> AzureError:
        said = safe_text(self._secret.kept_out_of(f"{type(error).__name__}: {error}"), 300)
        text = f"mail to {self._settings.host}: {said}"
        match error:
            case smtplib.SMTPAuthenticationError() | smtplib.SMTPNotSupportedError() | ssl.SSLError():
                return DeniedError(text)
            case smtplib.SMTPResponseException(smtp_code=code):
                return TransientError(text, sent=True) if code // 100 == 4 else PermanentError(text)  # noqa: PLR2004
            case smtplib.SMTPRecipientsRefused():
                return PermanentError(text)
            case _:
                return TransientError(text, sent=True)


def mail(settings: Smtp, message: Message) -> EmailMessage:
    """The message as a letter; its Message-ID is the same however often it is sent."""
    letter = EmailMessage()
    letter["Subject"] = visible(f"[hubwarden] {message.title}", 200)
    letter["From"] = settings.sender
    letter["To"] = ", ".join(settings.to)
    letter["Date"] = format_datetime(message.at)
    letter["Message-ID"] = f"<{message.id}@{settings.sender.split('@')[1]}>"
    letter["Auto-Submitted"] = "auto-generated"
    letter.set_content("\n".join(message.lines))
    return letter
