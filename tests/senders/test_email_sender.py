"""Mail is submitted over real SMTP: accepted, refused, greylisted, lost."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from senders.credentials import validate_credential
from senders.email import EmailSender
from senders.model import (
    Ambiguous,
    Delivered,
    Misconfigured,
    Outcome,
    Rejected,
    Rendered,
    RetryAfter,
    Target,
    Unregistered,
)
from senders.network import NetworkPolicy
from senders.registry import dry_run
from senders.sandbox.certificates import ensure_certificates

MESSAGE = Rendered(
    id="7f9c2a10-0000-4000-8000-000000000001",
    title="Hi Ann",
    body="Grüße\n.\nLunch",
    expires_at=1_790_000_000_000,
)


class _Mailbox:
    """An SMTP server's decisions, by the recipient's name."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.sessions: set[int] = set()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        name = address.partition("@")[0]
        refusals = {
            "gone": "550 5.1.1 no such user",
            "policy": "554 5.7.1 not wanted",
            "later": "450 4.2.1 greylisted",
            "slow": "450 4.7.28 too many messages",
        }
        if name in refusals:
            return refusals[name]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if envelope.rcpt_tos[0].startswith("lost"):
            assert server.transport is not None
            server.transport.abort()
            return "250 OK"
        if envelope.rcpt_tos[0].startswith("big"):
            return "552 5.3.4 too big"
        self.taken.append(envelope)
        self.sessions.add(id(session))
        return "250 OK queued as 1"


def _login(server: SMTP, session: Session, envelope: Envelope, kind: str, data: Any) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and data.password == b"right"
    return AuthResult(success=is_right, handled=False)


def _with_server(
    use: Callable[[EmailSender], Any], folder: Path, *, password: str = "right"
) -> tuple[Any, _Mailbox]:
    """Run ``use`` with a sender that must say STARTTLS and log in."""
    files = ensure_certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    mailbox = _Mailbox()

    def protocol() -> SMTP:
        return SMTP(
            mailbox,
            hostname="localhost",
            tls_context=context,
            require_starttls=True,
            authenticator=_login,
            auth_required=True,
        )

    async def run() -> Any:
        server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
        document = {
            "host": "localhost",
            "port": server.sockets[0].getsockname()[1],
            "from": "Shop <push@shop.example>",
            "username": "push",
            "password": password,
            "ca": (folder / "sandbox-ca.pem").read_text(),
        }
        credential = validate_credential("email", document)
        sender = EmailSender(credential, NetworkPolicy(), resolver=_here)  # type: ignore[arg-type]
        try:
            return await use(sender)
        finally:
            await sender.close()
            server.close()
            await server.wait_closed()

    return asyncio.run(run()), mailbox


async def _here(host: str, port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


async def _send_all(sender: EmailSender, *names: str) -> list[Outcome]:
    return [await sender.send(MESSAGE, Target("email", f"{name}@example.com")) for name in names]


def test_mails_are_taken_over_one_connection(tmp_path: Path) -> None:
    """Several mails, one login; what arrives is the message, with its stable id."""
    outcomes, mailbox = _with_server(lambda sender: _send_all(sender, "ann", "bob"), tmp_path)
    assert [Delivered, Delivered] == [type(outcome) for outcome in outcomes]
    assert 1 == len(mailbox.sessions)
    content = mailbox.taken[0].content
    assert isinstance(content, bytes)
    assert f"Message-ID: <{MESSAGE.id}@shop.example>".encode() in content
    assert "push@shop.example" == mailbox.taken[0].mail_from


def test_refusals_become_outcomes(tmp_path: Path) -> None:
    """Dead mailbox, policy, greylist, rate; and the connection serves the next mail."""
    names = ("gone", "policy", "later", "slow", "big", "ann")
    outcomes, _ = _with_server(lambda sender: _send_all(sender, *names), tmp_path)
    expected = [Unregistered, Rejected, RetryAfter, RetryAfter, Rejected, Delivered]
    assert expected == [type(outcome) for outcome in outcomes]
    assert not outcomes[3].is_counted


def test_a_connection_lost_after_the_data_is_ambiguous(tmp_path: Path) -> None:
    """The mail may have been taken; the next one gets a new connection."""
    outcomes, _ = _with_server(lambda sender: _send_all(sender, "lost", "ann"), tmp_path)
    assert [Ambiguous, Delivered] == [type(outcome) for outcome in outcomes]


def test_a_wrong_password_stops_the_credential(tmp_path: Path) -> None:
    """It is a matter of configuration, and the dry run tells it as well."""
    outcomes, _ = _with_server(lambda s: _send_all(s, "ann"), tmp_path, password="wrong")
    assert [Misconfigured] == [type(outcome) for outcome in outcomes]


def test_nobody_there_is_unsent() -> None:
    """A server that cannot be reached is tried again; one inside the network is forbidden."""

    async def run() -> list[Outcome]:
        document = {"host": "localhost", "port": 1, "from": "a@b.example", "security": "none"}
        credential = validate_credential("email", document)
        found = await _send_all(
            EmailSender(credential, NetworkPolicy(), resolver=_here),  # type: ignore[arg-type]
            "ann",
        )

        async def inside(host: str, port: int) -> tuple[str, ...]:
            return ("10.0.0.1",)

        sender = EmailSender(credential, NetworkPolicy(), resolver=inside)  # type: ignore[arg-type]
        found += await _send_all(sender, "ann")
        assert "Refused" in await dry_run(credential, network_policy=NetworkPolicy())
        return found

    unreachable, forbidden = asyncio.run(run())
    assert isinstance(unreachable, RetryAfter)
    assert isinstance(forbidden, Rejected)


@pytest.mark.parametrize("changes", [{"is_silent": True}, {"title": "", "body": ""}])
def test_a_mail_needs_words(changes: dict[str, Any]) -> None:
    """Without them nothing is connected."""

    async def run() -> Outcome:
        credential = validate_credential("email", {"host": "x.example", "from": "a@b.example"})
        sender = EmailSender(credential, NetworkPolicy())  # type: ignore[arg-type]
        message = msgspec.structs.replace(MESSAGE, **changes)
        return await sender.send(message, Target("email", "ann@example.com"))

    assert isinstance(asyncio.run(run()), Rejected)
