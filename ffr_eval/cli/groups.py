"""A group of commands that suggests the nearest name."""

from __future__ import annotations

import click


class SuggestingGroup(click.Group):
    """A group that names the nearest of its commands when it is given an unknown one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command, or suggest the nearest name."""
        from ffr_eval import plugins

        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            remedy = plugins.nearest(args[0], self.list_commands(ctx))
            ctx.fail(f"no command {args[0]!r}: {remedy}")
        return super().resolve_command(ctx, args)
