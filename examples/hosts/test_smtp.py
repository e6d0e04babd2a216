"""aiosmtplib and aiosmtpd, as they are: mail arrives although the mail exchanger restarts, and once if somebody counts."""

import asyncio
from email.message import EmailMessage

import pytest

pytest.importorskip("aiosmtplib")
pytest.importorskip("aiosmtpd")

import aiosmtplib
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as Dialogue

from pytest_convergence import Session


class Mailbox:
    """Takes mail; the same message twice is one."""

    def __init__(self) -> None:
        self.mails: dict[str, bytes] = {}
        self.deliveries = 0

    async def handle_DATA(self, server: SMTP, session: Dialogue, envelope: Envelope) -> str:  # noqa: N802
        content = bytes(envelope.content or b"")
        number = next(line for line in content.splitlines() if line.startswith(b"Message-ID:"))
        self.mails[number.decode()] = content
        self.deliveries += 1
        await asyncio.sleep(0.01)  # the disk takes its time
        return "250 OK"


async def exchanger(mailbox: Mailbox) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="mx", loop=loop), "0.0.0.0", 25)
    await server.serve_forever()


async def sender(count: int) -> str:
    for number in range(count):
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "ann@example.com", "bob@example.com", "lunch?"
        mail["Message-ID"] = f"<{number}@example.com>"
        mail.set_content("at noon")
        while True:
            try:
                await aiosmtplib.send(mail, hostname="mx", port=25, timeout=5)
                break
            except (OSError, aiosmtplib.SMTPException):
                await asyncio.sleep(1)
    return "sent"


@pytest.mark.convergence(network="flaky", schedules=10)
def test_each_mail_arrives(convergence_session: Session) -> None:
    mailbox = Mailbox()
    convergence_session.host("mx", exchanger, mailbox)
    convergence_session.host("sender", sender, 2)
    assert convergence_session.run().results["sender"] == "sent"
    assert len(mailbox.mails) == 2


def test_a_mail_whose_confirmation_is_lost_comes_twice(convergence_session: Session) -> None:
    mailbox = Mailbox()
    server = convergence_session.host("mx", exchanger, mailbox)

    async def scenario(session: Session) -> None:
        await session.sleep(1)
        session.host("sender", sender, 1)
        while not mailbox.deliveries:
            await session.sleep(0.001)
        server.crash(silently=False)  # it has the mail, and has not said so
        server.restart()
        await session.finished()

    convergence_session.run(scenario)
    assert (len(mailbox.mails), mailbox.deliveries) == (1, 2)
