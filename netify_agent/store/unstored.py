"""Changes of the tables of alerts and plans that Redis does not have yet. No I/O."""

from __future__ import annotations

Changes = dict[tuple[str, str], str | None]  #: table and field to what it is to hold; None: to be deleted


class UnstoredChanges(Changes):
    """Collects changes until a flush has stored them. A flush that fails repeats them."""

    def __init__(self) -> None:
        super().__init__()
        self._taken: Changes = {}

    def take(self) -> Changes:
        """Return what the next flush is to store."""
        self._taken = dict(self)
        return self._taken

    def stored(self) -> None:
        """The latest result of :meth:`take` is in Redis. What has changed since is still to be stored."""
        for name, value in self._taken.items():
            if self.get(name, value) is value:
                self.pop(name, None)
        self._taken = {}
