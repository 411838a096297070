"""TLS by certificate files that are exchanged under a running server: new connections get the new certificate,
those that are open live on.

The files are looked at with each handshake, so no thread watches them. What can't be used, say a certificate
whose key is still being written, is told once in the log, and the pair in use stays.
"""

import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from opentelemetry import metrics

from index.errors import InvalidInput

log = logging.getLogger("casebook.tls")

AHEAD = timedelta(days=14)
"""Before the end: ACME clients renew 30 days ahead, so they have failed for two weeks by then."""
AHEAD_OF_SHORT = 1 / 3
"""Of a lifetime under six weeks, as those of cert-manager's and Let's Encrypt's short-lived ones."""

SAY_AGAIN = timedelta(days=1)

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Certificate:
    """A certificate chain and its key, in PEM files. Raises `InvalidInput` where they can't be used at the start."""

    def __init__(self, certificate: Path, key: Path, now: Clock = _now) -> None:
        self._files = certificate, key
        self._now = now
        self._seen = self._digest()
        self._said_at: datetime | None = None
        try:
            self._current, self._valid = self._loaded()
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"TLS can't be served with {certificate} and {key} ({_reason(error)}): give "
                "`tls_certificate` a chain and `tls_key` its key without a password, both in PEM"
            ) from None
        self._say_when_it_ends()

    def context(self) -> ssl.SSLContext:
        """What a server listens with: TLS 1.2 or newer, and the certificate of the moment."""
        self._current.sni_callback = self._present
        return self._current

    def expires_in(self) -> float:
        """Seconds until the first certificate of the chain in use ends; less than none once it has."""
        return (self._valid[1] - self._now()).total_seconds()

    def measure(self) -> None:
        """Have the seconds until its end among the metrics."""
        metrics.get_meter("casebook").create_observable_gauge(
            "casebook.tls.expiry",
            callbacks=[lambda _: [metrics.Observation(self.expires_in())]],
            unit="s",
            description="time until the served certificate ends",
        )

    def _present(
        self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        """Called by OpenSSL in each handshake, whether or not the client names a host."""
        self._refresh()
        connection.context = self._current

    def _refresh(self) -> None:
        """Take what the files hold now, if that is something else than before and can be used."""
        seen = self._digest()
        if seen != self._seen:
            self._seen = seen  # also what can't be used: it is tried, and told, once
            try:
                self._current, self._valid = self._loaded()
            except (OSError, ValueError) as error:
                told = "%s and %s can't be used (%s): the former certificate stays in use"
                log.error(told, *self._files, _reason(error))
            else:
                self._said_at = None
                log.info("serving the new certificate of %s", self._files[0])
        self._say_when_it_ends()

    def _digest(self) -> bytes:
        """Of what the files hold; of nothing where one can't be read."""
        try:
            return b"".join(sha256(file.read_bytes()).digest() for file in self._files)
        except OSError:
            return b""

    def _loaded(self) -> tuple[ssl.SSLContext, tuple[datetime, datetime]]:
        """A context with the files' pair, and when the chain begins and ends to hold."""
        chain = x509.load_pem_x509_certificates(self._files[0].read_bytes())
        begins = max(each.not_valid_before_utc for each in chain)
        ends = min(each.not_valid_after_utc for each in chain)
        return _context(*self._files), (begins, ends)

    def _say_when_it_ends(self) -> None:
        """In the log, once a day while the end is near."""
        begins, ends = self._valid
        now = self._now()
        ahead = min(AHEAD, AHEAD_OF_SHORT * (ends - begins))
        if now < ends - ahead or (self._said_at and now < self._said_at + SAY_AGAIN):
            return
        self._said_at = now
        left = (ends - now) / timedelta(days=1)
        log.warning(
            "the certificate %s %s: replace it and its key, which takes no restart",
            self._files[0],
            f"ends in {left:.1f} days" if left > 0 else f"ended {-left:.1f} days ago",
        )


def open_certificate(certificate: Path | None, key: Path | None) -> Certificate | None:
    """The certificate of the settings, among the metrics from now on; None where they name none."""
    if certificate is None or key is None:
        return None
    opened = Certificate(certificate, key)
    opened.measure()
    return opened


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client of TLS 1.2 could have us work through one handshake after another.
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    # An empty password: OpenSSL would ask for one at the terminal.
    context.load_cert_chain(certificate, key, password="")
    return context


def _reason(error: OSError | ValueError) -> str:
    """What went wrong, without any of the files' content."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM").replace("_", " ").lower()
    return str(error.strerror) if isinstance(error, OSError) else "no certificate in PEM"
