"""Alerts: a webhook is told when a budget's use reaches a threshold."""

import json
import logging
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from http.client import HTTPException
from urllib.parse import urlsplit

from assistant.gateway.alert_log import RETRY_AFTER, Alert, claim, note_delivery
from assistant.gateway.ledger import Ledger
from assistant.gateway.ledger_file import LedgerUnavailable
from assistant.gateway.settings import Alerts as AlertSettings
from index.secret_file import NoSecret, SecretFile

log = logging.getLogger("casebook.gateway")

TIMEOUT_SECONDS = 5.0


class NotDelivered(Exception):
    """Why the webhook was not told; names no address, which may hold a secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What the webhook's host answers decides nothing about where we send."""

    def redirect_request(self, *_: object) -> None:
        return None


class Alerts:
    """Tells the webhook of the settings what the ledger has noted, once for each budget, threshold and day.

    Sending is a thread's that ends when there is nothing more to send, so that no call waits for it or
    fails with it. What could not be delivered is logged and sent again at the first `check` a minute
    later; a process that dies between sending and noting so sends again as well. `ledger` has the
    thresholds of the same settings.
    """

    def __init__(
        self,
        settings: AlertSettings,
        ledger: Ledger,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._variable = settings.url_env or ""
        file = settings.url_file
        self._file = SecretFile(file, "a webhook's address") if file else None
        self._environment = environment
        self._ledger = ledger
        self._lock = threading.Lock()
        self._sender: threading.Thread | None = None
        self._retry_at: datetime | None = ledger.now()  # what another process left undelivered

    def check(self) -> None:
        """Have due alerts sent; call it after each call, made or refused. Returns at once."""
        late = self._retry_at is not None and self._ledger.now() >= self._retry_at
        if not late and not self._ledger.crossed.is_set():
            return
        with self._lock:
            if self._sender is None:
                self._sender = threading.Thread(target=self._send, name="alerts", daemon=True)
                self._sender.start()

    def close(self) -> None:
        """Wait for what is being sent."""
        with self._lock:
            sender = self._sender
        if sender is not None:
            sender.join(2 * TIMEOUT_SECONDS)

    def _send(self) -> None:
        """Send what is due until nothing is."""
        while True:
            self._ledger.crossed.clear()
            try:
                while due := claim(self._ledger.file, self._ledger.now()):
                    for alert in due:
                        self._deliver(alert)
                        note_delivery(self._ledger.file, alert, self._ledger.now())
                self._retry_at = None
            except (NotDelivered, LedgerUnavailable) as error:
                log.warning("an alert was not delivered, to be tried again: %s", error)
                self._retry_at = self._ledger.now() + RETRY_AFTER
            with self._lock:
                if not self._ledger.crossed.is_set():
                    self._sender = None
                    return

    def _deliver(self, alert: Alert) -> None:
        """POST one alert; raises `NotDelivered`."""
        place = self._variable or (self._file and self._file.path)
        address = self._address()
        if not _can_be_told(address):
            raise NotDelivered(f"{place} holds no http address, or one with a password")
        try:
            request = urllib.request.Request(
                address, _body(alert), {"Content-Type": "application/json"}, method="POST"
            )
            _opener.open(request, timeout=TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise NotDelivered(f"the webhook of {place} answered {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:  # whose own text may hold the address
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or type(reason).__name__
            raise NotDelivered(f"the webhook of {place}: {why}") from None

    def _address(self) -> str:
        """The webhook's address as it is now; raises `NotDelivered`."""
        if self._file is None:
            return self._environment.get(self._variable, "")
        try:
            return self._file.read()
        except NoSecret as error:
            raise NotDelivered(str(error)) from None


_opener = urllib.request.build_opener(_NoRedirect)


def _can_be_told(address: str) -> bool:
    """Whether it is an http address; one with a password would be looked up by it as a host's name."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def _body(alert: Alert) -> bytes:
    number = float if alert.budget == "dollars" else int
    amounts = {"used": number(alert.used), "limit": number(alert.limit)}
    return json.dumps(asdict(alert) | amounts).encode()
