"""Options for enrichment: image files to find functions in, and rules for kinds."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from etwdetect.enrich.kind_rules import load
from etwdetect.enrich.kinds import Kinds
from etwdetect.enrich.paths import drive
from etwdetect.results.wording import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etwdetect.enrich.imagefiles import ImageFiles
    from etwdetect.enrich.paths import Drives

_MOST_SHOWN: Final = 10


@dataclass(frozen=True)
class Enrichment:
    """What a scan or a session enriches its detections with; *files* is None without image files.

    *chosen* says that the user gave an option for it; *files_read* are files that one named.
    """

    files: ImageFiles | None = None
    kinds: Kinds = field(default_factory=Kinds)
    drives: Drives = ()
    chosen: bool = False
    files_read: tuple[Path, ...] = ()

    def complaints(self) -> Iterator[str]:
        """Yield a line for each file that does not match the trace or its image, and one if none was found."""
        if self.files is None:
            return
        yield from _refused("--images", self.files.refused)
        if self.files.asked and not self.files.found:
            yield "--images: none of the images that threads start in was found"
        symbols = self.files.symbols
        if symbols is not None:
            yield from _refused("--symbols", symbols.refused)
            if symbols.asked and not symbols.found:
                yield "--symbols: none of the PDBs that the images name was found"


def _refused(option: str, refused: dict[str, str]) -> Iterator[str]:
    for path, why in islice(refused.items(), _MOST_SHOWN):
        yield printable(f"{option}: {path}: {why}")
    if len(refused) > _MOST_SHOWN:
        yield f"{option}: {len(refused) - _MOST_SHOWN:,} more files cannot be used"


def _files(folder: Path | None, symbols: Path | None) -> ImageFiles:
    from etwdetect.enrich.imagefiles import ImageFiles  # noqa: PLC0415 (lazy import: fast start-up)

    if symbols is None:
        return ImageFiles(folder)
    from etwdetect.enrich.symbols import SymbolFiles  # noqa: PLC0415 (lazy import: it needs an extra)

    return ImageFiles(folder, SymbolFiles(symbols))


class _Drive(click.ParamType[tuple[str, str]]):
    """A drive and its volume; the value is a pair of the volume's device and the drive."""

    name = "drive"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if not isinstance(value, str):
            return value
        try:
            return drive(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


drive_option: Final = click.option(
    "--drive",
    "drives",
    type=_Drive(),
    multiple=True,
    metavar="C:=DEVICE",
    help=r"The volume of a drive, such as C:=\Device\HarddiskVolume3; may be repeated.",
)


def enrichment_options(*, live: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --images, --symbols and --rules to a command, which gets them as one argument, `enrichment`.

    A *live* command reads the image files of this machine unless --images is given, and knows its drives; others
    have --drive, too.
    """
    default = "this machine's own" if live else "none"

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--images",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="DIR",
            help=f"Find start functions in these image files, a copy of a Windows folder; by default {default}.",
        )
        @click.option(
            "--symbols",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="DIR",
            help="Name the functions in call stacks by the PDBs in this folder, each found by its image.",
        )
        @click.option(
            "--rules",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE.toml",
            help="Rules for kinds and severities, before those built in (docs/user/kinds.md in the repository).",
        )
        @functools.wraps(command)
        def with_enrichment(
            *arguments: Any,  # noqa: ANN401 (any command)
            images: Path | None,
            symbols: Path | None,
            rules: Path | None,
            drives: Drives = (),
            **values: Any,  # noqa: ANN401
        ) -> Any:  # noqa: ANN401
            if symbols and not (images or live):
                raise click.UsageError("--symbols needs --images: an image says which PDB is its own")
            files = _files(images, symbols) if images or live else None
            kinds = Kinds(load(rules)) if rules else Kinds()
            read = (rules,) if rules else ()
            enrichment = Enrichment(files, kinds, drives, bool(images or rules or drives), read)
            return command(*arguments, enrichment=enrichment, **values)

        return with_enrichment if live else drive_option(with_enrichment)

    return decorate
