"""A webhook receiver on this machine: verifies every signature and keeps every event.

It answers as Standard Webhooks demands, and shows the e-mails that the emulator accepted.
"""

import html
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3
from standardwebhooks import Webhook, WebhookVerificationError

from local.emulator import Service

Event = dict[str, Any]
MAX_BODY = 1_000_000


class Receiver(Service):
    """Listens on 127.0.0.1. `events` holds the verified events, each id once.

    `on_event` is called with each new event; `refused` counts those that did not verify.
    """

    def __init__(self, on_event: Callable[[Event], None] = lambda _: None) -> None:
        self.events: dict[str, Event] = {}
        self.refused = 0
        self.secret = ""
        self.mails: list[dict[str, Any]] = []
        self._on_event = on_event
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                body = self.rfile.read(min(length, MAX_BODY))
                self._answer(*receiver.receive(dict(self.headers.items()), body))

            def do_GET(self) -> None:
                self._answer(*receiver.show(self.path))

            def _answer(self, status: int, content: str = "") -> None:
                data = content.encode()
                self.send_response(status)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Log nothing: the caller prints events."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def receive(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """The status for a call: 401 if it is not signed with our secret."""
        try:
            event = Webhook(self.secret).verify(body, headers)
        except (WebhookVerificationError, ValueError, RuntimeError):
            self.refused += 1
            return 401, ""
        with self._lock:
            is_new = event["id"] not in self.events
            self.events.setdefault(event["id"], event)
        if is_new:
            self._on_event(event)
        return 204, ""

    # --- E-mails ---------------------------------------------------------------------------------

    def fetch_mails(self, emulator_url: str) -> list[dict[str, Any]]:
        """Ask the emulator for mails that were sent since the last time."""
        answer = urllib3.request("GET", f"{emulator_url}/_ministack/ses/messages", timeout=5)
        by_account = json.loads(answer.data)["messages"]
        found = [mail for account in by_account.values() for mail in account]
        fresh: list[dict[str, Any]] = found[len(self.mails) :]
        self.mails = found
        return fresh

    def show(self, path: str) -> tuple[int, str]:
        """The page of one mail (`/mails/1`), or the list of all."""
        number = path.removeprefix("/mails/")
        if number.isascii() and number.isdigit() and 0 < int(number) <= len(self.mails):
            return 200, mail_html(self.mails[int(number) - 1])
        return 200, list_html(self.mails)


# --- The pages of the e-mails ---------------------------------------------------------------------

_STYLE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { margin: 1.5rem auto; max-width: 50rem; padding: 0 1rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0 }
iframe { width: 100%; height: 34rem; border: 1px solid #8886; background: #fff }
pre { white-space: pre-wrap; border: 1px solid #8886; padding: 1rem }
</style>"""


def mail_subject(mail: dict[str, Any]) -> str:
    """The subject of a mail that the emulator keeps."""
    return str(mail.get("Subject", ""))


def mail_headers(mail: dict[str, Any]) -> dict[str, str]:
    """Time (UTC), sender, recipients and subject of a mail, by their labels."""
    sent = datetime.fromtimestamp(float(mail.get("Timestamp", 0)), UTC)
    return {
        "Sent": f"{sent:%Y-%m-%d %H:%M:%S} UTC",
        "From": str(mail.get("Source", "")),
        "To": ", ".join(mail.get("To", [])),
        "Subject": mail_subject(mail),
    }


def list_html(mails: list[dict[str, Any]]) -> str:
    """The page that lists all mails, the newest first."""
    rows = []
    for number, mail in reversed(list(enumerate(mails, 1))):
        cells = {label: html.escape(text) for label, text in mail_headers(mail).items()}
        cells["Subject"] = f"<a href='/mails/{number}'>{cells['Subject']}</a>"
        rows.append("".join(f"<td>{cell}</td>" for cell in cells.values()))
    head = "".join(f"<th scope='col'>{label}</th>" for label in mail_headers({}))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    empty = "" if rows else "<p>No e-mail yet. They are sent once a minute.</p>"
    return (
        f"{_STYLE}<title>E-mails</title><h1>E-mails</h1><table><tr>{head}</tr>{body}</table>{empty}"
    )


def mail_html(mail: dict[str, Any]) -> str:
    """The page of one mail: its headers, its HTML as a reader sees it, its plain text."""
    rows = "".join(
        f"<tr><th scope='row'>{label}</th><td>{html.escape(text)}</td></tr>"
        for label, text in mail_headers(mail).items()
    )
    # Sandboxed: a mail runs no script, as in a mail reader.
    shown = html.escape(str(mail.get("BodyHtml", "")))
    text = html.escape(str(mail.get("BodyText", "")))
    return (
        f"{_STYLE}<title>{html.escape(mail_subject(mail))}</title>"
        f"<p><a href='/mails'>All e-mails</a></p><table>{rows}</table>"
        f"<h2>HTML</h2><iframe sandbox title='HTML' srcdoc=\"{shown}\"></iframe>"
        f"<h2>Plain text</h2><pre>{text}</pre>"
    )


class Accepting(Receiver):
    """Accepts every request, for endpoints whose secret it does not have."""

    def receive(self, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """The status for a call: accepted."""
        del headers, body
        return 204, ""
