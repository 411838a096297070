"""What becomes of a weak model's sentences:
`python -m benchmarks.generation --questions 100 --out build/generation.json`.

gemma3-270m answers questions of infra-faq dev and of the case studies, seven to three, through the
whole product. The JSON has the figures of `casebook eval`; beside it lies a sample of fifty sentences, half
of them kept by the check and half removed, to be judged by reading. Needs the extra local-model and the shared
evaluation data; takes ten seconds a question on a free core.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assistant.evaluation.dataset import DataSet
from assistant.evaluation.figures import Evaluation, evaluate
from assistant.evaluation.run import Outcome, measure
from assistant.evaluation.source import Source, index_folder, open_source
from assistant.gateway.settings import GatewaySettings
from assistant.schema import TraceSentence
from assistant.settings import Settings, load_settings
from benchmarks.local_model import NAME, running
from benchmarks.questions import ROOT, SHARED_EVAL, write_case_study_list
from index.embedder import load_embedder
from index.reader import IndexReader
from index.text import terms
from ingest.sync import Progress, sync_paths

INFRA, CASES = "infra-faq dev", "case studies"
INFRA_SHARE = 0.7
SAMPLE = 25
"""Sentences kept, and as many removed, that are read by a person."""

SEED = 5
CONTEXT = 1300
"""Tokens of prompt and answer: two to four passages of prose beside the examples. More of them do not help so
small a model, and each costs it seconds."""


@dataclass(frozen=True)
class Written:
    """A sentence of the model, the question, and the passages it is about."""

    question: str
    sentence: TraceSentence
    passages: tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """The questions of one set answered, and all that the model wrote."""

    evaluation: Evaluation
    written: tuple[Written, ...]


def main() -> int:
    """Ask, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("build/generation.json"))
    parser.add_argument("--address", help="of a model's OpenAI interface [one is started]")
    options = parser.parse_args()
    if not SHARED_EVAL.exists():
        print(f"this needs the evaluation data at {SHARED_EVAL}", file=sys.stderr)
        return 1
    model = nullcontext(options.address) if options.address else running()
    with TemporaryDirectory() as scratch, model as address:
        sets = {
            name: _asked(source, _settings(Path(scratch), address))
            for name, source in _sources(Path(scratch), options.questions).items()
        }
    summaries = {name: summary(each.evaluation) for name, each in sets.items()}
    measured_at = datetime.now(UTC).isoformat(timespec="seconds")
    result = {"measured_at": measured_at, "model": NAME, "sets": summaries}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    sample = options.out.with_suffix(".md")
    sample.write_text(reading_list([each for of in sets.values() for each in of.written]))
    for name, each in summaries.items():
        print(name, each["endings"], *(f"{key} {value}" for key, value in each["shares"].items()))
    print(f"wrote {options.out} and {sample}")
    return 0


def _sources(scratch: Path, questions: int) -> dict[str, Source]:
    write_case_study_list(scratch / "cases.jsonl")
    infra = SHARED_EVAL / "infra-faq"
    of_infra = round(INFRA_SHARE * questions)
    return {
        INFRA: open_source(infra, corpus_ids=infra / "corpus_small_ids.txt", limit=of_infra),
        CASES: open_source(scratch / "cases.jsonl", limit=questions - of_infra),
    }


def _settings(scratch: Path, address: str) -> Settings:
    gateway = GatewaySettings.model_validate(
        {
            "models": [
                {
                    "name": NAME,
                    "model": NAME,
                    "address": address,
                    "context": CONTEXT,
                    "max_output": 120,
                }
            ],
            # What is measured is what it writes, not how long it takes on a busy machine.
            "timeouts": {"first_token": 300, "between_tokens": 60, "total": 600},
            "ledger": scratch / "usage.sqlite",
        }
    )
    return load_settings(index=scratch / "index").model_copy(update={"gateway": gateway})


