"""What a gateway makes of one model's server, over real sockets."""

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from assistant.gateway.errors import NotAnswered, StreamBroken
from assistant.gateway.schema import Delta, Usage
from assistant.gateway.settings import Timeouts
from tests.assistant.gateway.asking import (
    COUNTS,
    QUESTION,
    ask,
    call,
    ending,
    entry,
    gateway,
    logged,
    text_of,
)
from tests.assistant.gateway.plain_server import (
    PlainServer,
    Script,
    chunk,
    end,
    events,
    silence,
    status,
    streamed,
    whole,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("secret")]

ERROR = b'{"error": {"message": "not for sk-0123456789-very-secret", "type": "server_error"}}'


async def test_a_stream_comes_piece_by_piece(tmp_path: Path, secret: str) -> None:
    async with (
        PlainServer(streamed("Grüße ", "", "aus ", "東京.", usage=COUNTS)) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        told = await ask(model)
    assert told[:-1] == [Delta("Grüße "), Delta("aus "), Delta("東京.")]
    assert ending(told).usage == Usage(100, 7, 60)
    (request,) = server.requests
    assert f"authorization: bearer {secret}" in request.head
    roles = [message["role"] for message in request.body["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert request.body["messages"][-1]["content"] == QUESTION
    assert request.body["model"] == "the-model"
    assert request.body["max_tokens"] == 50
    assert request.body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("stream", [True, False])
async def test_half_a_character_is_replaced(tmp_path: Path, stream: bool) -> None:
    text = "Half \ud83d of it."
    script = streamed(text) if stream else whole(text)
    async with (
        PlainServer(script) as server,
        gateway(tmp_path, entry(server.address, stream=stream)) as model,
    ):
        told = await ask(model)
    assert text_of(told) == "Half \N{REPLACEMENT CHARACTER} of it."


async def test_a_model_that_cannot_stream_is_asked_for_the_whole(tmp_path: Path) -> None:
    async with (
        PlainServer(whole("All of it.", usage=COUNTS)) as server,
        gateway(tmp_path, entry(server.address, stream=False)) as model,
    ):
        told = await ask(model)
    assert text_of(told) == "All of it."
    assert ending(told).usage == Usage(100, 7, 60)
    assert not server.requests[0].body.get("stream")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_without_usage_tokens_are_counted_here(tmp_path: Path, stream: bool) -> None:
    script = streamed("one two three") if stream else whole("one two three")
    async with (
        PlainServer(script) as server,
        gateway(tmp_path, entry(server.address, stream=stream)) as model,
    ):
        told = await ask(model)
    assert ending(told).estimated
    assert ending(told).usage == Usage(20, 3)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_answer_cut_off_at_the_limit_says_so(tmp_path: Path, stream: bool) -> None:
    cut = events(chunk("and so"), *end(finish="length")) if stream else whole("and so", "length")
    async with (
        PlainServer(cut) as server,
        gateway(tmp_path, entry(server.address, stream=stream)) as model,
    ):
        assert ending(await ask(model)).truncated


MESSAGE = {
    **{"id": "1", "type": "message", "role": "assistant", "model": "m", "content": []},
    **{"stop_reason": None, "stop_sequence": None},
    "usage": {"input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 1},
}
TEXT = {"type": "text", "text": ""}
ANTHROPIC: list[tuple[str, dict[str, Any]]] = [
    ("message_start", {"message": MESSAGE}),
    ("content_block_start", {"index": 0, "content_block": TEXT}),
    ("ping", {}),
    ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "Hello "}}),
    ("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "there."}}),
    ("content_block_stop", {"index": 0}),
    ("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}),
    ("message_stop", {}),
]


def anthropic(*kinds: tuple[str, dict[str, Any]]) -> Script:
    return events(
        *(
            f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
            for kind, data in kinds
        )
    )


async def test_anthropics_api_is_spoken_too(tmp_path: Path, secret: str) -> None:
    async with (
        PlainServer(anthropic(*ANTHROPIC)) as server,
        gateway(tmp_path, entry(server.address, provider="anthropic")) as model,
    ):
        told = await ask(model)
    assert text_of(told) == "Hello there."
    assert ending(told).usage == Usage(100, 7, 60)
    (request,) = server.requests
    assert secret in request.head
    assert request.body["max_tokens"] == 50


@pytest.mark.parametrize("cut", [1, 2], ids=["no message_stop", "no stop_reason"])
async def test_anthropics_stream_without_its_end_is_broken(tmp_path: Path, cut: int) -> None:
    async with (
        PlainServer(anthropic(*ANTHROPIC[:-cut])) as server,
        gateway(tmp_path, entry(server.address, provider="anthropic")) as model,
    ):
        with pytest.raises(StreamBroken):
            await ask(model)


async def test_anthropics_error_after_200_is_a_failure(tmp_path: Path) -> None:
    error = ("error", {"error": {"type": "overloaded_error", "message": "busy"}})
    async with (
        PlainServer(anthropic(*ANTHROPIC[:2], error)) as server,
        gateway(tmp_path, entry(server.address, provider="anthropic")) as model,
    ):
        with pytest.raises(NotAnswered):
            await ask(model)
    assert logged(tmp_path)[0][1] == "server_error"


@pytest.mark.parametrize("cut", [1, 2], ids=["no DONE", "no finish reason"])
async def test_a_stream_without_its_end_is_broken(tmp_path: Path, cut: int) -> None:
    async with (
        PlainServer(events(chunk("Half of"), *end()[:-cut])) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        with pytest.raises(StreamBroken):
            await ask(model)
    assert logged(tmp_path) == [("model", "broken", 20, 2)]


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("ends", [b"\n\n", b"\r\n\r\n"])
async def test_the_end_is_seen_however_it_is_cut_up(tmp_path: Path, size: int, ends: bytes) -> None:
    data = b"".join([chunk("Größe [DONE]"), *end(COUNTS)]).replace(b"\n\n", ends)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    async with (
        PlainServer(events(*pieces)) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        told = await ask(model)
    assert text_of(told) == "Größe [DONE]"
    assert ending(told).usage == Usage(100, 7, 60)


async def test_nothing_is_waited_for_after_the_end(tmp_path: Path) -> None:
    async with (
        PlainServer(events(chunk("yes"), *end(), b"data: {nonsense\n\n", stall=60)) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        began = time.monotonic()
        assert text_of(await ask(model)) == "yes"
        assert time.monotonic() - began < 3


FAILURES: list[tuple[str, Script]] = [
    ("rate_limited", status(429, body=ERROR)),
    ("server_error", status(500, body=ERROR)),
    ("server_error", status(529)),
    ("unauthorized", status(401, body=ERROR)),
    ("unauthorized", status(403)),
    ("bad_request", status(400, body=ERROR)),
    ("bad_request", status(404)),
    ("bad_request", status(413)),
    ("invalid_response", status(302, "Location: /elsewhere")),
    ("invalid_response", status(200, "Content-Type: text/html", body=b"<html>")),
    ("invalid_response", status(200, body=b"[" * 100_000)),
    ("broken", status(200, "Content-Encoding: gzip", body=b"\x1f\x8b")),
    ("timeout_first_token", silence),
]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("kind", "script"), FAILURES, ids=[str(i) for i in range(len(FAILURES))])
async def test_failures_are_told_apart_and_tell_no_secrets(
    tmp_path: Path,
    kind: str,
    script: Script,
    stream: bool,
    secret: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    timeouts = Timeouts(first_token=0.15, between_tokens=0.15, total=0.6)
    if kind != "timeout_first_token":
        timeouts = Timeouts()
    async with (
        PlainServer(script) as server,
        gateway(tmp_path, entry(server.address, stream=stream), timeouts=timeouts) as model,
    ):
        with pytest.raises(NotAnswered) as raised:
            await ask(model)
    assert logged(tmp_path)[0][:2] == ("model", kind)
    assert len(server.requests) == len(logged(tmp_path)) <= 2
    told = repr(raised.value) + str(raised.value.attempts) + caplog.text
    assert secret not in told
    assert QUESTION not in told


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://nowhere.invalid"])
async def test_no_connection_is_refused(tmp_path: Path, address: str) -> None:
    async with gateway(tmp_path, entry(address)) as model:
        with pytest.raises(NotAnswered):
            await ask(model)
    assert logged(tmp_path)[0][1] == "refused"


async def test_retry_after_of_a_server_is_honoured(tmp_path: Path) -> None:
    async with (
        PlainServer(status(429, "Retry-After: 0.2"), streamed("back")) as server,
        gateway(tmp_path, entry(server.address)) as model,
    ):
        began = time.monotonic()
        assert text_of(await ask(model)) == "back"
        assert time.monotonic() - began >= 0.2


async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with PlainServer(streamed("stolen")) as thief:
        moved = status(307, f"Location: {thief.address}/chat/completions")
        async with (
            PlainServer(moved) as server,
            gateway(tmp_path, entry(server.address)) as model,
        ):
            with pytest.raises(NotAnswered):
                await ask(model)
        assert thief.requests == []


@pytest.mark.parametrize("code", [200, 500])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_ten_megabytes_in_a_line_are_not_taken_in(
    tmp_path: Path, code: int, stream: bool
) -> None:
    sent = 0

    async def line(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 %d X\r\nContent-Type: text/event-stream\r\n\r\ndata: " % code)
        for _ in range(1000):
            writer.write(b"x" * 10_000)
            sent += 10_000
            await writer.drain()
        writer.close()

    async with (
        PlainServer(line, streamed("fine") if stream else whole("fine")) as server,
        gateway(tmp_path, entry(server.address, stream=stream)) as model,
    ):
        assert text_of(await ask(model)) == "fine"
    assert logged(tmp_path)[0][1] == "invalid_response"
    assert sent < 10_000_000, "what it could not send lies in no memory of ours"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_server_that_ignores_the_limit_is_cut_off(tmp_path: Path, stream: bool) -> None:
    texts = ["on and on "] * 500
    script = streamed(*texts) if stream else whole("".join(texts))
    async with (
        PlainServer(script) as server,
        gateway(tmp_path, entry(server.address, stream=stream)) as model,
    ):
        told = await ask(model, call(max_output=10))
    assert ending(told).truncated
    assert len(text_of(told)) == 8 * 10 + 256


async def test_signs_of_life_without_a_word_put_nothing_off(tmp_path: Path) -> None:
    idle = [b": still here\n\n", chunk(""), chunk(None)] * 300

    async def slowly(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for each in idle:
            writer.write(each)
            await asyncio.sleep(0.01)

    timeouts = Timeouts(first_token=0.2, between_tokens=9, total=0.5)
    async with (
        PlainServer(slowly) as server,
        gateway(tmp_path, entry(server.address), timeouts=timeouts) as model,
    ):
        with pytest.raises(NotAnswered):
            await ask(model)
    assert logged(tmp_path)[0][1] == "timeout_first_token"


async def test_a_key_in_a_file_can_be_exchanged(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("first-key")
    async with (
        PlainServer(streamed("yes")) as server,
        gateway(tmp_path, entry(server.address, key_env=None, key_file=file), cache=0) as model,
    ):
        await ask(model)
        file.write_text("second-key")
        await ask(model)
    assert "bearer first-key" in server.requests[0].head
    assert "bearer second-key" in server.requests[1].head


async def test_other_keys_of_the_environment_are_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "API_KEY ORG_ID PROJECT_ID ADMIN_KEY AUTH_TOKEN".split()
    for name in names:
        monkeypatch.setenv(f"OPENAI_{name}", "not-for-you")
        monkeypatch.setenv(f"ANTHROPIC_{name}", "not-for-you")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1")
    async with PlainServer(streamed("yes"), anthropic(*ANTHROPIC)) as server:
        for provider in ("openai", "anthropic"):
            nameless = entry(server.address, provider, provider=provider, key_env=None)
            async with gateway(tmp_path, nameless) as model:
                await ask(model)
    assert not any("not-for-you" in request.head for request in server.requests)


async def test_a_password_in_an_address_is_used_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with PlainServer(status(500)) as server:
        address = server.address.replace("http://", "http://me:pass%40word@")
        async with gateway(tmp_path, entry(address)) as model:
            with pytest.raises(NotAnswered) as raised:
                await ask(model)
    assert "authorization: basic bwu6cgfzc0b3b3jk" in server.requests[0].head  # me:pass@word
    assert "pass" not in caplog.text + str(raised.value.attempts)


async def test_a_connection_is_used_again(tmp_path: Path) -> None:
    kept = events(chunk("yes"), *end(), hang_up=False)
    async with (
        PlainServer(kept) as server,
        gateway(tmp_path, entry(server.address), cache=0) as model,
    ):
        for _ in range(3):
            await ask(model)
            assert server.open == server.accepted == 1
