"""Answering: in a model's words where one is configured and the passages support each sentence, in the
sources' own words otherwise.
"""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from assistant.access.caller import Caller
from assistant.admission import Admission
from assistant.assistant import Assistant, Prepared, open_assistant
from assistant.brownout import Brownout
from assistant.events import AnswerEvent, Citations, Final, Said
from assistant.gateway.errors import GatewayError, NoRoute
from assistant.gateway.gateway import Gateway
from assistant.gateway.limits import CallerLimits
from assistant.gateway.schema import UNLABELLED, Call, Completed, Payer
from assistant.generation.claims import Claim, ClaimStream
from assistant.generation.draft import Draft
from assistant.generation.outcome import Writing, composed
from assistant.generation.prompt import Packed, pack, restored
from assistant.generation.verify import Verifier
from assistant.rank import RERANK_TOKENS
from assistant.schema import Answer, AnswerSentence, AskRequest, SearchResult, Turn
from assistant.settings import Settings
from assistant.telemetry.instruments import SENTENCES, stage, stepped
from assistant.telemetry.questions import counted
from index.schema import Labels

log = logging.getLogger("casebook.answering")

GIVEN = 8
"""Candidates that a model is given at most: those that the reranker reads."""

ANSWER_TOKENS = 400
"""Tokens that a model may write: a short answer has a third of it."""

ENDS = ".!?:`"
"""What a whole sentence, or a block of code, may end with."""

COUNTED_ALIKE = 0.9
"""Share of a model's room that is used: its own tokenizer may count more than tiktoken, and its server
adds a frame around each message."""


T = TypeVar("T")

HASTY = "Many are searching now: fewer passages than usual were read to order these."
UNREAD = (
    "Many are searching now: no passage was read to order these, they are as retrieval found them."
)
"""What is said of a search under load."""


