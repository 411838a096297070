"""Questions to begin with, made from the titles and headings that the caller may read."""

from collections.abc import Sequence

from assistant.roles import heading_roles
from index.schema import Passage

ASKING = {
    "problem": "What problem does {title} solve?",
    "constraints": "Which constraints shaped {title}?",
    "architecture": "How is {title} built?",
    "result": "What was the result of {title}?",
}


def suggestions(passages: Sequence[Passage], count: int) -> list[str]:
    """At most one question a document, each about another part of its story."""
    questions: list[str] = []
    wanted = list(ASKING)
    for document_passages in _by_document(passages):
        role = wanted[len(questions) % len(wanted)]
        for passage in document_passages:
            if role in heading_roles(passage.chunk.heading_path):
                questions.append(ASKING[role].format(title=passage.document.title))
                break
        else:
            questions.append(f"What does {document_passages[0].document.title} say?")
        if len(questions) == count:
            break
    return questions


def _by_document(passages: Sequence[Passage]) -> list[list[Passage]]:
    grouped: dict[str, list[Passage]] = {}
    for passage in passages:
        grouped.setdefault(passage.document.id, []).append(passage)
    return list(grouped.values())
