"""``python -m tests.servers``: a fault server by hand, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import click
import msgspec

from tests.servers.plan import Rule, Settings
from tests.servers.replies import FAULTS
from tests.servers.server import Server


@click.command(
    epilog=f"""\b
Examples:
  python -m tests.servers --port 8000 --latency 0.5
  python -m tests.servers --fault rate_limit:0.1 --fault hang:0.01 --log requests.jsonl
  ffr run api ffr-sample -o base_url=http://127.0.0.1:8000/v1 -o model=gpt-4o --out run

Faults: {", ".join(FAULTS)}.
""",
)
@click.option("--port", default=0, help="0 takes a free one; the URL is printed.")
@click.option("--latency", default=0.0, help="Seconds until the answer.")
@click.option("--jitter", default=0.0, help="Up to so many seconds more.")
@click.option("--max-in-flight", type=int, help="With more requests at once: 429.")
@click.option("--fault", "faults", multiple=True, help="NAME or NAME:PROBABILITY.")
@click.option("--seed", default=0, help="Of probabilities and jitter.")
@click.option("--settings", "as_json", help="All settings as JSON, in the place of the others.")
@click.option("--log", type=click.Path(path_type=Path), help="Append a line for each request.")
def main(
    port: int,
    latency: float,
    jitter: float,
    max_in_flight: int | None,
    faults: tuple[str, ...],
    seed: int,
    as_json: str | None,
    log: Path | None,
) -> None:
    """Serve chat completions on the loopback interface, with faults."""
    if as_json is not None:
        settings = msgspec.json.decode(as_json, type=Settings)
    else:
        settings = Settings(
            port=port,
            latency=latency,
            jitter=jitter,
            max_in_flight=max_in_flight,
            seed=seed,
            rules=tuple(_rule(text) for text in faults),
        )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Server(settings, log)))


def _rule(text: str) -> Rule:
    name, _, probability = text.partition(":")
    if name not in FAULTS:
        raise click.BadParameter(f"no fault {name!r}")
    return Rule(name, probability=float(probability or 1))


async def _serve(server: Server) -> None:
    listening = await server.start()
    click.echo(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
    await listening.serve_forever()


if __name__ == "__main__":
    main()
