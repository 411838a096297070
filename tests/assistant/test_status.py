"""Health in words: over HTTP for whoever may know it, and on the command line."""

import json
from pathlib import Path

import httpx
import pytest

from assistant.schema import Part, SourceInfo, SourceList
from assistant.status import health, sources_part
from tests.conftest import ROOT, casebook, serving

WELL = Part(name="index", standing="well", words="22 documents to answer from.")
LATE = Part(name="sources", standing="impaired", words="wiki: not read for longer than it may be.")
DOWN = Part(name="index", standing="down", words="There is no index.")


def source(name: str, *, stale: bool = False, error: str | None = None) -> SourceInfo:
    return SourceInfo(
        name=name,
        type="git",
        documents=3,
        kinds={"page": 3},
        newest=None,
        synced_at=None,
        stale=stale,
        sync={"error": error},
    )


def test_the_whole_is_as_well_as_its_worst_part() -> None:
    assert health([WELL]).words == "All is well."
    assert health([WELL, LATE]).standing == "impaired"
    assert health([LATE, WELL, DOWN]).standing == "down"
    assert health([LATE, WELL, DOWN]).words == DOWN.words


def test_sources_that_are_late_or_fail_are_named_with_the_reason() -> None:
    listed = SourceList(
        sources=[source("wiki", stale=True), source("jira", error="401"), source("adr")]
    )
    part = sources_part(listed)
    assert part.standing == "impaired"
    assert (
        part.words == "wiki: not read for longer than it may be. jira: the last sync failed (401)."
    )


@pytest.mark.e2e
def test_a_service_that_nobody_has_claimed_tells_all(live_server: str) -> None:
    told = httpx.get(f"{live_server}/status").json()
    assert told["standing"] == "well"
    names = [part["name"] for part in told["parts"]]
    assert names == ["index", "sources", "models", "budgets", "load", "snapshot"]
    assert told["parts"][0]["words"] == "22 documents to answer from."


@pytest.mark.e2e
def test_readers_are_told_what_concerns_them_and_operators_the_rest(
    case_studies_index: Path, tmp_path: Path
) -> None:
    where = {
        "CASEBOOK_INDEX": str(case_studies_index),
        "CASEBOOK_KEYS": str(tmp_path / "keys.sqlite"),
        "CASEBOOK_ANONYMOUS_ACCESS": "[]",
        "CASEBOOK_CORPUS": '["corpus"]',
    }
    keys = {}
    for name, access in (("reader", "nothing-of-it"), ("ops", "casebook:operator")):
        made = casebook("keys", "create", name, "--access", access, "--json", cwd=ROOT, **where)
        keys[name] = json.loads(made.stdout)["key"]
    with serving(ROOT, **where) as address:
        told = {
            name: httpx.get(f"{address}/status", headers={"Authorization": f"Bearer {key}"}).json()
            for name, key in keys.items()
        }
    assert [part["name"] for part in told["reader"]["parts"]] == ["index", "sources", "models"]
    assert told["reader"]["parts"][0]["words"] == "0 documents to answer from."
    assert [part["name"] for part in told["ops"]["parts"]][3:] == ["budgets", "load", "snapshot"]


def test_without_an_index_the_command_says_what_to_do_and_exits_with_5(tmp_path: Path) -> None:
    done = casebook("status", "--index", str(tmp_path / "none"), cwd=tmp_path, CASEBOOK_PORT="1")
    assert done.returncode == 5
    assert "run `casebook ingest`" in done.stdout
    assert "`casebook serve` starts it" in done.stdout


@pytest.mark.e2e
def test_the_command_finds_a_service_that_answers(
    live_server: str, case_studies_index: Path
) -> None:
    port = live_server.rpartition(":")[2]
    done = casebook("status", "--json", CASEBOOK_INDEX=str(case_studies_index), CASEBOOK_PORT=port)
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["parts"][-1]["words"] == f"It answers at {live_server}."
