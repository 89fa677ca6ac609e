"""Properties that all readings of one experiment share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

T = TypeVar("T")


class shared(Generic[T]):
    """Compute a property once and keep it in the object's `_shared`, which copies of the object have in common."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Self | T:
        if instance is None:
            return self
        kept: dict[str, Any] = instance._shared
        if self._name not in kept:
            kept[self._name] = self._compute(instance)
        value: T = kept[self._name]
        return value
