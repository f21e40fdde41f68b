"""A cache for functions of values from the network.

Subscripting a dictionary costs a third of calling a function, and the value need not be checked before,
because only checked values are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Memo(dict[Any, Result]):
    """``memo[value]`` is the result of the function for ``value``: text, None, or a tuple of these.

    Anything else may be passed, and is not remembered. TypeError for a value without a hash.
    """

    def __init__(self, function: Callable[[Any], Result], most: int, longest: int) -> None:
        """Start empty.

        :param most: results that are remembered; beyond it, all are forgotten.
        :param longest: characters of a text; results for longer ones are not remembered.
        """
        super().__init__()
        self._function = function
        self._most = most
        self._longest = longest

    def __missing__(self, value: Any) -> Result:
        result = self._function(value)
        if all(map(self._is_short, value if type(value) is tuple else (value,))):
            if len(self) >= self._most:
                self.clear()
            self[value] = result
        return result

    def _is_short(self, value: object) -> bool:
        return value is None or (type(value) is str and len(value) <= self._longest)
