"""A map that never outgrows its limits: what bounds the memory that a hostile trace can claim."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class BoundedMap(Generic[_Key, _Value]):
    """Holds at most *bound* entries that together weigh at most *weight_bound*; the oldest are evicted first.

    Whatever is `put`, even again, becomes the newest entry. Reading an entry does not change its place.
    """

    def __init__(self, bound: int, weight_bound: int | None = None) -> None:
        if bound < 1:
            raise ValueError(f"bound must be at least 1, not {bound}")
        self.weight = 0
        """The weight of all entries together."""
        self._bound = bound
        self._weight_bound = weight_bound
        self._entries: OrderedDict[_Key, _Value] = OrderedDict()
        self._weights: dict[_Key, int] = {}
        """The weights of the entries that were ever put with one."""
        self.get: Callable[[_Key], _Value | None] = self._entries.get
        """Returns the value of a key, or None without one. The inner map's own method, as events call it often."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[_Key]:
        """Yield the keys, oldest first."""
        return iter(self._entries)

    def __getitem__(self, key: _Key) -> _Value:
        return self._entries[key]

    def put(self, key: _Key, value: _Value, weight: int = 0) -> list[tuple[_Key, _Value]]:
        """Set *key* as the newest entry, of *weight*; return the entries evicted for it, oldest first.

        An entry heavier than *weight_bound* evicts all others and itself.
        """
        entries = self._entries
        entries[key] = value
        entries.move_to_end(key)
        if weight or key in self._weights:
            self.weight += weight - self._weights.get(key, 0)
            self._weights[key] = weight
        evicted = []
        while len(entries) > self._bound or (self._weight_bound is not None and self.weight > self._weight_bound):
            oldest = entries.popitem(last=False)
            self.weight -= self._weights.pop(oldest[0], 0)
            evicted.append(oldest)
        return evicted

    def pop(self, key: _Key) -> _Value | None:
        """Remove *key*; return its value, or None without one."""
        if key in self._weights:
            self.weight -= self._weights.pop(key)
        return self._entries.pop(key, None)
