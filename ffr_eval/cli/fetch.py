"""``ffr data fetch``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ffr_eval.cli.output import progress, summary_text

if TYPE_CHECKING:
    from ffr_eval.fetch.release import Archive


@click.command(
    epilog="""\b
Examples:
  ffr data fetch mldr --out mldr
  ffr data fetch mldr --out mldr-val --split val
  ffr data fetch wechat-mdr --out wechat --archive ~/WeChat_test_set.tar
  ffr data fetch mldr --out mldr --url https://mirror.example/MLDR.tar --sha256 HEX
""",
)
@click.argument("name", metavar="mldr|wechat-mdr")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The benchmark folder to write; must not exist, or be empty.",
)
@click.option(
    "--archive",
    "archives",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An archive that you have: tar, tar.gz or zip. Nothing is downloaded then.",
)
@click.option(
    "--url",
    "urls",
    metavar="URL",
    multiple=True,
    help="Where to download from, in place of the published address.",
)
@click.option(
    "--sha256",
    "sums",
    metavar="HEX",
    multiple=True,
    help="What the checksum must be; one for each archive.",
)
@click.option(
    "--downloads",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where archives are kept.  [default: $FFR_DATA, or ~/.cache/ffr/downloads]",
)
@click.option(
    "--split",
    "splits",
    metavar="NAME",
    multiple=True,
    help="Import only this split; may be given several times.  [default: all]",
)
@click.option(
    "--max-unpacked-gb",
    metavar="GB",
    type=click.FloatRange(min=0, min_open=True),
    help="Refuse archives that unpack to more.  [default: 100, and 200 times their size]",
)
@click.option(
    "--keep-unpacked", is_flag=True, help="Keep the unpacked files, in a folder DIR-unpacked."
)
def fetch(
    name: str,
    out: Path,
    archives: tuple[Path, ...],
    urls: tuple[str, ...],
    sums: tuple[str, ...],
    downloads: Path | None,
    splits: tuple[str, ...],
    max_unpacked_gb: float | None,
    keep_unpacked: bool,
) -> None:
    """Download a dataset of the original release, and import it.

    A download that stopped goes on when the same command is given again. Archives stay in the
    downloads folder; one that is there is not downloaded. DIR appears only if all of it could be
    imported.
    """
    from ffr_eval import plugins
    from ffr_eval.benchmark import BenchmarkWriter
    from ffr_eval.errors import InputError
    from ffr_eval.fetch.archive import Limits
    from ffr_eval.fetch.disk import downloads_folder
    from ffr_eval.fetch.release import get_archive, install, wanted_archives
    from ffr_eval.fetch.releases import RELEASES

    if name not in RELEASES:
        remedy = plugins.nearest(name, list(RELEASES))
        raise InputError(f"no release {name!r}", remedy=remedy)
    release = RELEASES[name]
    BenchmarkWriter(out, release.info)  # refuses a folder that is not empty, before the download
    unpacked = out.resolve().with_name(f"{out.resolve().name}-unpacked") if keep_unpacked else None
    if unpacked is not None and unpacked.exists():
        remedy = "remove it, or leave out --keep-unpacked"
        raise InputError("already exists", file=unpacked, remedy=remedy)
    limits = Limits()
    if max_unpacked_gb is not None:
        limits = Limits(max_bytes=int(max_unpacked_gb * 10**9), max_ratio=None)
    folder = (downloads or downloads_folder()).expanduser()
    wanted = wanted_archives(name, release, folder, archives=archives, urls=urls, sums=sums)
    found = [get_archive(item) for item in wanted]
    summary, notes = install(
        release,
        found,
        out,
        limits,
        splits=splits,
        keep_unpacked=unpacked,
        announce=progress,
    )
    click.echo(f"wrote {out}")
    click.echo(summary_text(name, summary))
    for archive in found:
        click.echo(_line(archive))
    if unpacked is not None:
        click.echo(f"unpacked files: {unpacked}")
    for note in notes:
        click.echo(f"note: {note}")


def _line(archive: Archive) -> str:
    known = "as expected" if archive.published else "no published checksum to compare with"
    return f"archive {archive.file}: sha256 {archive.sha256} ({known})"
