"""The command ``ffr embed``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from baselines.machine import Machine
    from ffr_eval.embeddings.store import SpaceStats

_REMARK: Final = "note: "


@click.command(
    epilog="""\b
Examples:
  ffr embed my-benchmark --encoder sentence
  ffr embed my-benchmark other-benchmark --encoder clip:ViT-B-32/openai --device cuda
  ffr embed my-benchmark --encoder clip -o model=ViT-B-32 -o pretrained=weights.safetensors
  ffr embed my-benchmark --encoder gme:gme-folder --python gme-venv/bin/python
  ffr embed --list
  ffr embed --stats
  ffr embed --prune --dry-run
  ffr embed --prune my-benchmark --encoder sentence
""",
)
@click.argument("benchmarks", nargs=-1, metavar="[BENCHMARK]…")
@click.option(
    "--encoder",
    "specs",
    multiple=True,
    metavar="NAME[:MODEL]",
    help="The encoder, and perhaps its model; can be given several times.",
)
@click.option(
    "-o", "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="An option of the encoder."
)
@click.option("--split", help="Only the queries of this split, and their dialogues.")
@click.option(
    "--context",
    type=click.IntRange(min=0),
    default=0,
    help="With a turn, embed so many turns before and after it.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    help="The store's folder.  [default: $FFR_EMBEDDINGS, or ffr/embeddings in the user's cache]",
)
@click.option("--device", default="auto", help="Where to compute: auto, cpu, cuda, cuda:1, mps.")
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="How many elements to embed at once, at most."
)
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    help="Compute in this interpreter, which has the encoder's libraries.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Also write the result as JSON; - is standard output.",
)
@click.option("--list", "wants_list", is_flag=True, help="List the encoders and their options.")
@click.option("--stats", "wants_stats", is_flag=True, help="Say what the store holds.")
@click.option("--prune", "wants_prune", is_flag=True, help="Remove what is no longer needed.")
@click.option("--dry-run", is_flag=True, help="With --prune: only say what would be removed.")
def embed(
    benchmarks: tuple[str, ...],
    specs: tuple[str, ...],
    pairs: tuple[str, ...],
    split: str | None,
    context: int,
    store: Path | None,
    device: str,
    batch_size: int | None,
    python: Path | None,
    json_file: Path | None,
    wants_list: bool,
    wants_stats: bool,
    wants_prune: bool,
    dry_run: bool,
) -> None:
    """Embed the utterances, images and queries of each BENCHMARK into the store.

    What the store has already is not computed again, and the same content is computed once. An
    interrupted command goes on when it is given again. Images that cannot be read are listed, and
    make no failed run.

    --prune alone removes superseded spaces: those of a model whose weights, or whose preparation by
    this program, changed since. With --encoder it removes what this encoder made, and with
    BENCHMARKs what none of these needs (with that --context), of all encoders or of the one named.
    """
    from baselines.machine import Machine
    from baselines.options import parse_pairs
    from ffr_eval.cli.output import require_writable
    from ffr_eval.errors import InputError

    require_writable(json_file)
    if wants_list + wants_stats + wants_prune > 1:
        message = "--list, --stats and --prune are different things"
        raise InputError(message, remedy="give one of them")
    if dry_run and not wants_prune:
        raise InputError("--dry-run has no effect without --prune", remedy="leave it out")
    if (wants_list or wants_stats) and (benchmarks or specs):
        name = "--list" if wants_list else "--stats"
        raise InputError(f"{name} takes no benchmark and no encoder", remedy="leave them out")
    if wants_list:
        _list(json_file)
    elif wants_stats:
        _stats(store, json_file)
    elif wants_prune:
        _prune(benchmarks, specs, context, store, json_file, dry_run)
    else:
        machine = Machine(device, batch_size, python, store)
        _embed(benchmarks, specs, parse_pairs(pairs), split, context, machine, json_file)


def _embed(
    benchmarks: tuple[str, ...],
    specs: tuple[str, ...],
    options: dict[str, str],
    split: str | None,
    context: int,
    machine: Machine,
    json_file: Path | None,
) -> None:
    from baselines.embedding.whole import embed_benchmarks
    from baselines.encoders.registry import make_encoder
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.embeddings.store import EmbeddingStore
    from ffr_eval.errors import InputError

    if not benchmarks:
        remedy = "for example: ffr embed ffr-sample --encoder sentence"
        raise InputError("no benchmark to embed", remedy=remedy)
    if not specs:
        remedy = "add --encoder NAME; `ffr embed --list` has the names"
        raise InputError("no encoder to embed with", remedy=remedy)
    encoders = [make_encoder(spec, options, machine) for spec in dict.fromkeys(specs)]
    data = [read_benchmark(name) for name in dict.fromkeys(benchmarks)]
    rows = [benchmark.rows(split) for benchmark in data]
    for warning in dict.fromkeys(text for benchmark in data for text in benchmark.warnings):
        click.echo(f"{_REMARK}{warning}", err=True)
    store = EmbeddingStore(machine.store)
    to_stdout = json_file == Path("-")
    reports = []
    for encoder in encoders:
        report, notes = embed_benchmarks(encoder, data, rows, store, context, progress=True)
        reports.append(report)
        click.echo(report.summary(), err=to_stdout)
        for text in notes:
            click.echo(f"{_REMARK}{text}", err=True)
    records = [report.record() for report in reports]
    _write(records[0] if len(records) == 1 else records, json_file)


def _list(json_file: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from baselines.embedding.whole import encoder_infos

    infos = encoder_infos()
    _write([info.record() for info in infos], json_file)
    if json_file == Path("-"):
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("encoder", no_wrap=True)
    for heading in ("reads", "options", "installed"):
        table.add_column(heading, overflow="fold")
    for info in infos:
        hint = f"no: pip install 'ffr-eval[{info.extra}]'" if info.extra else "no"
        options = " ".join(f"{key}={_shown(value)}" for key, value in info.options.items())
        table.add_row(info.name, info.reads, options, "yes" if info.installed else hint)
    Console(highlight=False, markup=False).print(table)


def _stats(store: Path | None, json_file: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from ffr_eval.embeddings.keys import Content
    from ffr_eval.embeddings.store import EmbeddingStore
    from ffr_eval.fetch.disk import readable_size

    opened = EmbeddingStore(store)
    found = opened.stats()
    _write({"store": str(opened.root), "spaces": [_stats_record(one) for one in found]}, json_file)
    if json_file == Path("-"):
        return
    if not found:
        click.echo(f"{opened.root}: no embeddings")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("encoder", overflow="fold")
    for heading in ("id", "texts", "images", "mixed", "failed", "cut", "dimension", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        record = one.space.record
        if record is None:
            continue
        kinds = (
            f"{one.vectors.get(kind, 0):,}" for kind in (Content.TEXT, Content.IMAGE, Content.MIXED)
        )
        table.add_row(
            record.label,
            record.id[:8],
            *kinds,
            f"{sum(one.failures.values()):,}",
            f"{one.n_cut:,}",
            "" if record.dimension is None else str(record.dimension),
            readable_size(one.n_bytes),
        )
    console = Console(highlight=False, markup=False)
    console.print(f"{opened.root}:")
    console.print(table)
    for one in found:
        if one.space.problem is not None:
            click.echo(f"{_REMARK}{one.space.problem}", err=True)
    superseded = opened.superseded()
    if superseded:
        click.echo(f"{len(superseded)} of these are superseded: `ffr embed --prune` removes them")


def _prune(
    benchmarks: tuple[str, ...],
    specs: tuple[str, ...],
    context: int,
    store: Path | None,
    json_file: Path | None,
    dry_run: bool,
) -> None:
    from baselines.embedding.whole import needed_keys
    from ffr_eval.benchmark import read_benchmark
    from ffr_eval.embeddings.store import EmbeddingStore, short_name
    from ffr_eval.fetch.disk import readable_size

    opened = EmbeddingStore(store)
    if specs:
        matching = [
            record for spec in specs for record in opened.matching(spec) or [opened.find(spec)]
        ]
        records = list({record.id: record for record in matching}.values())
    elif benchmarks:
        records = [space.record for space in opened.spaces() if space.record is not None]
    else:
        records = opened.superseded()
    data = [read_benchmark(name) for name in benchmarks]
    pruned = []
    for record in records:
        keep = needed_keys(data, record, context) if data else None
        pruned += opened.prune([record], keep=keep, dry_run=dry_run)
    to_stdout = json_file == Path("-")
    _write(
        [
            {
                "encoder": one.record.label,
                "space": one.record.id,
                "whole": one.whole,
                "n_vectors": one.n_vectors,
                "n_bytes": one.n_bytes,
            }
            for one in pruned
        ],
        json_file,
    )
    what = "would be removed" if dry_run else "removed"
    for one in pruned:
        size = f"{one.n_vectors:,} vectors, {readable_size(one.n_bytes)}"
        click.echo(f"{short_name(one.record)}: {what}: {size}", err=to_stdout)
    if not pruned:
        click.echo(f"{opened.root}: nothing to remove", err=to_stdout)


def _write(report: Any, json_file: Path | None) -> None:
    from ffr_eval.cli.output import write_report

    if json_file is not None:
        write_report(report, json_file)


def _stats_record(one: SpaceStats) -> dict[str, Any]:
    record = one.space.record
    return {
        "encoder": None if record is None else record.label,
        "space": one.space.folder.name,
        "revision": None if record is None else record.revision,
        "dimension": None if record is None else record.dimension,
        "created": None if record is None else record.created,
        "vectors": {kind.value: count for kind, count in one.vectors.items()},
        "failures": {reason.value: count for reason, count in one.failures.items()},
        "n_cut": one.n_cut,
        "n_bytes": one.n_bytes,
        "problem": None if one.space.problem is None else str(one.space.problem),
    }


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
