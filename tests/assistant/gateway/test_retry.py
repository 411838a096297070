"""When a model is asked again, and what is made of Retry-After."""

from datetime import UTC, datetime

import pytest

from assistant.gateway.failure import Failure, Kind
from assistant.gateway.retry import retry_after_seconds, wait_before_retry

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def half() -> float:
    return 0.5


@pytest.mark.parametrize(
    "kind",
    [
        *("rate_limited", "server_error", "refused", "broken", "invalid_response"),
        *("timeout_connect", "timeout_first_token"),
    ],
)
def test_what_may_pass_is_tried_once_more(kind: Kind) -> None:
    assert wait_before_retry(Failure(kind), 1, 60, half) is not None
    assert wait_before_retry(Failure(kind), 2, 60, half) is None


@pytest.mark.parametrize("kind", ["bad_request", "unauthorized"])
def test_what_cannot_pass_is_not_tried_again(kind: Kind) -> None:
    assert wait_before_retry(Failure(kind, retry_after=0), 1, 60, half) is None


def test_the_wait_is_anywhere_up_to_its_limit() -> None:
    failure = Failure("server_error")
    assert wait_before_retry(failure, 1, 60, lambda: 0.0) == 0.0
    assert wait_before_retry(failure, 1, 60, half) == 0.25
    assert wait_before_retry(failure, 1, 60, lambda: 0.999) == pytest.approx(0.4995)


def test_retry_after_is_waited_for_where_it_fits_the_deadline() -> None:
    busy = Failure("rate_limited", retry_after=7)
    assert wait_before_retry(busy, 1, 8, half) == 7.25
    assert wait_before_retry(busy, 1, 7.25, half) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("0", 0), ("7", 7), (" 7 ", 7), ("1.5", 1.5), ("86400", 86400)),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30),
        ("Thursday, 01-Jan-26 12:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 13:00:30 +0100", 30),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(header: str, seconds: float) -> None:
    assert retry_after_seconds(header, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "header",
    [
        *(None, "", "soon", "-5", "1e9", "nan", "inf", "0x10", "1_0", "1,5", "²", "٣"),
        *("9" * 400, "9" * 5000, "Wed, 99 Foo 2026 25:61:00 GMT", "\udcff\udcfe"),
        *("Thu, 01 Jan 99999 00:00:00 GMT", "Thu, 01 Jan 2026 12:00:00 +999999999999"),
    ],
)
def test_rubbish_in_retry_after_is_ignored(header: str | None) -> None:
    assert retry_after_seconds(header, NOW) is None
