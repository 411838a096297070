"""Train the span reader: `python -m benchmarks.train_reader --train-set train-v2.0.json` writes
index/span_reader.npz from the packaged cross-encoder.

Trained on the dev questions of squad2, of which every fourth article is held out to measure on, on a
file in SQuAD's own format (its train split, whole or in part: CC BY-SA 4.0), and on questions made
unanswerable by rule: another name or number put in, a word turned into its opposite, or another
paragraph of the same article. An hour and a half on two cores for 11,700 questions, twice. Then run
`python -m benchmarks.quantize`.
"""

import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from scipy.stats import rankdata
from tokenizers import Tokenizer
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from benchmarks.questions import SHARED_EVAL, rows
from index.bert import Weights, read_weights
from index.embedder import packaged_path
from index.reranker import DEFAULT_RERANKER, PACKAGED
from index.span_reader import WEIGHTS

HELD_OUT = 4
"""Every fourth article of squad2 is measured on, and never trained on."""

FROZEN = 4
"""Layers, from the embeddings up, that stay as they are: they know words, and few questions teach none."""

EPOCHS, BATCH, RATE, WARM_UP = 2, 24, 1e-4, 0.06
MAX_TOKENS = 320
RANK = 32
"""Columns of the two thin matrices that each change is kept as: AUROC 0.847 where all of it gives 0.853,
and 0.817 with 8; 3.4 MB instead of 28."""

REWORDED = 0.8
"""Of the unanswerable questions made by rule, the share that is reworded; others get another paragraph."""

FROM_SQUAD2 = 0.25
"""Share of squad2's own questions that one is made of: it has its own unanswerable ones."""

OPPOSITES = [
    tuple(pair.split("/"))
    for pair in (
        "first/last most/least largest/smallest before/after more/fewer increase/decrease start/end "
        "began/ended highest/lowest north/south east/west best/worst earliest/latest oldest/youngest "
        "won/lost born/buried husband/brother wife/sister father/uncle can/cannot positive/negative "
        "internal/external above/below major/minor high/low allowed/prohibited always/never "
        "inside/outside early/late"
    ).split()
]
NEGATED = "did is was were does are".split()
NAME_OR_NUMBER = re.compile(
    r"(?:[A-Z][\w'’.-]+(?:\s+(?:of|the|de|von)?\s*[A-Z][\w'’.-]+)*)|\b\d[\d,.]*\b"
)


@dataclass(frozen=True)
class Question:
    """A question about a paragraph of an article; no answers: the paragraph does not say."""

    text: str
    paragraph: str
    answers: tuple[str, ...]
    article: str


@dataclass(frozen=True)
class Example:
    """A question and its paragraph as tokens; the answer's first and last, 0 where there is none."""

    ids: list[int]
    types: list[int]
    first: int
    last: int
    unanswerable: bool


def squad2_questions() -> list[Question]:
    """The dev questions of the shared data."""
    folder = SHARED_EVAL / "squad2"
    paragraphs = {row["_id"]: row for row in rows(folder / "corpus.jsonl.gz")}
    return [
        Question(
            row["text"],
            paragraphs[row["paragraph"]]["text"],
            tuple(row["answers"]),
            paragraphs[row["paragraph"]]["title"],
        )
        for name in ("queries", "unanswerable")
        for row in rows(folder / "dev" / f"{name}.jsonl")
    ]


def held_out_articles(questions: Sequence[Question]) -> set[str]:
    """The articles that are only measured on."""
    return set(sorted({question.article for question in questions})[1::HELD_OUT])


def squad_questions(path: Path) -> list[Question]:
    """Questions of a file in SQuAD's own format."""
    return [
        Question(
            asked["question"],
            paragraph["context"],
            tuple(answer["text"] for answer in asked["answers"]),
            article["title"],
        )
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]


# --- unanswerable by rule ---------------------------------------------------------------------


def made_unanswerable(
    questions: Sequence[Question], share: float, chance: random.Random
) -> Iterator[Question]:
    """For a share of the answerable questions, one like it that its paragraph does not answer."""
    names: dict[str, set[str]] = {}
    paragraphs: dict[str, list[str]] = {}
    for question in questions:
        names.setdefault(question.article, set()).update(names_in(question.paragraph))
        paragraphs.setdefault(question.article, []).append(question.paragraph)
    ordered = {article: sorted(found) for article, found in names.items()}
    for question in questions:
        if not question.answers or chance.random() >= share:
            continue
        text = None
        if chance.random() < REWORDED:
            text = reworded(question, ordered[question.article], chance)
        if text and text != question.text:
            yield Question(text, question.paragraph, (), question.article)
            continue
        others = [
            other
            for other in paragraphs[question.article]
            if not any(answer in other for answer in question.answers)
        ]
        if others:
            yield Question(question.text, chance.choice(others), (), question.article)


