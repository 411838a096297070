"""OpenAI's API as its own client sees it, over a real server."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from assistant.access.keys import KeyStore
from assistant.assistant import Assistant
from assistant.events import AnswerEvent, Citations, Final, Said
from assistant.gateway.errors import TooManyRequests
from assistant.schema import Answer, AnswerSentence, AnswerUsage, Citation
from index.errors import IndexUnavailable
from tests.assistant.services import Scripted, an_app, extractive, served
from tests.conftest import ask

QUESTION = "What coordinates backup and restore actions?"
UNANSWERED = "What is the boiling point of tungsten?"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    return KeyStore(tmp_path_factory.mktemp("keys") / "keys.sqlite")


@pytest.fixture(scope="module")
def address(assistant: Assistant, keys: KeyStore) -> Iterator[str]:
    with served(an_app(extractive(assistant), keys.path)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str, keys: KeyStore) -> Iterator[openai.OpenAI]:
    with a_client(address, keys.create("reader", ["public"]).secret) as client:
        yield client


def a_client(address: str, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=30)


def complete(client: openai.OpenAI, *texts: str, **options: Any) -> Any:
    """Ask the last text after the others, which the user and the assistant said by turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return client.chat.completions.create(model="casebook", messages=messages, **options)


def joined(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def annotated(chunks: list[Any]) -> list[dict[str, Any]]:
    deltas = [c.choices[0].delta.to_dict() for c in chunks if c.choices]
    return [a["url_citation"] for delta in deltas for a in delta.get("annotations") or []]


# --- answers ----------------------------------------------------------------------------------


def test_an_answer_is_a_message_whose_marks_are_annotated(
    client: openai.OpenAI, assistant: Assistant, address: str
) -> None:
    answer = ask(assistant, QUESTION)
    completion: ChatCompletion = complete(client, QUESTION)
    message = completion.choices[0].message
    assert message.content == answer.answer
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage
    assert completion.usage.total_tokens == 0
    assert message.annotations
    for annotation in message.annotations:
        at = annotation.url_citation
        number = int(message.content[at.start_index : at.end_index].strip("[]"))
        cited = answer.citations[number - 1]
        assert at.title == cited.title
        assert at.url == f"{address}/documents/{cited.document_id}"


def test_a_stream_brings_the_same_message_sentence_by_sentence(
    client: openai.OpenAI, assistant: Assistant
) -> None:
    answer = ask(assistant, QUESTION)
    whole = complete(client, QUESTION)
    chunks = list(complete(client, QUESTION, stream=True, stream_options={"include_usage": True}))
    contents = [c.choices[0].delta.content for c in chunks if c.choices]
    assert [c for c in contents if c] == [
        f"{' ' if i else ''}{s.text} {''.join(f'[{n}]' for n in s.citations)}"
        for i, s in enumerate(answer.sentences)
    ]
    expected = [a.url_citation.to_dict() for a in whole.choices[0].message.annotations]
    assert annotated(chunks) == expected
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens == 0
    assert len({c.id for c in chunks}) == 1


def test_usage_is_streamed_only_to_those_who_ask(client: openai.OpenAI) -> None:
    assert all(chunk.choices for chunk in complete(client, QUESTION, stream=True))


def test_the_async_client_gets_the_same(client: openai.OpenAI, address: str) -> None:
    async def asked() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{address}/v1", api_key=client.api_key, max_retries=0
        ) as own:
            message = {"role": "user", "content": QUESTION}
            create = own.chat.completions.create
            whole = await create(model="casebook", messages=[message])  # type: ignore[list-item]
            stream = await create(model="casebook", messages=[message], stream=True)  # type: ignore[list-item]
            return whole.choices[0].message.content, joined([chunk async for chunk in stream])

    whole, streamed = asyncio.run(asked())
    assert whole == streamed == complete(client, QUESTION).choices[0].message.content


