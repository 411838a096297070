"""What can be wrong with snapshots and the places they lie in."""

from index.errors import CasebookError, IndexUnavailable


class SnapshotsUnavailable(CasebookError):
    """The place that snapshots are kept in can't be reached, or does not let us in."""

    status = 503
    exit_code = 15
    title = "Snapshots unavailable"


class SnapshotDamaged(IndexUnavailable):
    """A snapshot is not what was written: nothing of it is used."""

    title = "Snapshot damaged"


class Refused(CasebookError):
    """What was asked for is not done, for safety's sake or because a person said no."""

    status = 409
    exit_code = 16
    title = "Refused"
