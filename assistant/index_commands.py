"""`casebook index`: verify, snapshot, restore, roll back, repair; each says what it will do before it does.

What is done, and what failed, is noted in `audit.jsonl` in the folder of the index.
"""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # obstore, FAISS and pydantic would make every command start later
    from assistant.settings import Settings
    from index.recovery.audit import Entry
    from index.recovery.restore import RestorePlan

DAMAGED = 5
"""Exit code where something is not what was written: that of `IndexUnavailable`."""


def index_group(load: "Callable[[Path | None], Settings]") -> click.Group:
    """The commands over the index that the settings name; `load` is called when a command runs."""
    group = click.Group("index", help="Verify, snapshot, restore, roll back and repair the index.")
    for command in (_verify, _snapshot, _snapshots, _restore, _rollback, _repair):
        group.add_command(command(load))
    return group


def _options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Options that several commands share, in the order that help shows them."""
    known = {
        "snapshot": click.option("--snapshot", "snapshot_id", metavar="ID", help="Which [newest]."),
        "yes": click.option("--yes", is_flag=True, help="Do not ask."),
        "dry_run": click.option(
            "--dry-run", is_flag=True, help="Show the plan and change nothing."
        ),
        "index": click.option(
            "--index",
            type=click.Path(path_type=Path),
            help="Folder of the index [.casebook/index].",
        ),
        "json": click.option("--json", "as_json", is_flag=True, help="Print JSON for programs."),
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed((*names, "index", "json")):
            command = known[name](command)
        return command

    return decorate


# --- the commands -----------------------------------------------------------------------------


def _verify(load: "Callable[[Path | None], Settings]") -> click.Command:
    @click.command()
    @click.option("--snapshot", "snapshot_id", metavar="ID", help="Check this snapshot instead.")
    @_options()
    def verify(snapshot_id: str | None, index: Path | None, as_json: bool) -> None:
        """Check every byte against what was written. Exits with 5 where something is damaged."""
        from assistant.index_terminal import size, track_stages, verified
        from index.recovery.audit import FAILED, audited
        from index.recovery.disk import tree_size
        from index.recovery.inventory import chosen
        from index.recovery.storage import open_storage
        from index.recovery.verify import verify_index, verify_snapshot

        settings = load(index)
        with audited(settings.index, "verify") as entry, track_stages(sys.stderr) as report:
            if snapshot_id is None:
                entry.plan = {"reads": str(settings.index), "bytes_read": tree_size(settings.index)}
                _show([f"Plan: read {size(entry.plan['bytes_read'])} of {settings.index}"], as_json)
                found = verify_index(settings.index)
            else:
                storage = open_storage(settings.snapshots)
                manifest = chosen(storage, snapshot_id)
                entry.snapshot = manifest.id
                entry.plan = {"reads": storage.where, "bytes_read": manifest.stored_size}
                _show([f"Plan: read {size(manifest.stored_size)} of {storage.where}"], as_json)
                found = verify_snapshot(storage, manifest, report)
            entry.state_before = entry.state_after = found.state
            if found.findings:
                entry.outcome, entry.error = FAILED, "; ".join(found.findings)
        _tell(entry, verified(found), as_json, findings=found.findings)
        if found.findings:
            sys.exit(DAMAGED)

    return verify


def _snapshot(load: "Callable[[Path | None], Settings]") -> click.Command:
    @click.command()
    @_options("yes")
    def snapshot(yes: bool, index: Path | None, as_json: bool) -> None:
        """Store a consistent copy of the index, check it there, and delete what is too old."""
        from assistant.index_terminal import size, snapshot_plan, track_stages
        from index.catalog import utc_now
        from index.recovery.audit import audited
        from index.recovery.snapshot import plan_snapshot, take_snapshot
        from index.recovery.storage import open_storage

        settings = load(index)
        storage = open_storage(settings.snapshots)
        with audited(settings.index, "snapshot") as entry:
            plan = plan_snapshot(settings.index, storage, settings.snapshots.keep, utc_now())
            entry.plan, entry.snapshot = asdict(plan), plan.id
            _show(snapshot_plan(plan), as_json)
            _ask("Take the snapshot?", yes, needed=False)
            with track_stages(sys.stderr) as report:
                made = take_snapshot(settings.index, storage, plan, report)
            entry.state_before = entry.state_after = made.state
        told = f"Snapshot {made.id} is in {storage.where}: {size(made.stored_size)}"
        _tell(entry, [f"{told} in {entry.seconds:.1f} s."], as_json)

    return snapshot


def _snapshots(load: "Callable[[Path | None], Settings]") -> click.Command:
    @click.command()
    @_options()
    def snapshots(index: Path | None, as_json: bool) -> None:
        """Show the snapshots there are, newest first."""
        from assistant.index_terminal import listing
        from index.catalog import utc_now
        from index.recovery.inventory import listed
        from index.recovery.storage import open_storage

        storage = open_storage(load(index).snapshots)
        found = listed(storage)
        if as_json:
            click.echo(json.dumps([_listed_view(each) for each in found]))
        else:
            click.echo("\n".join(listing(found, storage.where, utc_now())))

    return snapshots


def _listed_view(each: Any) -> dict[str, Any]:
    manifest = each.manifest.model_dump(mode="json") if each.manifest else None
    return {
        "id": each.id,
        "made_at": each.made_at.isoformat(),
        "stored_size": each.stored_size,
        "whole": each.manifest is not None,
        "trouble": each.trouble,
        "manifest": manifest,
    }


def _restore(load: "Callable[[Path | None], Settings]") -> click.Command:
    @click.command()
    @click.option(
        "--to",
        type=click.Path(path_type=Path),
        help="For a test: into this empty folder, and verify.",
    )
    @_options("snapshot", "dry_run", "yes")
    def restore(
        to: Path | None,
        snapshot_id: str | None,
        dry_run: bool,
        yes: bool,
        index: Path | None,
        as_json: bool,
    ) -> None:
        """Bring a snapshot back. The index serves on until the snapshot is there whole and checked."""
        from assistant.index_terminal import restore_plan, track_stages
        from index.catalog import utc_now
        from index.recovery.audit import audited
        from index.recovery.inventory import chosen
        from index.recovery.restore import plan_restore
        from index.recovery.restore import restore as bring_back
        from index.recovery.storage import open_storage

        settings = load(index)
        if to is not None:
            _test_restore(settings, to, snapshot_id, dry_run, as_json)
            return
        if not dry_run:  # a failure on a new machine is noted as well
            settings.index.mkdir(parents=True, exist_ok=True)
        with audited(settings.index, "restore", dry_run=dry_run) as entry:
            storage = open_storage(settings.snapshots)
            manifest = chosen(storage, snapshot_id)
            plan = plan_restore(settings.index, storage, manifest)
            _planned(entry, plan)
            _show(restore_plan(plan, manifest.created_at, utc_now()), as_json)
            if not dry_run:
                _ask("Restore it?", yes)
                with track_stages(sys.stderr) as report:
                    bring_back(settings.index, storage, manifest, plan, report)
                entry.state_after = manifest.state
        _tell(entry, _done(entry, f"Restored: state {manifest.state} serves"), as_json)

    return restore


def _planned(entry: "Entry", plan: "RestorePlan") -> None:
    entry.plan, entry.snapshot = asdict(plan), plan.snapshot
    entry.state_before = entry.state_after = plan.state_before


def _test_restore(
    settings: "Settings", to: Path, snapshot_id: str | None, dry_run: bool, as_json: bool
) -> None:
    """Restore elsewhere and verify: asks nothing, as nothing that serves is touched."""
    from assistant.index_terminal import elsewhere_plan, track_stages, verified
    from index.recovery.audit import audited
    from index.recovery.errors import SnapshotDamaged
    from index.recovery.inventory import chosen
    from index.recovery.restore import plan_restore, restore_elsewhere
    from index.recovery.storage import open_storage
    from index.recovery.verify import verify_index

    with audited(settings.index, "test restore", dry_run=dry_run) as entry:
        storage = open_storage(settings.snapshots)
        manifest = chosen(storage, snapshot_id)
        plan = plan_restore(to, storage, manifest)
        _planned(entry, plan)
        _show(elsewhere_plan(plan), as_json)
        lines = []
        if not dry_run:
            with track_stages(sys.stderr) as report:
                restore_elsewhere(to, storage, manifest, report)
            found = verify_index(to)
            lines, entry.state_after = verified(found), found.state
            if found.findings:
                raise SnapshotDamaged(f"the test restore failed: {found.findings[0]}")
    _tell(entry, [*lines, *_done(entry, f"Restored to {to}")], as_json)


def _rollback(load: "Callable[[Path | None], Settings]") -> click.Command:
    @click.command()
    @_options("dry_run", "yes")
    def rollback(dry_run: bool, yes: bool, index: Path | None, as_json: bool) -> None:
        """Go back: to the index that the last restore set aside, or to the state before the last publish."""
        from assistant.index_terminal import rollback_plan
        from index.recovery.audit import audited
        from index.recovery.rollback import plan_rollback
        from index.recovery.rollback import rollback as go_back

        settings = load(index)
        with audited(settings.index, "rollback", dry_run=dry_run) as entry:
            plan = plan_rollback(settings.index)
            entry.plan = asdict(plan)
            entry.state_before = entry.state_after = plan.state_before
            _show(rollback_plan(plan), as_json)
            if not dry_run:
                _ask("Go back?", yes)
                go_back(settings.index, plan)
                entry.state_after = plan.state_after
        _tell(entry, _done(entry, f"Rolled back: state {plan.state_after} serves"), as_json)

    return rollback


def _repair(load: "Callable[[Path | None], Settings]") -> click.Command:
    @click.command()
    @_options("dry_run", "yes")
    def repair(dry_run: bool, yes: bool, index: Path | None, as_json: bool) -> None:
        """Build again what can be made from the documents; a damaged document is refused by name."""
        from assistant.index_terminal import repair_plan, track_stages
        from index.recovery.audit import audited
        from index.recovery.repair import plan_repair
        from index.recovery.repair import repair as mend

        settings = load(index)
        mended: list[str] = []
        with audited(settings.index, "repair", dry_run=dry_run) as entry:
            plan = plan_repair(settings.index)
            entry.plan, entry.state_before = asdict(plan), plan.state
            entry.state_after = plan.state
            _show(repair_plan(plan), as_json)
            if not dry_run and (plan.builds or plan.embeds or plan.refuses):
                _ask("Repair it?", yes, needed=False)
                embedder = _embedder(settings) if plan.embeds else None
                with track_stages(sys.stderr) as report:
                    mended = mend(settings.index, plan, embedder, report)
        _tell(entry, _done(entry, f"Repaired: {len(mended)} parts"), as_json, mended=mended)

    return repair


def _embedder(settings: "Settings") -> Any:
    from index.embedder import load_embedder

    return load_embedder(settings.embedder)


# --- plan, question, outcome ------------------------------------------------------------------


def _show(plan: Iterable[str], as_json: bool) -> None:
    """The plan, before anything is done; beside JSON it goes where people look."""
    click.echo("\n".join(plan), err=as_json)


def _ask(question: str, yes: bool, *, needed: bool = True) -> None:
    """Let a person at the terminal decide; raises `Refused` where nobody can, and it is `needed`."""
    from index.recovery.errors import Refused

    if yes:
        return
    if sys.stdin.isatty():
        if not click.confirm(question, err=True):
            raise Refused("nothing was changed, as you said")
    elif needed:
        raise Refused("nothing was changed: look at the plan, then give --yes")


def _done(entry: "Entry", what: str) -> list[str]:
    return ["Nothing was changed."] if entry.dry_run else [f"{what}, after {entry.seconds:.1f} s."]


def _tell(entry: "Entry", lines: Iterable[str], as_json: bool, **more: Any) -> None:
    """How it went: for programs the line of the audit trail, and what there is to add."""
    click.echo(json.dumps(asdict(entry) | more) if as_json else "\n".join(lines))
