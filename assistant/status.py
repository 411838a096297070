"""Health in words: what is well, what is not, and what to do about it."""

from collections.abc import Sequence
from datetime import datetime

import httpx
from fastapi import FastAPI

from assistant.access.authenticate import Authenticator
from assistant.access.caller import Caller
from assistant.access.routes import OPERATOR_LABEL, Reader
from assistant.answering import Answering
from assistant.gateway.errors import GatewayError
from assistant.gateway.gateway import Gateway
from assistant.gateway.shares import fullest
from assistant.responses import REFUSED
from assistant.schema import WORSE, Health, Part, SourceList
from assistant.settings import Settings
from assistant.sources import Sources
from index.catalog import utc_now
from index.errors import CasebookError
from index.reader import IndexReader
from index.recovery.audit import audit_path, snapshot_age

NEARLY = 0.9
"""Share of a budget from which it is worth a word, as the alert has it."""

ASKED_FOR = 2.0
"""Seconds that `casebook status` waits for the service: it answers this within milliseconds or is not well."""


def health(parts: Sequence[Part]) -> Health:
    """The parts as one."""
    standing = max((part.standing for part in parts), key=WORSE.index)
    unwell = [part.words for part in parts if part.standing == standing]
    return Health(
        standing=standing,
        words="All is well." if standing == "well" else " ".join(unwell),
        parts=list(parts),
    )


def add_status(
    app: FastAPI, answering: Answering, sources: Sources, authenticator: Authenticator
) -> None:
    """Add `GET /status`."""

    @app.get("/status", responses=REFUSED)
    def status(caller: Reader) -> Health:
        """How the service is, in words; operators are told more than readers."""
        unclaimed = authenticator.unclaimed
        told = caller.administrator or unclaimed or OPERATOR_LABEL in caller.labels
        reader = answering.assistant.reader
        parts = _of_index(reader, sources, caller, unclaimed=unclaimed)
        parts.append(models_part(answering.gateway))
        if told:
            parts += [budgets_part(answering.gateway), load_part(answering)]
            parts.append(snapshot_part(reader, utc_now()))
        return health(parts)


def local_health(
    settings: Settings, sources: Sources, reader: IndexReader, caller: Caller
) -> Health:
    """How the index on this machine is, and whether a service answers from it."""
    parts = _of_index(reader, sources, caller, unclaimed=True)
    return health([*parts, snapshot_part(reader, utc_now()), service_part(settings)])


def _of_index(
    reader: IndexReader, sources: Sources, caller: Caller, *, unclaimed: bool
) -> list[Part]:
    """The index and its sources; without one, nothing is known of the other."""
    try:
        listed = sources.listed(caller, unclaimed=unclaimed)
    except CasebookError as error:
        return [Part(name="index", standing="down", words=_sentence(str(error)))]
    return [index_part(listed), sources_part(listed)]


def index_part(listed: SourceList) -> Part:
    """What there is to answer from, for a caller."""
    documents = sum(source.documents for source in listed.sources)
    return Part(name="index", standing="well", words=f"{documents:,} documents to answer from.")


def sources_part(listed: SourceList) -> Part:
    """Whether each source was read in time and without error."""
    late = [source.name for source in listed.sources if source.stale]
    failing = {
        source.name: str(source.sync["error"])
        for source in listed.sources
        if source.sync and source.sync["error"]
    }
    told = [f"{', '.join(late)}: not read for longer than it may be."] if late else []
    told += [f"{name}: the last sync failed ({error})." for name, error in failing.items()]
    if told:
        return Part(name="sources", standing="impaired", words=" ".join(told))
    return Part(name="sources", standing="well", words="Every source was read in time.")


def models_part(gateway: Gateway) -> Part:
    """In whose words answers come."""
    breakers = gateway.breakers()
    alone = [name for name, is_open in breakers.items() if is_open]
    if not breakers:
        words = "Answers come in the sources' own words: no language model is configured."
    elif len(alone) == len(breakers):
        words = "Answers come in the sources' own words: no language model can be reached."
    elif alone:
        words = f"Answers come from other models while {', '.join(alone)} can't be reached."
    else:
        words = "Language models answer."
    return Part(name="models", standing="impaired" if alone else "well", words=words)


def budgets_part(gateway: Gateway) -> Part:
    """Whether today's budgets last."""
    if not gateway.configured or not gateway.settings.budgets:
        return Part(name="budgets", standing="well", words="No budget is set.")
    try:
        shares = fullest(gateway.ledger)
    except GatewayError as error:
        return Part(name="budgets", standing="impaired", words=_sentence(str(error)))
    per, measure = max(shares, key=lambda kind: shares[kind])
    share = shares[per, measure]
    words = f"{share:.0%} of today's fullest budget is used ({per}, {measure})."
    return Part(name="budgets", standing="impaired" if share >= NEARLY else "well", words=words)


def load_part(answering: Answering) -> Part:
    """How much is at work."""
    admission = answering.admission
    if admission.draining:
        return Part(name="load", standing="down", words="The service is being stopped.")
    words = f"{admission.at_work} requests at work, {admission.waiting} waiting."
    return Part(name="load", standing="well", words=words)


def snapshot_part(reader: IndexReader, now: datetime) -> Part:
    """How old the newest snapshot is. No judgement: whoever needs them has an alert on it."""
    age = snapshot_age(audit_path(reader.folder), now)
    words = (
        "There is no snapshot of the index: `casebook index snapshot` takes one."
        if age is None
        else f"The newest snapshot of the index was taken {_ago(age)} ago."
    )
    return Part(name="snapshot", standing="well", words=words)


def service_part(settings: Settings) -> Part:
    """Whether a service answers where the settings have it listen."""
    scheme = "https" if settings.tls_certificate else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"{scheme}://{host}:{settings.port}"
    try:
        # Only whether it answers: who it is, is no question of this machine's own address.
        answer = httpx.get(f"{address}/health/ready", timeout=ASKED_FOR, verify=False)
    except httpx.HTTPError:
        words = f"Nothing answers at {address}: `casebook serve` starts it."
        return Part(name="service", standing="impaired", words=words)
    if answer.is_success:
        return Part(name="service", standing="well", words=f"It answers at {address}.")
    words = f"What answers at {address} is not ready: {answer.text[:400]}"
    return Part(name="service", standing="down", words=_sentence(words))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _ago(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{round(minutes / 60)} h" if minutes < 48 * 60 else f"{round(minutes / 1440)} days"
