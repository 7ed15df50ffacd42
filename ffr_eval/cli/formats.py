"""A command whose help lists the registered formats."""

from __future__ import annotations

from typing import Any, ClassVar

import click


class FormatsCommand(click.Command):
    """A command that takes the name of a plugin.

    Attributes:
        plugins: The entry-point group.
        path_names: The attribute of a plugin that says what its paths are: a name, or several.
    """

    plugins: ClassVar[str]
    path_names: ClassVar[str]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the formats, then the examples."""
        from ffr_eval import plugins

        rows = [(name, self._describe(name)) for name in plugins.registered(self.plugins)]
        if rows:
            with formatter.section("Formats"):
                formatter.write_dl(rows)
        super().format_epilog(ctx, formatter)

    def _describe(self, name: str) -> str:
        from ffr_eval import plugins
        from ffr_eval.errors import FfrError

        try:
            plugin: Any = plugins.load(self.plugins, name)
        except FfrError as error:
            return f"({error})".replace("\n", " ")
        names = getattr(plugin, self.path_names)
        return f"{names if isinstance(names, str) else ' '.join(names)}: {plugin.summary}"
