"""E-mail over SMTP submission: text and HTML, one message per recipient (RFC 5321, 5322, 8058).

``overrides.email`` may set ``subject``, ``text`` and ``html``; without it they are made from the
message's words. The connection is kept and used again; a failure before the data was sent is safe
to repeat.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Any

import aiosmtplib

from senders.credentials import EmailCredential
from senders.http import CONNECT_TIMEOUT_S, SEND_TIMEOUT_S, UnansweredError, UnsentError
from senders.model import Delivered, InvalidMessage, Outcome, Rejected, Rendered, Target
from senders.network import ForbiddenUrlError, NetworkPolicy, Resolve, resolve
from senders.outcomes import classify, from_failure
from senders.payload import Payload, first_image, require_words

LIMIT_BYTES = 512_000
_ADDRESS = re.compile(r"[^\s<>@,;:\\\"()\[\]]{1,64}@[A-Za-z0-9.-]{1,253}")
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")


def check_target(target: Target) -> None:
    """Check an address when it is registered.

    Raises:
        ValueError: not one mail address.
    """
    if not _ADDRESS.fullmatch(target.address):
        raise ValueError("/address: is not a mail address")


def email_message(
    rendered: Rendered, *, sender: str, recipient: str, now: int, unsubscribe_url: str = ""
) -> EmailMessage:
    """The mail, with ``Message-ID`` from the push id, so that repeated mails are seen as one.

    Args:
        rendered: the message.
        sender: ``From`` (address, with or without a name).
        recipient: address.
        now: epoch ms, for ``Date``.
        unsubscribe_url: takes the one-click POST (RFC 8058); the push id is appended.

    Raises:
        InvalidMessage: nothing to show, or a header that cannot be.
    """
    override = rendered.overrides.get("email") or {}
    if not override:
        require_words(rendered)
    subject = " ".join(str(override.get("subject") or rendered.title or rendered.body).split())
    domain = parseaddr(sender)[1].rpartition("@")[2]
    mail = EmailMessage()
    try:
        mail["From"], mail["To"], mail["Subject"] = sender, recipient, subject
    except ValueError as error:
        raise InvalidMessage("/overrides/email", str(error)) from None
    mail["Message-ID"] = f"<{rendered.id}@{domain}>"
    mail["Date"] = format_datetime(datetime.fromtimestamp(now // 1000, UTC))
    if unsubscribe_url:
        mark = "&" if "?" in unsubscribe_url else "?"
        mail["List-Unsubscribe"] = f"<{unsubscribe_url}{mark}id={rendered.id}>"
        mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    if rendered.lane == "marketing":
        mail["Precedence"] = "bulk"
    mail.set_content(str(override.get("text") or _text(rendered)))
    mail.add_alternative(str(override.get("html") or _html(rendered)), subtype="html")
    return mail


def email_payload(rendered: Rendered, *, sender: str, recipient: str, now: int) -> Payload:
    """The mail as bytes, for previews.

    Raises:
        InvalidMessage: see ``email_message``, or too long.
    """
    return _bytes(email_message(rendered, sender=sender, recipient=recipient, now=now))


def _bytes(mail: EmailMessage) -> Payload:
    body = mail.as_bytes()
    if len(body) > LIMIT_BYTES:
        raise InvalidMessage("", f"{len(body)} bytes; a mail has at most {LIMIT_BYTES}")
    return Payload({}, body, len(body))


def _text(rendered: Rendered) -> str:
    lines = [rendered.title, rendered.subtitle, rendered.body, _web_link(rendered.deep_link)]
    return "\n\n".join(line for line in lines if line) + "\n"


def _html(rendered: Rendered) -> str:
    parts = [f"<h1>{escape(rendered.title)}</h1>"] if rendered.title else []
    if rendered.subtitle:
        parts.append(f"<p><strong>{escape(rendered.subtitle)}</strong></p>")
    if image := first_image(rendered):
        alt = next((medium.alt for medium in rendered.media if medium.url == image), "")
        parts.append(f'<p><img src="{escape(image)}" alt="{escape(alt)}" width="600"></p>')
    parts.extend(f"<p>{escape(line)}</p>" for line in rendered.body.splitlines() if line)
    links = [(rendered.deep_link, rendered.title or rendered.deep_link)]
    links += [(action.deep_link, action.title) for action in rendered.actions]
    parts.extend(
        f'<p><a href="{escape(link)}">{escape(name)}</a></p>'
        for link, name in links
        if _web_link(link)
    )
    return "<!doctype html><html><body>" + "".join(parts) + "</body></html>"


def _web_link(link: str) -> str:
    return link if link.startswith(("https://", "http://")) else ""


class EmailSender:
    """Submits to one SMTP server over one connection."""

    def __init__(
        self,
        credential: EmailCredential,
        policy: NetworkPolicy,
        *,
        clock_s: Callable[[], float] = time.time,
        resolver: Resolve = resolve,
    ) -> None:
        """Take a validated credential."""
        self._credential, self._policy = credential, policy
        self._clock_s, self._resolve = clock_s, resolver
        self._client: aiosmtplib.SMTP | None = None
        self._turn = asyncio.Lock()

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; see ``Sender``."""
        credential = self._credential
        try:
            mail = email_message(
                message,
                sender=credential.sender,
                recipient=target.address,
                now=int(self._clock_s() * 1000),
                unsubscribe_url=credential.unsubscribe_url,
            )
            async with self._turn:
                return await self._submit(_bytes(mail).body, target.address)
        except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
            return from_failure(error)
        except InvalidMessage as error:
            return Rejected(str(error))
        except aiosmtplib.SMTPResponseException as error:
            return _outcome(error.code, error.message)

    async def close(self) -> None:
        """Say goodbye and close the connection."""
        client, self._client = self._client, None
        if client is not None and client.is_connected:
            try:
                await client.quit()
            except aiosmtplib.SMTPException:
                client.close()

    async def check(self) -> None:
        """Connect and log in.

        Raises:
            UnsentError: it cannot be reached.
            ForbiddenUrlError: the network policy refuses it.
            aiosmtplib.SMTPResponseException: it refuses us.
        """
        async with self._turn:
            await self._connected()

    async def _submit(self, data: bytes, recipient: str) -> Outcome:
        client = await self._connected()
        try:
            await client.mail(parseaddr(self._credential.sender)[1])
            await client.rcpt(recipient)
        except aiosmtplib.SMTPResponseException:
            await self._start_over(client)
            raise
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            raise UnsentError(f"SMTP: {error}") from error
        try:
            said = await client.data(data)
        except aiosmtplib.SMTPResponseException:
            await self._start_over(client)
            raise
        except (aiosmtplib.SMTPException, OSError) as error:
            client.close()
            raise UnansweredError(f"SMTP: {error}") from error
        return Delivered(said.message[:200])

    async def _start_over(self, client: aiosmtplib.SMTP) -> None:
        try:
            await client.rset()
        except (aiosmtplib.SMTPException, OSError):
            client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        """A live connection: the one we have, if it still answers, else a new one."""
        if self._client is not None and self._client.is_connected:
            try:
                await self._client.noop()
                return self._client
            except (aiosmtplib.SMTPException, OSError):
                self._client.close()
        self._client = await self._connect()
        return self._client

    async def _connect(self) -> aiosmtplib.SMTP:
        credential = self._credential
        address = await self._address()
        client = aiosmtplib.SMTP(
            hostname=credential.host,
            username=credential.username or None,
            password=credential.password or None,
            use_tls=credential.security == "tls",
            start_tls=credential.security == "starttls",
            tls_context=self._tls() if credential.security != "none" else None,
            timeout=SEND_TIMEOUT_S,
            sock=await _open(address, credential.port),
        )
        try:
            await client.connect()
        except aiosmtplib.SMTPResponseException:
            raise
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise UnsentError(f"SMTP: {error}") from error
        return client

    async def _address(self) -> str:
        host = self._credential.host
        found = await self._resolve(host, self._credential.port)
        if not found:
            raise UnsentError(f"{host} cannot be resolved")
        return self._policy.check_addresses(host, found, is_endpoint=True)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._credential.ca:
            context.load_verify_locations(cadata=self._credential.ca)
        return context


async def _open(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setblocking(False)
    try:
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_connect(opened, (address, port)), CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError) as error:
        opened.close()
        raise UnsentError(f"SMTP: {type(error).__name__}: {error}") from error
    return opened


def _outcome(status: int, message: Any) -> Outcome:
    found = _ENHANCED.search(str(message))
    return classify("email", status, found[1] if found else "")
