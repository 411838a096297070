"""A small evaluation of every kind of question set, to catch a break: `make eval-smoke`.

The floors lie well under what was measured (`docs/benchmarks.md`): they catch what is broken, not what
is a little worse. The full measurement is `make eval`.
"""

from pathlib import Path

import pytest

from assistant.evaluation.figures import Evaluation, evaluate
from assistant.evaluation.run import measure
from assistant.evaluation.source import Source, open_source
from assistant.settings import load_settings
from benchmarks.questions import SHARED_EVAL, write_case_study_list, write_infra_ids

needs_data = pytest.mark.skipif(
    not SHARED_EVAL.exists(), reason=f"the shared evaluation data is not at {SHARED_EVAL}"
)


def evaluation(source: Source, index: Path) -> Evaluation:
    settings = load_settings(index=index)
    return evaluate(measure(source, settings, rerank=True, report=lambda progress: None))


def below(found: Evaluation, floors: dict[str, float]) -> dict[str, float]:
    """The figures that are under their floor."""
    figures = {name: round(figure.value, 3) for name, figure in found.figures.items()}
    print(found.run.name, figures)
    return {name: figures[name] for name, floor in floors.items() if figures[name] < floor}


@pytest.mark.slow
def test_case_studies_are_found_answered_and_refused(
    case_studies_index: Path, tmp_path: Path
) -> None:
    questions = tmp_path / "case-studies.jsonl"
    write_case_study_list(questions)
    found = evaluation(open_source(questions), case_studies_index)
    assert below(found, {"passage_hit@1": 0.75, "auroc": 0.93}) == {}


@pytest.mark.slow
@needs_data
def test_documentation_is_found_and_strangers_are_refused(tmp_path: Path) -> None:
    write_infra_ids(tmp_path / "ids.txt", 150)
    source = open_source(
        SHARED_EVAL / "infra-faq", corpus_ids=tmp_path / "ids.txt", limit=70, indexes=tmp_path
    )
    found = evaluation(source, tmp_path)
    assert below(found, {"ndcg@10": 0.9, "passage_hit@1": 0.6, "passage_hit@5": 0.85}) == {}


@pytest.mark.slow
@needs_data
def test_paragraphs_are_found_and_answers_quoted(tmp_path: Path) -> None:
    source = open_source(SHARED_EVAL / "squad2", limit=100, indexes=tmp_path)
    found = evaluation(source, tmp_path)
    assert below(found, {"passage_hit@1": 0.8, "answer_span_hit": 0.7, "auroc": 0.55}) == {}
