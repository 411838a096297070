"""Two documents that disagree: the newer leads, both are shown, and the answer says so."""

from datetime import UTC, datetime, timedelta

from assistant.freshness import Freshness
from tests.conftest import World

QUESTION = "How often does the restore drill run?"


def test_the_newer_of_two_documents_that_disagree_leads(world: World) -> None:
    world.write(
        "old.md",
        "---\ndate: 2023-02-01\n---\n# Restore drill\n\nThe restore drill runs every quarter.\n",
    )
    world.write(
        "new.md", "---\ndate: 2025-06-01\n---\n# Drills\n\nThe restore drill runs every week.\n"
    )
    world.ingest()
    answer = world.ask(QUESTION)
    assert [citation.quote for citation in answer.citations[:2]] == [
        "The restore drill runs every week.",
        "The restore drill runs every quarter.",
    ]
    assert answer.notice == "[1] and [2] disagree: [1] is newer (2025-06-01, the other 2023-02-01)."


def test_documents_that_agree_are_no_conflict(world: World) -> None:
    for name in ("a.md", "b.md"):
        world.write(name, "# Restore drill\n\nThe restore drill runs every quarter.\n")
    world.write("c.md", "# Freeze\n\nThe deploy freeze runs from Friday to Monday.\n")
    world.ingest()
    assert world.ask(QUESTION).notice is None


def test_another_project_may_differ(world: World) -> None:
    for project, value in (("argo", "every quarter"), ("flux", "every week")):
        world.write(
            f"{project}.md",
            f"---\nproject: {project}\n---\n# Drill\n\nThe restore drill runs {value}.\n",
        )
    world.ingest()
    assert world.ask(QUESTION).notice is None


def test_answer_from_an_old_document_says_so(world: World) -> None:
    world.write(
        "old.md", "---\ndate: 2023-02-01\n---\n# Drill\n\nThe restore drill runs every quarter.\n"
    )
    world.ingest()
    assistant = world.assistant()
    assistant.freshness = Freshness(
        world.base,
        stale_after={"": timedelta(days=30)},
        now=lambda: datetime(2023, 2, 20, tzinfo=UTC),
    )
    assert world.ask(QUESTION, assistant=assistant).notice is None
    assistant.freshness = Freshness(world.base, stale_after={"": timedelta(days=30)})
    notice = world.ask(QUESTION, assistant=assistant).notice
    assert notice == "[1] may be out of date: unchanged, or not looked at, for more than 30 days."
