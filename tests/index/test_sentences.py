"""Sentences: exact spans that respect lists, tables and code."""

from hypothesis import given
from hypothesis import strategies as st

from index.sentences import plain, sentences


def spans(text: str) -> list[str]:
    return [text[sentence.start : sentence.end] for sentence in sentences(text)]


def test_sentences_end_at_full_stops_but_not_at_abbreviations() -> None:
    text = "Use a mesh, e.g. Istio. It costs latency! Does it pay? See Fig. 2 for v1.2.3 data."
    assert spans(text) == [
        "Use a mesh, e.g. Istio.",
        "It costs latency!",
        "Does it pay?",
        "See Fig. 2 for v1.2.3 data.",
    ]


def test_list_items_and_rows_are_sentences_of_their_own() -> None:
    text = "Steps:\n\n- stop writes\n- take a\n  snapshot\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    assert spans(text) == ["Steps:", "stop writes", "take a\n  snapshot", "| a | b |", "| 1 | 2 |"]


def test_fenced_code_stays_whole() -> None:
    text = "Run:\n\n```sh\nkubectl get pods. Then\nkubectl logs\n```\nDone."
    assert spans(text) == ["Run:", "```sh\nkubectl get pods. Then\nkubectl logs\n```", "Done."]


@given(st.text(alphabet="aA.!? \n-#`|1", max_size=120))
def test_sentences_are_ordered_spans_with_words(text: str) -> None:
    end = 0
    for sentence in sentences(text):
        assert end <= sentence.start < sentence.end <= len(text)
        assert text[sentence.start : sentence.end].strip()
        end = sentence.end


def test_plain_text_keeps_words_and_drops_markup() -> None:
    assert plain("See **the** [runbook](https://x.y/z) for\n`kubectl *`.") == (
        "See the runbook for `kubectl *`."
    )
