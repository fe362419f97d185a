"""Atomic operations on 64-bit words for compiled code that several threads share."""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["add", "load", "pause", "replace", "store", "yield_processor"]

_A = types.int64

yield_processor = types.ExternalFunction("sched_yield", types.int32())


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def load(_context: Any, _address: Any) -> Any:
    def build(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_word(builder, arguments[0]), "acquire", 8)

    return _A(_A), build


@intrinsic
def store(_context: Any, _address: Any, _value: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[1], _word(builder, arguments[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(_A, _A), build


@intrinsic
def add(_context: Any, _address: Any, _value: Any) -> Any:
    """Return what was there before."""

    def build(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, arguments[0]), arguments[1], "acq_rel")

    return _A(_A, _A), build


@intrinsic
def replace(_context: Any, _address: Any, _expected: Any, _value: Any) -> Any:
    """Return 1 if the expected value was there and has been replaced."""

    def build(_: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, expected, value = arguments
        found = builder.cmpxchg(_word(builder, address), expected, value, "acq_rel", "acquire")
        return builder.zext(builder.extract_value(found, 1), ir.IntType(64))

    return _A(_A, _A, _A), build


@intrinsic
def pause(_context: Any) -> Any:
    """Tell the processor that this is a loop that waits."""

    def build(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        if platform.machine() in {"x86_64", "AMD64"}:
            name = "llvm.x86.sse2.pause"
            found = builder.module.globals.get(name)
            builder.call(found or ir.Function(builder.module, ir.FunctionType(ir.VoidType(), []), name), [])
        return context.get_dummy_value()

    return types.void(), build
