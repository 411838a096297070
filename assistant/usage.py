"""What language models were used for, over HTTP: the ledger's figures, for administrators."""

from datetime import UTC, date
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Response
from fastapi.responses import FileResponse

from assistant import problems
from assistant.access.routes import Administrator
from assistant.gateway.ledger import Ledger
from assistant.gateway.usage import DAYS, By, UsageReport, csv_text, first_day, report
from index.errors import InvalidInput

Since = Annotated[date | None, Query(description=f"first day [of the last {DAYS}]")]
Until = Annotated[date | None, Query(description="last day, in UTC [today]")]

ERRORS: dict[int | str, dict[str, Any]] = {
    401: {"model": problems.Problem, "description": "Not signed in, or not with what holds"},
    403: {"model": problems.Problem, "description": "Not for this caller"},
    422: {"model": problems.Problem, "description": "The input can't be used"},
    503: {"model": problems.Problem, "description": "The ledger can't be read"},
}


def add_usage(app: FastAPI, ledger: Ledger, web: Path) -> None:
    """Add the routes, and the page that draws what they tell."""

    @app.get("/usage", responses=ERRORS)
    def usage(caller: Administrator, since: Since = None, until: Until = None) -> UsageReport:
        """Requests, tokens, cost and failures by day, team, model and key, and how full budgets are."""
        return _report(ledger, since, until)

    @app.get("/usage.csv", responses=ERRORS, response_class=Response)
    def usage_csv(
        caller: Administrator, since: Since = None, until: Until = None, by: By = "day"
    ) -> Response:
        """One list of the same as CSV."""
        found = _report(ledger, since, until)
        name = f"casebook-usage-{found.since}-{found.until}.csv"
        return Response(
            csv_text(found, by),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    @app.get("/dashboard", include_in_schema=False)
    def dashboard() -> FileResponse:
        return FileResponse(web / "usage.html", headers={"Cache-Control": "no-cache"})


def _report(ledger: Ledger, since: date | None, until: date | None) -> UsageReport:
    last = until or ledger.now().astimezone(UTC).date()
    first = since or first_day(last)
    if first > last:
        raise InvalidInput(f"since={first} is after until={last}: give the earlier first")
    return report(ledger, first, last)
