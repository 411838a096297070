"""The shapes of OpenAI's chat completions, as far as they are spoken here.

Requests may hold more than this: what steers how a model writes (temperature, tools, a response format …) is
taken and has no effect, for answers are made of the sources.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.schema import MAX_QUESTION, MAX_TURNS, AskRequest, Turn
from index.errors import InvalidInput


class _Received(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ContentPart(_Received):
    """A part of a message; only text is understood."""

    type: str
    text: str | None = None
    refusal: str | None = None


class ChatMessage(_Received):
    """A message of the conversation so far."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[ContentPart] | None = None

    @property
    def text(self) -> str:
        """The message as text; raises `InvalidInput` for an image, a file or sound."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "\n".join(map(_text_of, self.content))


def _text_of(part: ContentPart) -> str:
    text = part.text if part.type == "text" else part.refusal if part.type == "refusal" else None
    if text is None:
        raise InvalidInput(f"a message has a part of type {part.type!r}: send text only")
    return text


class StreamOptions(_Received):
    """What a stream tells besides the message."""

    include_usage: bool = False


class ChatRequest(_Received):
    """`POST /v1/chat/completions`. The last message of the user is the question, what was said before it
    the conversation, of which the last 20 exchanges count. System messages are not looked at.
    """

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = Field(None, description="there is one answer")

    def question(self) -> AskRequest:
        """The question with its conversation; raises `InvalidInput` where there is none."""
        turns = list(_turns(self.messages))
        if not turns:
            raise InvalidInput("messages: none is from the user, so there is no question")
        *earlier, (question, _) = turns
        try:
            conversation = [
                # What was said earlier is cut rather than refused: the client can't take it back.
                Turn(question=asked[:MAX_QUESTION], answer=said[: 20 * MAX_QUESTION])
                for asked, said in earlier[-MAX_TURNS:]
            ]
            return AskRequest(question=question, conversation=conversation)
        except ValidationError as error:
            told = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InvalidInput(f"messages: {told}") from error


def _turns(messages: list[ChatMessage]) -> Iterator[tuple[str, str]]:
    """Each message of the user with what the assistant said to it."""
    asked: str | None = None
    said: list[str] = []
    for message in messages:
        if message.role == "user":
            if asked is not None:
                yield asked, "\n".join(said)
            asked, said = message.text, []
        elif message.role == "assistant" and asked is not None:
            said.append(message.text)
    if asked is not None:
        yield asked, "\n".join(said)


# --- what is sent -----------------------------------------------------------------------------


class UrlCitation(BaseModel):
    """What stands at `content[start_index:end_index]`, counted in Unicode characters: a mark like [1]."""

    start_index: int
    end_index: int
    url: str
    title: str


class Annotation(BaseModel):
    """A citation in a message."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class AssistantMessage(BaseModel):
    """The answer as a message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation]


class Choice(BaseModel):
    """The only choice there is."""

    index: Literal[0] = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop"] = "stop"


class PromptTokensDetails(BaseModel):
    """Which of the prompt's tokens were cheaper."""

    cached_tokens: int = 0


class CompletionUsage(BaseModel):
    """Tokens of the language model; none where the answer is in the sources' own words."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails = PromptTokensDetails()


class ChatCompletion(BaseModel):
    """An answer, whole."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage


class Delta(BaseModel):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    annotations: list[Annotation] | None = None


class ChunkChoice(BaseModel):
    """The only choice there is, as far as a chunk tells of it."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: Literal["stop"] | None = None


class ChatCompletionChunk(BaseModel):
    """A piece of an answer."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None


class ModelInfo(BaseModel):
    """A model that can be asked."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "casebook"


class ModelList(BaseModel):
    """The models that can be asked."""

    object: Literal["list"] = "list"
    data: list[ModelInfo]


class ErrorDetail(BaseModel):
    """What was wrong and what to do; `param` names the field, `code` is for programs."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """An error as OpenAI's clients read it."""

    error: ErrorDetail
