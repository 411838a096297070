"""Recovery: snapshots of an index, the way back from them, and small repairs; `docs/recovery.md` says why."""
