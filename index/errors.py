"""The errors of Casebook: one small tree, turned into exit codes and problem+json at the borders."""


class CasebookError(Exception):
    """Something a person can mend: `str(error)` says what was wrong, with which input, and what to do.

    `status` is the HTTP status at the API border and `exit_code` that of the command line.
    """

    status = 500
    exit_code = 1
    title = "Casebook error"


class InvalidInput(CasebookError):
    """The caller's input can't be used as it is."""

    status = 422
    exit_code = 2
    title = "Invalid input"


class NotFound(CasebookError):
    """What was named is not there, or not for this caller: the two look the same on purpose."""

    status = 404
    exit_code = 3
    title = "Not found"


class ParseError(CasebookError):
    """A source file can't be read as a document."""

    status = 422
    exit_code = 4
    title = "Unreadable document"


class IndexUnavailable(CasebookError):
    """There is no index to answer from, or it is damaged beyond repair."""

    status = 503
    exit_code = 5
    title = "Index unavailable"


class ModelUnavailable(CasebookError):
    """A model named in the settings can't be loaded."""

    status = 503
    exit_code = 6
    title = "Model unavailable"


class Busy(CasebookError):
    """Another process holds what this one needs: the index's write lock, or the port."""

    status = 409
    exit_code = 7
    title = "Busy"


class StorageFailed(CasebookError):
    """The disk under the index does not take what is written: full, failing, read-only, or no file can
    be opened. What was published before is served on.
    """

    status = 507
    exit_code = 14
    title = "Storage failed"