def test_an_abstention_is_an_ordinary_message_that_says_so(client: openai.OpenAI) -> None:
    message = complete(client, UNANSWERED).choices[0].message
    assert message.content.startswith("The sources don't say. The nearest passages")
    assert "Nearest passages:\n- " in message.content
    at = message.annotations[0].url_citation
    assert message.content[at.start_index : at.end_index] == "[1]"
    assert joined(list(complete(client, UNANSWERED, stream=True))) == message.content


def test_earlier_messages_are_the_conversation(client: openai.OpenAI) -> None:
    earlier = complete(client, "What is Velero used for?").choices[0].message.content
    follow_up = "What was the result?"
    alone = complete(client, follow_up).choices[0].message.content
    assert complete(client, QUESTION, earlier, follow_up).choices[0].message.content != alone


# --- what is asked ----------------------------------------------------------------------------


def sent_to(scripted: Scripted, tmp_path: Path, messages: list[Any], **more: Any) -> httpx.Response:
    with served(an_app(scripted, tmp_path / "keys.sqlite")) as address:
        body = {"model": "casebook", "messages": messages, **more}
        return httpx.post(f"{address}/v1/chat/completions", json=body)


def test_the_last_message_of_the_user_is_the_question(tmp_path: Path) -> None:
    scripted = Scripted([Final(AN_ANSWER)])
    messages = [
        {"role": "system", "content": "You are a pirate."},
        {"role": "assistant", "content": "Hello! Ask me."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "assistant", "content": [{"type": "text", "text": "uno"}]},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "x", "tool_call_id": "y"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "Well, "},
    ]
    assert sent_to(scripted, tmp_path, messages, temperature=1, tools=[]).status_code == 200
    (asked,) = scripted.asked
    assert asked.question == "a\nb"
    assert [(t.question, t.answer) for t in asked.conversation] == [("one", "1\nuno"), ("two", "")]


def test_of_a_long_conversation_the_last_turns_count(tmp_path: Path) -> None:
    scripted = Scripted([Final(AN_ANSWER)])
    messages = [{"role": "user", "content": str(i)} for i in range(50)]
    assert sent_to(scripted, tmp_path, messages).status_code == 200
    assert [t.question for t in scripted.asked[0].conversation] == [str(i) for i in range(29, 49)]


def test_a_turn_that_no_longer_counts_may_be_of_any_length(tmp_path: Path) -> None:
    scripted = Scripted([Final(AN_ANSWER)])
    messages = [{"role": "user", "content": "x" * 4001}]
    messages += [{"role": "user", "content": str(i)} for i in range(21)]
    assert sent_to(scripted, tmp_path, messages).status_code == 200
    assert [t.question for t in scripted.asked[0].conversation] == [str(i) for i in range(20)]


# --- what a model writes ----------------------------------------------------------------------


def a_citation(n: int, link: str | None = None, source: str = "docs/a.md") -> Citation:
    return Citation(
        n=n,
        document_id=f"doc {n}",
        title=f"Title {n}",
        section="",
        heading_path=[],
        source_name="",
        source=source,
        link=link,
        kind="note",
        revision="r",
        start=0,
        end=3,
        quote="yes",
        score=1.0,
        modified_at=None,
        ingested_at="2026-01-01",
        stale=False,
    )


def a_sentence(text: str, *citations: int) -> AnswerSentence:
    return AnswerSentence(text=text, citations=list(citations))


CITED = (
    a_citation(1, link="https://git.example/a#L3"),
    a_citation(2, source="https://wiki.example/b"),
    a_citation(3),
)
ONE, TWO, OTHER = a_sentence("Öne 🐟.", 1), a_sentence("Two.", 1, 2), a_sentence("Other.", 3)
AN_ANSWER = Answer(
    status="answered",
    mode="generated",
    answer="Öne 🐟. [1] Two. [1][2]",
    sentences=[ONE, TWO],
    citations=list(CITED),
    confidence=0.9,
    index_state="s",
    model="m",
    usage=AnswerUsage(
        input_tokens=100,
        output_tokens=7,
        cached_tokens=60,
        cost=None,
        estimated=False,
        attempts=1,
        from_cache=False,
    ),
)
BEGUN: list[AnswerEvent] = [Citations(CITED[:1]), Said(ONE), Citations(CITED), Said(TWO)]


