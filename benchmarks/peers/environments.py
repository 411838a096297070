"""One virtual environment a peer, under build/peers, made anew when its requirements change.

On Linux without the CPU build of torch at hand, pip takes PyPI's build with its CUDA libraries;
`PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu` saves that.
"""

import subprocess
import sys
from pathlib import Path
from typing import IO

from benchmarks.questions import ROOT

BUILD = ROOT / "build" / "peers"
REQUIREMENTS = Path(__file__).parent / "requirements"


def python_of(environment: str | None, log: IO[str]) -> Path:
    """The interpreter of an environment, which is made first where it is absent or outdated.

    None is the environment that this process runs in. What pip says goes to `log`. Raises
    `CalledProcessError` where it fails.
    """
    if environment is None:
        return Path(sys.executable)
    folder = BUILD / environment / "venv"
    python = folder / "bin" / "python"
    wanted = (REQUIREMENTS / f"{environment}.txt").read_text(encoding="utf-8")
    made_from = folder / "made-from.txt"
    if made_from.exists() and made_from.read_text(encoding="utf-8") == wanted:
        return python
    print(f"==> Making {folder.relative_to(ROOT)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install = "-m pip install --disable-pip-version-check --requirement"
    subprocess.run(
        [python, *install.split(), REQUIREMENTS / f"{environment}.txt"],
        stdout=log,
        stderr=subprocess.STDOUT,
        check=True,
    )
    made_from.write_text(wanted, encoding="utf-8")
    return python
