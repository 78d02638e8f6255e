"""The option --limit: what a command may take in all."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from etwdetect.cli.stdio import say
from etwdetect.core.budget import RESOURCES, Budget, current

if TYPE_CHECKING:
    from collections.abc import Callable

    from etwdetect.results.stream import Stream


class _Limit(click.ParamType[tuple[str, int]]):
    """NAME=NUMBER, where NAME is one of RESOURCES."""

    name = "limit"

    def convert(
        self, value: str | tuple[str, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        name, _, number = value.partition("=")
        if name not in RESOURCES or not number.isascii() or not number.isdigit() or len(number) > 18:
            self.fail(f"{value!r} is not NAME=NUMBER, with NAME one of {', '.join(RESOURCES)}", param, ctx)
        return name, int(number)


def limit_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --limit to *command*, which runs with the budget that it sets."""
    defaults = ", ".join(f"{name} {resource.default:,}" for name, resource in RESOURCES.items())

    @click.option(
        "--limit",
        "limits",
        type=_Limit(),
        multiple=True,
        metavar="NAME=NUMBER",
        help=f"Change what the command may take in all; may be repeated. By default: {defaults}.",
    )
    @functools.wraps(command)
    def with_limits(*arguments: Any, limits: tuple[tuple[str, int], ...], **values: Any) -> Any:  # noqa: ANN401
        token = current.set(Budget(dict(limits)))
        try:
            return command(*arguments, **values)
        finally:
            current.reset(token)

    return with_limits


class OutputLimit:
    """Says once that the limit of the output is *met*; nothing is to be written from then on."""

    def __init__(self) -> None:
        self.met = False

    def allows(self, characters: int) -> bool:
        """Whether *characters* more may be written."""
        budget = current.get()
        if not self.met and not budget.take("output", characters):
            self.met = True
            say(budget.sentence("output"))
        return not self.met


class LimitedStream:
    """Writes to *stream* while *limit* allows it."""

    def __init__(self, stream: Stream, limit: OutputLimit) -> None:
        self._stream = stream
        self._limit = limit
        self.encoding = getattr(stream, "encoding", None)

    def write(self, text: str) -> int:
        """Write whole lines, or nothing once the limit is met."""
        return self._stream.write(text) if self._limit.allows(len(text)) else len(text)

    def flush(self) -> None:
        """Let readers see what was written so far."""
        self._stream.flush()