class Answering:
    """Answers questions over one assistant and one gateway, for one event loop."""

    def __init__(
        self, assistant: Assistant, gateway: Gateway, admission: Admission | None = None
    ) -> None:
        self.assistant = assistant
        self.gateway = gateway
        self.admission = admission or Admission()
        self._brownout = Brownout()
        self._limits = CallerLimits(gateway.settings.limits) if gateway.configured else None
        self._verifier = Verifier(assistant.models) if gateway.configured else None

    async def answer(self, request: AskRequest, caller: Caller) -> Answer:
        """The answer, when it is whole; raises `Overloaded`, `TooManyRequests` and what retrieval raises."""
        events = counted(self._events(request, caller), streamed=False)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Final):
                    return event.answer
        raise AssertionError("the last event is the answer")

    def stream(self, request: AskRequest, caller: Caller) -> AsyncGenerator[AnswerEvent, None]:
        """The answer as it comes about. What is raised is raised before the first event."""
        return counted(self._events(request, caller), streamed=True)

    async def _events(
        self, request: AskRequest, caller: Caller
    ) -> AsyncGenerator[AnswerEvent, None]:
        payer = payer_of(caller)
        with self._admitted(payer):
            async with self.admission.admitted("ask", payer.name):
                prepared = await anyio.to_thread.run_sync(self.assistant.prepare, request, caller)
            if self._verifier is None or prepared.answer.status == "abstained":
                for event in _told(prepared.answer):
                    yield event
                return
            packed = self._packed(prepared, request)
            draft = Draft(packed.passages, self.assistant.freshness.is_stale)
            writing = Writing(prepared, packed, draft, time.perf_counter())
            yield Citations(())
            written = stepped("generate", self._written(writing, _call(writing, caller, payer)))
            async with aclosing(written) as events:
                async for event in events:
                    yield event
            writing.lap("total")
            age_notice = self.assistant.age_notice
            yield Final(await anyio.to_thread.run_sync(composed, writing, age_notice))

    async def search(self, query: str, k: int, caller: Caller) -> SearchResult:
        """The best passages for a query, read less closely under load, which `notice` then says; raises
        `Overloaded` and what retrieval raises.
        """
        async with self.admission.admitted("search", payer_of(caller).name):
            with self._brownout.reading() as tokens:
                search = partial(
                    self.assistant.search,
                    query,
                    k,
                    caller,
                    rerank=tokens > 0,
                    rerank_tokens=tokens,
                )
                result = await anyio.to_thread.run_sync(search)
        if tokens == RERANK_TOKENS:
            return result
        log.info("a search was answered with %d of %d tokens read", tokens, RERANK_TOKENS)
        return result.model_copy(update={"notice": HASTY if tokens else UNREAD})

    async def looked_up(self, look: Callable[[Caller], T], caller: Caller) -> T:
        """What a function of the assistant gives that reads the index; raises `Overloaded` and what it
        raises.
        """
        async with self.admission.admitted("search", payer_of(caller).name):
            return await anyio.to_thread.run_sync(look, caller)

    def _admitted(self, payer: Payer) -> AbstractContextManager[None]:
        return self._limits.admitted(payer) if self._limits else nullcontext()

    def _packed(self, prepared: Prepared, request: AskRequest) -> Packed:
        """A prompt that fits the model which its passages may be shown to."""
        asked, turns = prepared.question.asked, request.conversation
        if any(rule.labels for rule in self.gateway.settings.rules):
            # An earlier answer may quote what only some models may see.
            turns = [Turn(question=turn.question) for turn in turns]
        given = prepared.candidates[:GIVEN]
        packed = pack(asked, turns, given, self._room(frozenset()))
        room = self._room(_labels(packed))
        return pack(asked, turns, given, room) if packed.tokens > room > 0 else packed

    def _room(self, labels: Labels) -> int:
        return int(COUNTED_ALIKE * self.gateway.room(labels))

    async def _written(self, writing: Writing, call: Call) -> AsyncGenerator[AnswerEvent, None]:
        """Each sentence of the model that passes its check, as soon as it has."""
        text = ClaimStream()
        try:
            if not writing.packed.passages:
                raise NoRoute("No configured model may see these passages or has room for them.")
            async with (
                aclosing(self.gateway.stream(call)) as asked,
                aclosing(self.admission.until_cut(asked)) as events,
            ):
                async for event in events:
                    if isinstance(event, Completed):
                        writing.completed = event
                        break
                    writing.lap("first_token")
                    writing.text += event.text
                    for claim in text.feed(restored(event.text)):
                        for told in await self._checked(writing, claim):
                            yield told
        except GatewayError as error:
            # What was cut off in the middle of a sentence says nothing.
            log.warning("no whole answer from a model: %s", error)
            writing.problem = error
            return
        for claim in text.end():
            if writing.completed and writing.completed.truncated and claim.text[-1] not in ENDS:
                continue  # cut off in the middle
            for told in await self._checked(writing, claim):
                yield told

    async def _checked(self, writing: Writing, claim: Claim) -> list[AnswerEvent]:
        if writing.draft.has_judged(claim.text):
            return []
        known = len(writing.draft.citations)
        began = time.perf_counter()
        sentence = await anyio.to_thread.run_sync(self._judged, writing, claim)
        writing.spent("checks", time.perf_counter() - began)
        if sentence is None:
            return []
        writing.lap("first_sentence")
        citations = tuple(writing.draft.citations)
        return [*([Citations(citations)] if len(citations) > known else []), Said(sentence)]

    def _judged(self, writing: Writing, claim: Claim) -> AnswerSentence | None:
        """What models and files are read for: not on the event loop."""
        assert self._verifier is not None
        with stage("verify"):
            sentence = writing.draft.add(self._verifier.check(claim, writing.packed.passages))
        SENTENCES.add(1, {"verdict": "kept" if sentence else "removed"})
        return sentence


def answered(request: AskRequest, caller: Caller, settings: Settings) -> Answer:
    """One answer to one question: what the command line gives."""

    async def run() -> Answer:
        gateway = Gateway(settings.gateway)
        try:
            return await Answering(assistant, gateway).answer(request, caller)
        finally:
            await gateway.close()

    assistant = open_assistant(settings)
    try:
        return anyio.run(run)
    finally:
        assistant.close()


def payer_of(caller: Caller) -> Payer:
    """Whose budget a caller's questions count against. People and keys may have the same name."""
    name = caller.name if caller.kind == "key" else f"{caller.kind}:{caller.name}"
    return Payer(name, caller.team)


def _call(writing: Writing, caller: Caller, payer: Payer) -> Call:
    return Call(
        messages=writing.packed.messages,
        tokens=writing.packed.tokens,
        max_output_tokens=ANSWER_TOKENS,
        payer=payer,
        labels=_labels(writing.packed),
        # An administrator reads everything, whatever labels they hold.
        audience=frozenset({"administrator:"}) if caller.administrator else caller.labels,
        index_state=writing.prepared.answer.index_state,
    )


def _labels(packed: Packed) -> Labels:
    return frozenset().union(*(each.document.access or {UNLABELLED} for each in packed.passages))


def _told(answer: Answer) -> Iterator[AnswerEvent]:
    yield Citations(tuple(answer.citations))
    for sentence in answer.sentences:
        yield Said(sentence)
    yield Final(answer)