def streamed(
    events: list[AnswerEvent | Exception | None], tmp_path: Path, **options: Any
) -> list[Any]:
    with served(an_app(Scripted(events), tmp_path / "keys.sqlite")) as address:
        response = httpx.post(
            f"{address}/v1/chat/completions",
            json={
                "model": "casebook",
                "stream": True,
                "messages": [{"role": "user", "content": "q"}],
                **options,
            },
        )
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def choices_of(data: list[Any]) -> list[Any]:
    chunks = [each for each in data if isinstance(each, dict)]
    return [chunk["choices"][0] for chunk in chunks if chunk.get("choices")]


def text_of(data: list[Any]) -> str:
    return "".join(choice["delta"].get("content", "") for choice in choices_of(data))


def marks_of(data: list[Any]) -> list[tuple[str, str]]:
    text = text_of(data)
    deltas = [choice["delta"] for choice in choices_of(data)]
    (annotations,) = [delta["annotations"] for delta in deltas if "annotations" in delta]
    spans = [annotation["url_citation"] for annotation in annotations]
    return [(text[at["start_index"] : at["end_index"]], at["url"]) for at in spans]


def test_citations_open_where_a_person_reads_on(tmp_path: Path) -> None:
    answer = AN_ANSWER.model_copy(update={"sentences": [ONE, TWO, OTHER]})
    data = streamed([*BEGUN, Said(OTHER), Final(answer)], tmp_path)
    marks = marks_of(data)
    assert [mark for mark, _ in marks] == ["[1]", "[1]", "[2]", "[3]"]
    assert [url for _, url in marks[:3]] == [
        "https://git.example/a#L3",
        "https://git.example/a#L3",
        "https://wiki.example/b",
    ]
    assert marks[3][1].endswith("/documents/doc%203")


def test_usage_is_that_of_the_model(tmp_path: Path) -> None:
    data = streamed([*BEGUN, Final(AN_ANSWER)], tmp_path, stream_options={"include_usage": True})
    assert data[-1] == "[DONE]"
    assert data[-2]["choices"] == []
    assert data[-2]["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 7,
        "total_tokens": 107,
        "prompt_tokens_details": {"cached_tokens": 60},
    }


def test_what_follows_a_broken_stream_is_added_to_it(tmp_path: Path) -> None:
    update = {"status": "partial", "sentences": [ONE, TWO, OTHER], "notice": "It broke."}
    data = streamed([*BEGUN, Final(AN_ANSWER.model_copy(update=update))], tmp_path)
    assert text_of(data) == "Öne 🐟. [1] Two. [1][2] Other. [3]\n\nNote: It broke."


def test_an_answer_that_replaces_what_was_said_follows_it_with_the_reason(tmp_path: Path) -> None:
    update = {"sentences": [OTHER], "notice": "Too little held."}
    data = streamed([*BEGUN, Final(AN_ANSWER.model_copy(update=update))], tmp_path)
    assert text_of(data) == ("Öne 🐟. [1] Two. [1][2]\n\nNote: Too little held.\n\nOther. [3]")
    assert [mark for mark, _ in marks_of(data)] == ["[1]", "[1]", "[2]", "[3]"]


def test_an_error_in_the_middle_ends_a_stream_without_done(tmp_path: Path) -> None:
    data = streamed([*BEGUN, IndexUnavailable("the index is gone")], tmp_path)
    assert data[-1]["error"]["message"] == "the index is gone"
    assert "[DONE]" not in data


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_the_work(tmp_path: Path, stream: bool) -> None:
    scripted = Scripted([*BEGUN, None])
    body = {"model": "casebook", "stream": stream, "messages": [{"role": "user", "content": "q"}]}
    with served(an_app(scripted, tmp_path / "keys.sqlite")) as address:

        async def leave() -> None:
            async with httpx.AsyncClient() as client:
                request = client.build_request("POST", f"{address}/v1/chat/completions", json=body)
                sending = asyncio.create_task(client.send(request, stream=True))
                assert await asyncio.to_thread(scripted.stalled.wait, 5)
                assert not scripted.closed.is_set()
                if stream:
                    await (await sending).aclose()
                sending.cancel()

        asyncio.run(leave())
        assert scripted.closed.wait(5)


