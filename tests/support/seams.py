"""Seams, found by introspection: every public method and function of the serving path, and a fault that one raises.

A seam is wrapped in its class, or in every module that has imported it, before a runtime is built; nothing happens
until the fault is armed. Covered: functions and methods written in Python, properties, and the special methods that
containers and context managers have. Not covered: what numba compiles, dataclasses' own methods, and protocols.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

__all__ = ["Fault", "Panic", "Seam", "counted", "seams"]

OURS = ("coe", "router", "server")
SPECIAL = {"__init__", "__call__", "__enter__", "__exit__", "__getitem__", "__contains__", "__iter__", "__len__"}


class Panic(BaseException):
    """What a Rust extension raises for a bug of its own (pyo3's PanicException) is no Exception either."""


@dataclass(frozen=True)
class Seam:
    """One method or function; `sites` are the objects that hold it, with the name there."""

    name: str
    sites: tuple[tuple[Any, str], ...]

    @contextmanager
    def wrapped(self, before: Callable[[], None]) -> Iterator[None]:
        """Call `before` ahead of every call of it."""
        real = [vars(owner)[name] for owner, name in self.sites]
        try:
            for (owner, name), value in zip(self.sites, real, strict=True):
                setattr(owner, name, _wrapped(value, before))
            yield
        finally:
            for (owner, name), value in zip(self.sites, real, strict=True):
                setattr(owner, name, value)


class Fault:
    """Raises once, at the `call`th call (from 1) after it was armed. Any thread.

    What is no Exception is raised on other threads than the main one, where the event loop runs: nothing of Rust or C
    that could panic works there.
    """

    def __init__(self, call: int, error: BaseException) -> None:
        self._error, self._call = error, call
        self.is_armed = self.has_fired = False
        self._calls = itertools.count(1)  # whose `next` is one step of the interpreter

    def __call__(self) -> None:
        if self.is_armed and next(self._calls) == self._call:
            self.has_fired = True
            if not isinstance(self._error, Exception) and threading.current_thread() is threading.main_thread():
                raise RuntimeError(*self._error.args)
            raise self._error


@contextmanager
def counted(found: list[Seam]) -> Iterator[dict[str, list[int]]]:
    """Count the calls of many seams at once: a list of one number each."""
    counts = {seam.name: [0] for seam in found}

    def count(number: list[int]) -> None:
        number[0] += 1

    watched = [seam.wrapped(functools.partial(count, counts[seam.name])) for seam in found]
    for each in watched:
        each.__enter__()
    try:
        yield counts
    finally:
        for each in reversed(watched):
            each.__exit__(None, None, None)


def seams(rooms: tuple[str, ...]) -> list[Seam]:
    """Return the seams of all modules of these packages that are loaded, by name."""
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OURS}
    found = []
    for name, module in sorted(modules.items()):
        if any(name == room or name.startswith(f"{room}.") for room in rooms):
            found += _functions(module, list(modules.values())) + _methods(module)
    return found


def _functions(module: ModuleType, modules: list[ModuleType]) -> list[Seam]:
    found = []
    for name, value in sorted(vars(module).items()):
        if isinstance(value, FunctionType) and value.__module__ == module.__name__ and not name.startswith("_"):
            sites = tuple((each, key) for each in modules for key, other in list(vars(each).items()) if other is value)
            found.append(Seam(f"{module.__name__}.{name}", sites))
    return found


def _methods(module: ModuleType) -> list[Seam]:
    found = []
    for owner_name, owner in sorted(vars(module).items()):
        is_own = inspect.isclass(owner) and owner.__module__ == module.__name__
        if not is_own or issubclass(owner, BaseException) or getattr(owner, "_is_protocol", False):
            continue
        for name, value in sorted(vars(owner).items()):
            if (name in SPECIAL or not name.startswith("_")) and _is_written_in(module, value):
                found.append(Seam(f"{module.__name__}.{owner_name}.{name}", ((owner, name),)))
    return found


def _is_written_in(module: ModuleType, value: object) -> bool:
    """Whether a class's attribute is a function that its module's text has: dataclasses make some of their own."""
    function = inspect.unwrap(_function_of(value)) if _function_of(value) is not None else None
    return isinstance(function, FunctionType) and function.__code__.co_filename == module.__file__


def _function_of(value: Any) -> Any:
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, staticmethod | classmethod) else value


def _wrapped(value: Any, before: Callable[[], None]) -> Any:
    if isinstance(value, property):
        return property(_wrapped(value.fget, before), value.fset, value.fdel)
    if isinstance(value, staticmethod | classmethod):
        return type(value)(_wrapped(value.__func__, before))
    if inspect.iscoroutinefunction(value):

        @functools.wraps(value)
        async def work_later(*arguments: Any, **named: Any) -> Any:
            before()
            return await value(*arguments, **named)

        return work_later

    @functools.wraps(value)
    def work(*arguments: Any, **named: Any) -> Any:
        before()
        return value(*arguments, **named)

    return work
