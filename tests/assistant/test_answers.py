"""Answers: exact citations, the part asked for, silence where the sources are silent."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.access.caller import anonymous
from assistant.assistant import Assistant
from assistant.schema import Answer, AskRequest
from tests.conftest import READER, ROOT, World, ask


def assert_exact(answer: Answer, assistant: Assistant) -> None:
    """Every quote is its document's text at its offsets, and every sentence has its citation."""
    for citation in answer.citations:
        text = assistant.document(citation.document_id, READER).text
        assert text[citation.start : citation.end] == citation.quote != ""
        assert citation.candidate is (answer.status == "abstained")
    numbers = [citation.n for citation in answer.citations]
    assert numbers == list(range(1, len(numbers) + 1))
    for sentence in answer.sentences:
        assert sentence.citations
        assert set(sentence.citations) <= set(numbers)


def first(answer: Answer) -> tuple[str, str, str]:
    citation = answer.citations[0]
    return answer.status, citation.title, citation.section


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            "what is the result of kanister backup gitops SLO alerts problem mesh Why how version "
            "restores constraints 42 ? ! \n 漢字 '; DROP é".split(" ")
        ),
        min_size=1,
        max_size=12,
    )
    .map(" ".join)
    .filter(str.strip)
)
def test_citations_are_exact_whatever_is_asked(assistant: Assistant, question: str) -> None:
    assert_exact(ask(assistant, question), assistant)


@pytest.mark.parametrize(
    ("question", "title", "section"),
    [
        ("What problem does Kanister Backup Restore solve?", "Kanister Backup Restore", "Problem"),
        ("What was the result of SBOM Integration?", "SBOM Integration", "Result"),
        ("SBOM constraints", "SBOM Integration", "Constraints"),
        ("WHAT IS THE ARCHITECTURE OF THE ZERO TRUST SERVICE MESH?", "Zero Trust Service Mesh", "Architecture"),
        ("what cordinates bakcup actions and restor actions", "Kanister Backup Restore", "Architecture"),
        ("Kuberntes clusters inconsistant", "EKS Platform Foundation", "Problem"),
        ("restoring repeatably and reviewably before incidents", "Kanister Backup Restore", "Result"),
    ],
)  # fmt: skip
def test_question_that_names_a_case_or_a_facet_gets_that_facet(
    assistant: Assistant, question: str, title: str, section: str
) -> None:
    assert first(ask(assistant, question)) == ("answered", title, section)


def test_one_word_gives_an_overview_in_the_order_of_the_document(assistant: Assistant) -> None:
    answer = ask(assistant, "kanister")
    assert [citation.section for citation in answer.citations] == [
        "Problem",
        "Constraints",
        "Architecture",
        "Result",
    ]
    assert {citation.title for citation in answer.citations} == {"Kanister Backup Restore"}


def test_follow_up_takes_its_subject_from_the_conversation(assistant: Assistant) -> None:
    answer = ask(assistant, "and its result?", "What problem does Kanister solve?")
    assert first(answer) == ("answered", "Kanister Backup Restore", "Result")
    assert answer.trace is not None
    assert answer.trace.query.from_conversation


def test_follow_up_goes_back_past_other_follow_ups(assistant: Assistant) -> None:
    earlier = ("What problem does SBOM Integration solve?", "and the constraints?")
    assert first(ask(assistant, "what about the architecture?", *earlier)) == (
        "answered",
        "SBOM Integration",
        "Architecture",
    )


def test_question_of_its_own_ignores_the_conversation(assistant: Assistant) -> None:
    question = "What was the result of SBOM Integration?"
    earlier = "What problem does Kanister solve?"
    assert ask(assistant, question, earlier).answer == ask(assistant, question).answer


def test_typos_are_mended_and_shown(assistant: Assistant) -> None:
    trace = ask(assistant, "Which blueprnts does Kanistr use?").trace
    assert trace is not None
    assert trace.query.corrections == {"blueprnts": "blueprints", "Kanistr": "kanister"}


@pytest.mark.parametrize(
    "question",
    [
        "Which Kubernetes version does the EKS foundation run?",
        "How many clusters does the EKS foundation manage?",
        "What is the capital of France?",
        "How much does the SBOM pipeline cost per month?",
        "Why was Istio chosen over Linkerd?",
    ],
)
def test_abstains_where_the_sources_are_silent(assistant: Assistant, question: str) -> None:
    answer = ask(assistant, question)
    assert answer.status == "abstained"
    assert answer.sentences == []
    assert answer.answer == ""
    assert answer.notice
    assert answer.citations
    assert all(citation.candidate for citation in answer.citations)
    assert answer.trace is not None
    assert answer.trace.confidence.value < answer.trace.confidence.threshold


