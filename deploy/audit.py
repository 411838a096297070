"""Ask whether anything that is locked has a known vulnerability: `python -m deploy.audit`.

pip-audit says "no known vulnerabilities" of a distribution that its service does not know, and of all of them where
the service can't tell at all. So it is first asked about a release that is known to be vulnerable: who
finds nothing there is not believed, and the audit counts as not run.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from deploy.locked import Pinned, locked

ACCEPTED = Path(__file__).with_name("vulnerabilities.toml")

CONTROL = Pinned("jinja2", "2.4.1", ())
"""PYSEC-2019-217 and others: https://osv.dev/vulnerability/PYSEC-2019-217."""

Ask = Callable[[Sequence[Pinned]], Mapping[str, Any]]


@dataclass(frozen=True)
class Audit:
    """What came of it. Without `ran` the rest says nothing; `unknown` are those the service knows nothing of."""

    ran: bool
    found: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        if not self.ran:
            return ["vulnerabilities: not checked, no service that knows of any answers here"]
        said = [f"vulnerable: {each}" for each in self.found]
        said += [f"not checked: {each}" for each in self.unknown]
        return said or ["no known vulnerabilities"]


def audit(pinned: Sequence[Pinned], accepted: Mapping[str, date], today: date, ask: Ask) -> Audit:
    """Ask about these; `accepted` are the ids that are known and until when they need not be dealt with."""
    if not any(each.get("vulns") for each in ask([CONTROL])["dependencies"]):
        return Audit(ran=False)
    answers = ask(pinned)["dependencies"]
    found = [
        f"{each['name']} {each['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no release yet'}"
        for each in answers
        for vulnerability in each.get("vulns", [])
        if not any(
            today < accepted.get(name, date.min)
            for name in (vulnerability["id"], *vulnerability["aliases"])
        )
    ]
    unknown = [each["name"] for each in answers if "skip_reason" in each]
    return Audit(True, tuple(sorted(found)), tuple(sorted(unknown)))


def accepted(file: Path = ACCEPTED) -> dict[str, date]:
    """The vulnerabilities that are lived with, each with a reason and a day on which that ends."""
    stated = tomllib.loads(file.read_text()).get("accepted", [])
    for each in stated:
        if set(each) != {"id", "reason", "until"} or not each["reason"].strip():
            raise ValueError(f"{file.name}: give each id a reason and an until: {each}")
    return {each["id"]: each["until"] for each in stated}


def ask_pip_audit(pinned: Sequence[Pinned]) -> Mapping[str, Any]:
    """pip-audit's report; an empty one where it gave none, as without a network."""
    # A build for CPUs alone is the release, and no service knows it by another name.
    lines = "\n".join(f"{one.name}=={one.version.partition('+')[0]}" for one in pinned)
    command = [sys.executable, "-m", "pip_audit", "-r", "/dev/stdin", "--no-deps", "--disable-pip"]
    command += ["--progress-spinner", "off", "--format", "json"]
    done = subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=600, check=False
    )
    empty: dict[str, Any] = {"dependencies": []}
    return json.loads(done.stdout) if done.stdout.startswith("{") else empty


def main() -> int:
    """Print what was found; fails where something was."""
    today = datetime.now(UTC).date()
    result = audit(locked(dev=True), accepted(), today, ask_pip_audit)
    print("\n".join(result.lines))
    return 1 if result.found else 0


if __name__ == "__main__":
    sys.exit(main())
