"""Rolling back: to the state before in the catalog, or to the index that the last restore set aside."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from index.catalog import Catalog, State
from index.errors import CasebookError, IndexUnavailable, NotFound
from index.recovery import catalogs
from index.recovery.catalogs import Origin
from index.recovery.errors import Refused
from index.recovery.restore import standing
from index.recovery.verify import cause
from index.store import catalog_path, rebuild, verify_files, writing


@dataclass(frozen=True)
class RollbackPlan:
    """What a rollback will do. `to` is `state` or `index`; documents by id: those that come back, those that
    go, and those that get another text. `builds` are derived files that have to be built again.
    """

    to: str
    target: str
    state_before: str | None
    state_after: str
    made_at: str
    comes: tuple[str, ...]
    goes: tuple[str, ...]
    changes: tuple[str, ...]
    builds: tuple[str, ...]


def plan_rollback(folder: Path) -> RollbackPlan:
    """What a rollback would do; changes nothing. Raises `NotFound` where there is nothing to go back to.

    What came last is undone: a restore, unless something was published since.
    """
    came = catalogs.origin(folder)
    now = standing(folder)
    if came and came.former and now.state in (came.state, None):
        return _to_index(folder, came.former, now.state)
    with catalogs.private_copy(folder) as catalog:
        return _to_state(folder, catalog)


def _to_state(folder: Path, catalog: Catalog) -> RollbackPlan:
    current = catalog.current_state()
    older = [
        state
        for state in catalog.states()
        if current and (state.created_at, state.id) < (current.created_at, current.id)
    ]
    if current is None or not older:
        raise NotFound(
            f"the index at {folder} keeps no state before this one: `casebook index snapshots` lists "
            "what can be restored"
        )
    _check_whole(catalog, older[0])
    before, after = _digests(catalog, current), _digests(catalog, older[0])
    return _plan("state", folder, folder, current.id, older[0], before, after, catalog)


def _to_index(folder: Path, former: str, state_now: str | None) -> RollbackPlan:
    before = {}
    if state_now is not None:
        with catalogs.private_copy(folder) as catalog:
            current = catalog.current_state()
            before = _digests(catalog, current) if current else {}
    place = catalogs.home(folder, former)
    try:
        with catalogs.private_copy(place) as catalog:
            state = catalog.current_state()
            if state is None:
                raise IndexUnavailable(f"the index at {place} is empty")
            _check_whole(catalog, state)
            after = _digests(catalog, state)
            return _plan("index", folder, place, state_now, state, before, after, catalog)
    except CasebookError as error:
        raise IndexUnavailable(
            f"the index that was set aside can't be used ({cause(error)}): restore a snapshot"
        ) from error


def _plan(
    to: str,
    folder: Path,
    place: Path,
    state_before: str | None,
    state: State,
    before: dict[str, str],
    after: dict[str, str],
    catalog: Catalog,
) -> RollbackPlan:
    return RollbackPlan(
        to=to,
        target=str(place),
        state_before=state_before,
        state_after=state.id,
        made_at=state.created_at,
        comes=tuple(sorted(after.keys() - before.keys())),
        goes=tuple(sorted(before.keys() - after.keys())),
        changes=tuple(sorted(id_ for id_ in before.keys() & after if before[id_] != after[id_])),
        builds=tuple(verify_files(folder, catalog, state)),
    )


def _digests(catalog: Catalog, state: State) -> dict[str, str]:
    return {row.id: row.digest for row in catalog.document_rows(state.id)}


def _check_whole(catalog: Catalog, state: State) -> None:
    """Raises `IndexUnavailable` for a state with a text or a vector that is not what was written."""
    catalog.documents(state.id)
    keys = catalog.embedding_keys(catalog.searched_rows(state.id).tolist())
    catalog.vectors(keys, state.dimension)


def rollback(folder: Path, plan: RollbackPlan) -> None:
    """Go back as planned; raises `Refused` where the index has changed since."""
    with writing(folder):
        now = plan_rollback(folder)
        if (now.target, now.state_before, now.state_after) != (
            plan.target,
            plan.state_before,
            plan.state_after,
        ):
            raise Refused("the index has changed since the plan was made: look at a new plan")
        place = Path(plan.target)
        with closing(Catalog(catalog_path(place))) as catalog:
            state = next(each for each in catalog.states() if each.id == plan.state_after)
            rebuild(folder, catalog, state)
            if plan.to == "state":
                catalog.make_current(state.id)
                return
        former = catalogs.set_aside(folder)
        came = Origin(snapshot=None, state=plan.state_after, former=former)
        catalogs.switch(folder, place.name, came)
