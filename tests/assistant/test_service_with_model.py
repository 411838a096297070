"""The whole service with a language model behind it, over real sockets."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from assistant.access.keys import KeyStore
from assistant.cli import main
from tests.assistant.gateway.misbehaving import Misbehaving
from tests.assistant.test_api import events
from tests.conftest import ROOT, serving

pytestmark = pytest.mark.slow

QUESTION = "What coordinates backup and restore actions?"
TRUE = "Kanister blueprints coordinate backup actions, restore actions and validation hooks [1]."
SECRET = "sk-not-to-be-seen-4711"
STREAM = {"Accept": "text/event-stream"}


@dataclass
class Service:
    """A running service, its provider, and keys of a reader, a hasty reader and an administrator."""

    address: str
    provider: Misbehaving
    keys: dict[str, str]
    ledger: Path

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60)


@pytest.fixture(scope="module")
def service(
    case_studies_index: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    store = KeyStore(folder / "keys.sqlite")
    keys = {
        "reader": store.create("reader", ["public"], team="payments").secret,
        "hasty": store.create("hasty", ["public"]).secret,
        "root": store.create("root", [], administrator=True).secret,
    }
    with Misbehaving("usage", answers=lambda body: TRUE) as provider:
        gateway = {
            "models": [
                {
                    "name": "fake",
                    "model": "fake",
                    "address": provider.address,
                    "key_env": "PROVIDER_KEY",
                    "price": {"input": "2", "output": "10"},
                }
            ],
            "limits": {"requests_per_minute": 12},
            "timeouts": {"first_token": 8, "between_tokens": 4, "total": 20},
            "cache": 0,
            "ledger": str(folder / "usage.sqlite"),
        }
        environment = {
            "CASEBOOK_INDEX": str(case_studies_index),
            "CASEBOOK_KEYS": str(folder / "keys.sqlite"),
            "CASEBOOK_GATEWAY": json.dumps(gateway),
            "PROVIDER_KEY": SECRET,
        }
        with serving(ROOT, **environment) as address:
            yield Service(address, provider, keys, folder / "usage.sqlite")


@pytest.fixture(autouse=True)
def well_behaved(service: Service) -> None:
    service.provider.behaviour = "usage"


def asked(client: httpx.Client, **more: Any) -> dict[str, Any]:
    response = client.post("/ask", json={"question": QUESTION, "explain": True, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_an_answer_in_a_models_words_follows_the_contract(service: Service) -> None:
    with service.client("reader") as client:
        answer = asked(client)
        assert (answer["status"], answer["mode"], answer["model"]) == (
            "answered",
            "generated",
            "fake",
        )
        document = client.get(f"/documents/{answer['citations'][0]['document_id']}").json()
    first = answer["citations"][0]
    assert document["text"][first["start"] : first["end"]] == first["quote"]
    assert answer["usage"]["input_tokens"] > 0
    assert answer["trace"]["generation"]["prompt_sha256"]
    assert service.provider.exchanges[-1].authorization == f"Bearer {SECRET}"


def test_a_stream_tells_citations_before_the_sentence_that_has_them(service: Service) -> None:
    with service.client("reader") as client:
        response = client.post("/ask", json={"question": QUESTION}, headers=STREAM)
    told = events(response.text)
    assert [name for name, _ in told] == ["citations", "citations", "sentence", "answer"]
    known = {citation["n"] for citation in told[1][1]}  # type: ignore[attr-defined, index]
    assert set(told[2][1]["citations"]) <= known  # type: ignore[index, call-overload]


def test_a_sentence_is_shown_while_the_model_is_still_at_work(service: Service) -> None:
    provider = service.provider
    provider.behaviour = "stall"
    provider.answers = lambda body: f"{TRUE} " + "More is to come of this. " * 40
    try:
        with service.client("reader") as client:
            for _ in range(4):  # where it stalls is the provider's choice
                came: dict[str, float] = {}
                with client.stream(
                    "POST", "/ask", json={"question": QUESTION}, headers=STREAM
                ) as lines:
                    for line in lines.iter_lines():
                        if line.startswith("event: "):
                            came.setdefault(line[7:], time.monotonic())
                if "sentence" in came:
                    break
        assert came["answer"] - came["sentence"] > 2
    finally:
        provider.answers = lambda body: TRUE


def test_whoever_asks_too_often_is_told_when_to_come_back(service: Service) -> None:
    with service.client("hasty") as client:
        for _ in range(13):
            response = client.post("/ask", json={"question": QUESTION}, headers=STREAM)
            if response.status_code == 429:
                break
        assert response.status_code == 429
        assert response.headers["content-type"] == "application/problem+json"
        assert 0 < int(response.headers["retry-after"]) <= 60
        assert client.get("/search", params={"q": "restore"}).status_code == 200


def test_usage_is_for_administrators_and_adds_up(service: Service) -> None:
    with service.client("reader") as client:
        asked(client)
        assert client.get("/usage").status_code == 403
        assert client.get("/usage.csv").status_code == 403
    with service.client() as client:
        asked(client)
        assert client.get("/usage").status_code == 401
        assert client.get("/dashboard").status_code == 200
    with service.client("root") as client:
        report = client.get("/usage").json()
        lines = client.get("/usage.csv", params={"by": "team"}).text.splitlines()
        wrong = client.get("/usage", params={"since": "2026-02-02", "until": "2026-01-01"})
        early = client.get("/usage", params={"until": "0001-01-02"})
    seen = [each.usage for each in service.provider.exchanges if each.usage]
    assert report["totals"]["output_tokens"] >= sum(each["completion_tokens"] for each in seen)
    assert {"payments", ""} == {row["team"] for row in report["by_team"]}
    assert sum(row["requests"] for row in report["by_key"]) == report["totals"]["requests"]
    assert lines[0].startswith("team,requests,")
    assert wrong.status_code == 422
    assert early.json()["since"] == "0001-01-01"


def test_the_command_line_tells_the_same_usage(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASEBOOK_GATEWAY", json.dumps({"ledger": str(service.ledger)}))
    told = CliRunner().invoke(main, ["usage", "--json"])
    assert told.exit_code == 0, told.output
    with service.client("root") as client:
        assert json.loads(told.output)["totals"] == client.get("/usage").json()["totals"]


def test_openais_clients_get_the_models_answer(service: Service) -> None:
    from openai import OpenAI

    with OpenAI(base_url=f"{service.address}/v1", api_key=service.keys["root"]) as client:
        completion = client.chat.completions.create(
            model="casebook", messages=[{"role": "user", "content": QUESTION}]
        )
    message = completion.choices[0].message
    assert "Kanister blueprints coordinate" in (message.content or "")
    assert message.annotations
    assert completion.usage is not None
    assert completion.usage.prompt_tokens > 0


# Last: they leave the circuit to the provider open.
@pytest.mark.parametrize("behaviour", ["unauthorized_401", "error_500", "html", "empty_choices"])
def test_no_failure_of_a_provider_is_an_error_and_its_key_is_seen_nowhere(
    service: Service, behaviour: str
) -> None:
    service.provider.behaviour = behaviour
    with service.client("root") as client:
        response = client.post("/ask", json={"question": QUESTION, "explain": True})
        answer = response.json()
    assert (answer["status"], answer["mode"]) == ("answered", "extractive")
    assert answer["notice"]
    assert SECRET not in response.text
    assert service.provider.address not in response.text