def names_in(text: str) -> list[str]:
    """What looks like a name or a number."""
    return [match[0] for match in NAME_OR_NUMBER.finditer(text)]


def reworded(question: Question, names: Sequence[str], chance: random.Random) -> str | None:
    """The question about something else, or about the opposite; None where no rule fits."""
    ways = [
        way for way in (_renamed(question, names, chance), _turned(question.text, chance)) if way
    ]
    return chance.choice(ways) if ways else None


def _renamed(question: Question, names: Sequence[str], chance: random.Random) -> str | None:
    first_word = question.text.split()[0]
    asked = names_in(question.text[len(first_word) :])
    if not asked:
        return None
    name = chance.choice(asked)

    def fits(other: str) -> bool:
        return other[0].isdigit() == name[0].isdigit() and other not in question.text

    elsewhere = [
        other
        for other in names
        if fits(other)
        and other not in question.paragraph
        and abs(len(other.split()) - len(name.split())) <= 1
    ]
    here = [other for other in names_in(question.paragraph) if fits(other) and len(other) > 2]
    chosen = elsewhere if elsewhere and chance.random() < 0.6 else here
    return question.text.replace(name, chance.choice(chosen)) if chosen else None


def _turned(text: str, chance: random.Random) -> str | None:
    pairs = [*OPPOSITES, *((word, f"{word} not") for word in NEGATED)]
    ways = [
        re.sub(rf"\b{word}\b", other, text, count=1)
        for pair in pairs
        for word, other in (pair, pair[::-1])
        if re.search(rf"\b{word}\b", text)
    ]
    return chance.choice(ways) if ways else None


# --- the model --------------------------------------------------------------------------------


class Reader(torch.nn.Module):
    """The cross-encoder's BERT with the two heads of a span reader."""

    def __init__(self, weights: Weights) -> None:
        from transformers import BertConfig, BertModel

        super().__init__()
        # Dropout costs a half of the time on a CPU, and two epochs do not need it.
        self.bert = BertModel(
            BertConfig(
                vocab_size=weights["embeddings.word_embeddings.weight"].shape[0],
                hidden_size=384,
                num_hidden_layers=12,
                num_attention_heads=12,
                intermediate_size=1536,
                attention_probs_dropout_prob=0.0,
                hidden_dropout_prob=0.0,
                attn_implementation="eager",
            ),
            add_pooling_layer=False,
        )
        known = {name: torch.tensor(np.array(value)) for name, value in weights.items()}
        self.bert.load_state_dict(
            {name: known[name] for name in self.bert.state_dict()}, strict=False
        )
        self.spans = torch.nn.Linear(384, 2)
        self.none = torch.nn.Linear(384, 1)
        frozen = [self.bert.embeddings, *self.bert.encoder.layer[:FROZEN]]
        for parameter in (each for part in frozen for each in part.parameters()):
            parameter.requires_grad = False

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Logits of beginnings and ends, `(texts, tokens)` each, and of no answer, `(texts,)`."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states = self.bert(
                input_ids=batch["ids"],
                token_type_ids=batch["types"],
                attention_mask=batch["mask"],
            ).last_hidden_state
            spans, none = self.spans(states), self.none(states[:, 0])
        spans = spans.float().masked_fill(batch["mask"][..., None] == 0, -1e4)
        return spans[..., 0], spans[..., 1], none.float()[:, 0]


def encoded(tokenizer: Tokenizer, question: Question) -> Example:
    """A question as the model takes it."""
    encoding = tokenizer.encode(question.text, question.paragraph)
    first = last = 0
    for answer in question.answers:
        start = question.paragraph.find(answer)
        inside = [
            number
            for number, (kind, (begin, end)) in enumerate(
                zip(encoding.type_ids, encoding.offsets, strict=True)
            )
            if kind == 1 and begin < start + len(answer) and end > start and end > begin
        ]
        if start >= 0 and inside:
            first, last = inside[0], inside[-1]
            break
    return Example(encoding.ids, encoding.type_ids, first, last, not question.answers)