def test_abstention_names_what_is_missing(assistant: Assistant) -> None:
    assert "a version" in (ask(assistant, "Which Flux version is used?").notice or "")
    assert "“linkerd”" in (ask(assistant, "Is linkerd part of the mesh?").notice or "").lower()


def test_name_near_a_word_of_the_corpus_is_no_typo(assistant: Assistant) -> None:
    trace = ask(assistant, "Is linkerd part of the mesh?").trace
    assert trace is not None
    assert trace.query.corrections == {}


def test_same_question_gets_the_same_answer(assistant: Assistant) -> None:
    request = AskRequest(question="Why do AI bills grow?")
    assert assistant.ask(request, READER) == assistant.ask(request, READER)


def test_quality_on_our_own_questions_has_not_broken(assistant: Assistant) -> None:
    """Bounds lie well under what is measured (docs/retrieval.md): they catch a break."""
    stored = (ROOT / "tests" / "data" / "case-study-questions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in stored]
    answers = [assistant.ask(AskRequest(question=row["question"]), READER) for row in rows]
    right, refused, invented = 0, 0, 0
    for row, answer in zip(rows, answers, strict=True):
        if row["case"] is None:
            invented += answer.status != "abstained"
            continue
        place = (answer.citations[0].title, answer.citations[0].section)
        right += place == (row["case"], row["facet"])
        refused += answer.status == "abstained"
    assert right >= 96  # of 119
    assert refused <= 24  # of 119
    assert invented <= 14  # of 70


def test_long_document_is_answered_by_sentences_not_chunks(world: World) -> None:
    filler = " ".join(
        f"Sentence number {n} talks about the weather over the sea." for n in range(8)
    )
    world.write(
        "guide.md",
        f"# Guide\n\n{filler} Certificates are renewed thirty days before they expire. {filler}\n",
    )
    world.ingest()
    answer = world.ask("When are certificates renewed?")
    assert answer.status == "answered"
    assert answer.citations[0].quote == "Certificates are renewed thirty days before they expire."
    assert len(answer.answer) < 400


def test_lead_in_brings_the_steps_it_announces(world: World) -> None:
    world.write(
        "failover.md",
        "# Failover\n\nThe weather was fine. To fail over the database, do this:\n\n"
        "1. stop all writes\n2. promote the replica\n\nThe sea is blue.\n",
    )
    world.ingest()
    answer = world.ask("How do I fail over the database?")
    assert [citation.quote for citation in answer.citations][:3] == [
        "To fail over the database, do this:",
        "stop all writes",
        "promote the replica",
    ]


def test_hidden_documents_change_nothing_for_a_caller(world: World) -> None:
    world.write("open.md", "# Restore drill\n\nThe restore drill runs every quarter.\n")
    world.ingest()
    question = "How often does the restore drill run?"
    before = world.ask(question)
    world.write(
        "hidden.md",
        "---\naccess: [platform]\n---\n# Restore drill\n\nThe restore drill runs every secret hour.\n",
    )
    world.ingest()
    after = world.ask(question)

    volatile = {"index_state", "trace"}
    assert after.model_dump(exclude=volatile) == before.model_dump(exclude=volatile)
    assert after.trace is not None
    assert before.trace is not None
    assert after.trace.model_dump(exclude={"times_ms"}) == before.trace.model_dump(
        exclude={"times_ms"}
    )
    assert world.assistant().documents(READER).total == 1
    assert len(world.assistant().search("drill", 10, READER).hits) == 1
    permitted = anonymous({"public", "platform"})
    assert {hit.source for hit in world.assistant().search("drill", 10, permitted).hits} == {
        "docs/open.md",
        "docs/hidden.md",
    }


def test_changed_source_is_marked_stale(world: World) -> None:
    path = world.write("open.md", "# Restore drill\n\nThe restore drill runs every quarter.\n")
    world.ingest()
    assert not world.ask("How often does the restore drill run?").citations[0].stale
    path.write_text("# Restore drill\n\nThe restore drill runs every week.\n")
    assert world.ask("How often does the restore drill run?").citations[0].stale
    path.unlink()
    assert world.ask("How often does the restore drill run?").citations[0].stale
