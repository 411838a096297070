"""Lock every dependency with its hashes: run by `make lock`, which provides uv.

runtime.lock      what Casebook imports
dev.lock          what its tests and checks need on top
torch-cpu.lock    torch as PyTorch's own index has it for CPUs: small, and tried first
torch-pypi.lock   torch as PyPI has it, on Linux with some 3 GB of CUDA libraries
"""

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TORCH = re.compile(r"(torch==|nvidia-|cuda-|triton)")

# The CPU build of each Python and platform is another file, and only the hash of this one is known
# to us; where the marker does not hold, PyPI's build is installed, and set-up says so.
CPU_BUILD = """\
torch==2.13.0+cpu ; python_version == '3.11' and sys_platform == 'linux' \
and platform_machine == 'x86_64' \\
    --hash=sha256:6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"""


def compiled(*extras: str) -> dict[str, str]:
    """Every pinned requirement with its hashes, by its first line."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-header", "--no-annotate", *extras, "pyproject.toml"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    blocks = re.findall(r"^[a-z].*(?:\n .*)*", text, re.MULTILINE)
    return {block.splitlines()[0]: block for block in blocks}


def write(name: str, blocks: list[str]) -> None:
    """Write one lock file."""
    (HERE / name).write_text("# Made by `make lock`.\n" + "\n".join(blocks) + "\n")


def main() -> int:
    """Resolve once for everything, so that the parts agree, and sort what came out."""
    everything, runtime = compiled("--extra", "dev"), compiled()
    torch = [block for line, block in everything.items() if TORCH.match(line)]
    write("torch-cpu.lock", [CPU_BUILD])
    write("torch-pypi.lock", torch)
    rest = {line: block for line, block in everything.items() if not TORCH.match(line)}
    names = {line.split("==")[0] for line in runtime}
    write("runtime.lock", [b for line, b in rest.items() if line.split("==")[0] in names])
    write("dev.lock", [b for line, b in rest.items() if line.split("==")[0] not in names])
    return 0


if __name__ == "__main__":
    sys.exit(main())