def _asked(source: Source, settings: Settings) -> Asked:
    folder = settings.index
    if isinstance(source.content, DataSet):
        folder = index_folder(source, source.content, settings.embedder)
    else:
        sync_paths(
            [ROOT / "corpus"],
            folder,
            load_embedder(settings.embedder),
            base=ROOT,
            labels=frozenset({"public"}),
            report=_tell,
        )
    run = measure(source, settings, rerank=True, report=_tell, generate=True)
    reader = IndexReader(folder)
    try:
        written = tuple(each for outcome in run.outcomes for each in _written(outcome, reader))
    finally:
        reader.close()
    return Asked(evaluate(run), written)


def _tell(progress: Progress) -> None:
    if progress.stage == "asking" and not progress.done % 10:
        print(f"{progress.done} of {progress.total}", file=sys.stderr, flush=True)


def _written(outcome: Outcome, reader: IndexReader) -> list[Written]:
    """The model's sentences with the passages that they cite, or else the one most like them."""
    trace = outcome.answer.trace if outcome.answer else None
    if trace is None or trace.generation is None:
        return []
    state = reader.current().state.id
    given = []
    for each in trace.generation.passages:
        document = reader.catalog.document(state, each.document_id)
        assert document is not None
        given.append(f"{' > '.join(document.place)}\n{document.text[each.start : each.end]}")
    return [
        Written(outcome.question.text, each, _about(each, given))
        for each in trace.generation.sentences
    ]


def _about(sentence: TraceSentence, given: Sequence[str]) -> tuple[str, ...]:
    cited = tuple(given[n - 1] for n in sentence.citations if 1 <= n <= len(given))
    said = set(terms(sentence.text))
    return cited or tuple(
        sorted(given, key=lambda text: -len(said & set(terms(text))))[:1],
    )


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """How the questions ended, what the check did, and each question's record."""
    outcomes = evaluation.run.outcomes
    judged = [outcome.judged for outcome in outcomes if outcome.judged]
    sentences = sum(len(each.written) for each in judged)
    removed = sum(each.removed for each in judged)
    return {
        "questions": len(outcomes),
        "endings": Counter(map(_ending, outcomes)),
        "sentences": sentences,
        "removed": removed,
        "shares": {
            name: round(figure.value, 3)
            for name, figure in evaluation.figures.items()
            if name in _SHARES
        },
        "figures": {name: asdict(each) for name, each in evaluation.figures.items()},
        "latency_ms": {name: asdict(each) for name, each in evaluation.latency.items()},
        "answers": [
            {"question": outcome.question.text, "right": outcome.right}
            | (outcome.answer.model_dump() if outcome.answer else {})
            for outcome in outcomes
        ],
    }


_SHARES = (
    "answer_span_hit",
    "answer_span_hit_generated",
    "removed",
    "unsupported_written",
    "unsupported_shown",
    "citation_precision",
    "citation_recall",
)


def _ending(outcome: Outcome) -> str:
    """What a question got: an answer in the model's words or the sources', or silence."""
    assert outcome.answer is not None
    return "abstained" if outcome.answer.status == "abstained" else outcome.answer.mode


def reading_list(written: Sequence[Written]) -> str:
    """Sentences to be judged without knowing what the check said, which stands at the end."""
    chance = random.Random(SEED)
    chosen: list[Written] = []
    for kept in (True, False):
        those = [each for each in written if each.sentence.kept is kept]
        chosen += chance.sample(those, min(SAMPLE, len(those)))
    chance.shuffle(chosen)
    parts = [
        "# Is the sentence supported?\n\nIts passages stand below it; what the check said, at the end."
    ]
    for number, each in enumerate(chosen, 1):
        quoted = "\n\n".join("> " + text.strip().replace("\n", "\n> ") for text in each.passages)
        parts.append(f"## {number}\n\n{each.question}\n\n**{each.sentence.text}**\n\n{quoted}")
    parts.append("# What the check said")
    parts.append(
        "\n".join(
            f"{number}. {'kept' if each.sentence.kept else 'removed'}, {each.sentence.probability}: "
            f"{each.sentence.reason or 'supported'}"
            for number, each in enumerate(chosen, 1)
        )
    )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
