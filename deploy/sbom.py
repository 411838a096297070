"""The software bill of materials, from the lock: `python -m deploy.sbom -o build/casebook.cdx.json`.

CycloneDX 1.6, made by cyclonedx-py and completed with what it leaves out or puts in by chance: licences are
added from the installed distributions, and the lock's line numbers are taken out. The same lock gives the same
bytes: there is no time and no serial number, so two can be compared.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from deploy.locked import ROOT, Pinned, locked

LONGEST_NAME = 80
"""Characters; some distributions put the text of their licence, headed by its name, where the name belongs."""


def sbom(pinned: Sequence[Pinned]) -> str:
    """The bill of these distributions, as JSON."""
    bill = _made(pinned)
    for component in bill["components"]:
        del component["description"]  # the line of the lock, with its number
        component["bom-ref"] = component["purl"]
        if licences := _licences(component["name"]):
            component["licenses"] = licences
    bill["components"].sort(key=lambda component: component["purl"])
    root = bill["metadata"]["component"]["bom-ref"]
    refs = [component["purl"] for component in bill["components"]]
    bill["dependencies"] = [{"ref": root, "dependsOn": refs}, *({"ref": ref} for ref in refs)]
    return json.dumps(bill, indent=2, sort_keys=True) + "\n"


def _made(pinned: Sequence[Pinned]) -> dict[str, Any]:
    lines = [
        " ".join([f"{one.name}=={one.version}", *(f"--hash=sha256:{each}" for each in one.hashes)])
        for one in pinned
    ]
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible"]
    command += ["--spec-version", "1.6", "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--no-validate", "-"]  # the tests do, with what is added here
    done = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=True
    )
    made: dict[str, Any] = json.loads(done.stdout)
    return made


def _licences(name: str) -> list[dict[str, Any]]:
    """As the distribution states them: an SPDX expression, else classifiers, else a name."""
    try:
        stated = metadata(name)
    except PackageNotFoundError:
        return []
    if "License-Expression" in stated:
        return [{"expression": stated["License-Expression"]}]
    classified = [
        each.rpartition(" :: ")[2]
        for each in stated.get_all("Classifier", [])
        if each.startswith("License :: ") and each != "License :: OSI Approved"
    ]
    plain = stated["License"].strip().partition("\n")[0] if "License" in stated else ""
    if not classified and plain and len(plain) <= LONGEST_NAME:
        classified = [plain]
    return [{"license": {"name": each}} for each in sorted(classified)]


def main() -> int:
    """Write the bill of what ships, or with --dev of what tests it too."""
    parser = argparse.ArgumentParser(prog="python -m deploy.sbom", description=__doc__)
    parser.add_argument("--dev", action="store_true", help="with the tools of the tests")
    parser.add_argument("-o", "--output", type=Path, help="file to write [standard output]")
    given = parser.parse_args()
    text = sbom(locked(dev=given.dev))
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text)
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