# --- errors -----------------------------------------------------------------------------------


def test_an_unknown_model_is_not_found(client: openai.OpenAI) -> None:
    message = {"role": "user", "content": QUESTION}
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="gpt-4o", messages=[message])  # type: ignore[list-item]
    assert raised.value.code == "model_not_found"
    assert raised.value.type == "invalid_request_error"
    assert "'casebook'" in raised.value.message
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["casebook"]
    assert client.models.retrieve("casebook").owned_by == "casebook"


def test_a_revoked_key_is_refused(address: str, keys: KeyStore) -> None:
    with a_client(address, keys.create("ci", ["sre"]).secret) as holder:
        assert complete(holder, QUESTION).choices[0].message.content
        keys.revoke("ci")
        for stream in (True, False):
            with pytest.raises(openai.AuthenticationError) as raised:
                complete(holder, QUESTION, stream=stream)
            assert raised.value.code == "invalid_api_key"
            assert "cbk_…" in raised.value.message
            assert raised.value.response.headers["WWW-Authenticate"].startswith("Bearer")
        with pytest.raises(openai.AuthenticationError):
            holder.models.list()


def test_whoever_sends_no_key_reads_what_anyone_may(address: str) -> None:
    body = {"model": "casebook", "messages": [{"role": "user", "content": QUESTION}]}
    answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=30)
    assert "Kanister" in answer.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [True, False])
def test_too_many_requests_say_when_to_come_again(tmp_path: Path, stream: bool) -> None:
    scripted = Scripted([TooManyRequests("slow down: 60 a minute", 17)])
    response = sent_to(scripted, tmp_path, [{"role": "user", "content": "q"}], stream=stream)
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "17"
    assert response.json()["error"] == {
        "message": "slow down: 60 a minute",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }


BAD: list[tuple[Any, str]] = [
    ({}, "model"),
    ({"model": "casebook", "messages": []}, "messages"),
    ({"model": "casebook", "messages": [{"role": "system", "content": "q"}]}, "no question"),
    ({"model": "casebook", "messages": [{"role": "user", "content": " "}]}, "blank"),
    ({"model": "casebook", "messages": [{"role": "user", "content": "x" * 4001}]}, "4000"),
    ({"model": "casebook", "messages": [{"role": "king", "content": "q"}]}, "messages.0.role"),
    ({"model": "casebook", "messages": [{"role": "user", "content": "q"}], "n": 2}, "n:"),
    (
        {
            "model": "casebook",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
        },
        "'image_url': send text only",
    ),
    (b"{", "JSON"),
    (b'{"model": "\xff"}', "UTF-8"),
]


@pytest.mark.parametrize(("body", "words"), BAD, ids=[str(b[0])[:60] for b in BAD])
def test_a_bad_request_says_what_to_mend(address: str, body: Any, words: str) -> None:
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{address}/v1/chat/completions", headers=headers, **sent)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]


def test_a_missing_index_is_unavailable_and_not_an_answer(tmp_path: Path) -> None:
    response = sent_to(
        Scripted([IndexUnavailable("run `casebook ingest`")]),
        tmp_path,
        [{"role": "user", "content": "q"}],
    )
    assert response.status_code == 503
    assert response.json()["error"]["type"] == "server_error"
    assert response.headers["Retry-After"] == "5"


def test_openapi_describes_requests_and_errors(address: str) -> None:
    schema = httpx.get(f"{address}/openapi.json").json()
    chat = schema["paths"]["/v1/chat/completions"]["post"]
    assert set(chat["responses"]) == {"200", "4XX", "5XX"}
    assert chat["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "ChatRequest"
    )
