"""Whether and when a model that failed is asked again."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from assistant.gateway.failure import Failure

TRIES_PER_MODEL = 2
TRIES_IN_ALL = 4

NEVER_AGAIN = frozenset({"bad_request", "unauthorized"})
"""Failures that a second try can't mend: 400, 401, 403, 404 and their like."""

BASE_SECONDS = 0.5
CAP_SECONDS = 4.0
"""Full jitter: a wait anywhere between nothing and a limit that doubles with each try
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)."""

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def wait_before_retry(
    failure: Failure, tried: int, remaining: float, random: Callable[[], float]
) -> float | None:
    """Seconds to wait before the same model is asked again after `tried` tries, or None to leave it.

    What its server asked to wait is waited and jitter added, if that leaves some of the `remaining`
    seconds; `random` gives numbers in [0, 1).
    """
    if failure.kind in NEVER_AGAIN or tried >= TRIES_PER_MODEL:
        return None
    jitter = random() * min(CAP_SECONDS, BASE_SECONDS * 2 ** (tried - 1))
    wait = (failure.retry_after or 0.0) + jitter
    return wait if wait < remaining else None


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for: a number or an HTTP date; None for rubbish."""
    text = (header or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
