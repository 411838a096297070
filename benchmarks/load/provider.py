"""A fake provider of a language model: it writes the first sentence of the first passage it is given, a
word each 20 ms, as a fast model does, and then the same again slowly, so that many streams are open at a
time however fast the service takes them in. `python -m benchmarks.load.provider` prints its address and serves
until standard input ends.
"""

import asyncio
import json
import re
import sys

WORD_SECONDS = 0.02
OPEN_SECONDS = 20.0
"""How long a stream stays open: 40 are, where two a second are taken in."""

PASSAGE = re.compile(r"^\[1\] .*\n((?:.|\n)*?) \[1\]$", re.MULTILINE)
SENTENCE = re.compile(r".*?[.!?](?=\s|$)", re.DOTALL)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def written(prompt: str) -> str:
    """What the model says to a prompt."""
    passage = PASSAGE.search(prompt)
    if passage is None:
        return "The passages do not say."
    sentence = SENTENCE.match(passage[1].strip())
    return f"{(sentence[0] if sentence else passage[1]).strip()} [1]"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(re.search(r"content-length: (\d+)", head)[1])  # type: ignore[index]
        body = json.loads(await reader.readexactly(length))
        writer.write(HEAD)
        words = re.findall(r"\S+\s*", written(body["messages"][-1]["content"]) + " ")
        for pause in (WORD_SECONDS, OPEN_SECONDS / len(words)):
            for word in words:
                writer.write(_chunk({"content": word}, None))
                await writer.drain()
                await asyncio.sleep(pause)
        writer.write(_chunk({}, "stop") + b"data: [DONE]\n\n")
        await writer.drain()
    except (ConnectionError, EOFError):
        pass  # the client went away
    finally:
        writer.close()


def _chunk(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {
        "id": "fake",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "fake",
        "choices": [choice],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 30, "total_tokens": 1030}
        if finish
        else None,
    }
    return b"data: " + json.dumps(data).encode() + b"\n\n"


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=1000)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