def batch_of(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Examples padded to their longest."""
    width = max(len(example.ids) for example in examples)

    def padded(values: list[list[int]]) -> torch.Tensor:
        return torch.tensor([each + [0] * (width - len(each)) for each in values])

    return {
        "ids": padded([example.ids for example in examples]),
        "types": padded([example.types for example in examples]),
        "mask": padded([[1] * len(example.ids) for example in examples]),
        "first": torch.tensor([example.first for example in examples]),
        "last": torch.tensor([example.last for example in examples]),
        "none": torch.tensor([float(example.unanswerable) for example in examples]),
    }


def batches(examples: Sequence[Example], chance: random.Random) -> list[list[Example]]:
    """Batches of examples alike in length, shuffled."""
    order = list(examples)
    chance.shuffle(order)
    pools = [
        sorted(order[start : start + 40 * BATCH], key=lambda example: len(example.ids))
        for start in range(0, len(order), 40 * BATCH)
    ]
    found = [pool[at : at + BATCH] for pool in pools for at in range(0, len(pool), BATCH)]
    chance.shuffle(found)
    return found


def train(model: Reader, examples: Sequence[Example], chance: random.Random) -> None:
    """Two epochs of AdamW, the rate rising and then falling to nothing."""
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [each for each in trained if each.ndim > 1], "weight_decay": 0.01},
            {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=RATE,
    )
    steps = EPOCHS * len(examples) // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, step / (WARM_UP * steps)) * max(0.0, (steps - step) / steps),
    )
    model.train()
    began, step = time.perf_counter(), 0
    for _ in range(EPOCHS):
        for chosen in batches(examples, chance):
            batch = batch_of(chosen)
            starts, ends, none = model(batch)
            spans = (cross_entropy(starts, batch["first"]) + cross_entropy(ends, batch["last"])) / 2
            loss = spans + 0.5 * binary_cross_entropy_with_logits(none, batch["none"])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 50 == 0:
                speed = step * BATCH / (time.perf_counter() - began)
                print(
                    f"{step} of {steps}: loss {loss.item():.3f}, {speed:.1f} questions/s",
                    flush=True,
                )


def auroc(model: Reader, examples: Sequence[Example]) -> float:
    """How well the head that tells it tells answerable from unanswerable questions."""
    model.eval()
    scores: list[float] = []
    with torch.no_grad():
        for start in range(0, len(examples), BATCH):
            scores += model(batch_of(examples[start : start + BATCH]))[2].tolist()
    ranks = rankdata(scores)
    none = np.array([example.unanswerable for example in examples])
    positives = int(none.sum())
    most = positives * (len(none) - positives)
    return float((ranks[none].sum() - positives * (positives + 1) / 2) / most)


def save(model: Reader, weights: Weights) -> None:
    """What training changed, each matrix as two thin ones."""
    arrays: dict[str, Any] = {}
    for name, tensor in model.state_dict().items():
        value = tensor.numpy()
        if not name.startswith("bert."):
            arrays[f"head/{name}"] = value
            continue
        name = name.removeprefix("bert.")
        change = value - weights[name] if name in weights else np.zeros(1)
        if not np.abs(change).max() > 1e-7:
            continue
        if change.ndim == 1:
            arrays[f"add/{name}"] = change.astype(np.float16)
            continue
        left, sizes, right = np.linalg.svd(change, full_matrices=False)
        arrays[f"left/{name}"] = (left[:, :RANK] * sizes[:RANK]).astype(np.float16)
        arrays[f"right/{name}"] = right[:RANK].astype(np.float16)
    np.savez_compressed(WEIGHTS, **arrays)


@click.command()
@click.option("--train-set", type=click.Path(path_type=Path), help="A file in SQuAD's format.")
@click.option("--limit", type=int, help="Train on so many questions: to try the script.")
def main(train_set: Path | None, limit: int | None) -> None:
    """Train, measure on what was held out, and write the file."""
    chance = random.Random(0)
    torch.manual_seed(0)
    folder = packaged_path(*PACKAGED[DEFAULT_RERANKER])
    assert folder, "install the packages of Casebook first"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS, strategy="only_second")
    own = squad2_questions()
    held = held_out_articles(own)
    kept = [question for question in own if question.article not in held]
    more = squad_questions(train_set) if train_set else []
    made = [
        *made_unanswerable(kept, FROM_SQUAD2, chance),
        *made_unanswerable(more, 1.0, chance),
    ]
    examples = [encoded(tokenizer, question) for question in [*kept, *more, *made]][:limit]
    measured = [encoded(tokenizer, question) for question in own if question.article in held]
    print(f"{len(examples)} to train on, {len(measured)} of {len(held)} articles held out")
    weights = read_weights(folder)
    model = Reader(weights)
    train(model, examples, chance)
    print(f"AUROC on the articles held out: {auroc(model, measured):.3f}")
    if limit is None:
        save(model, weights)


if __name__ == "__main__":
    main()
