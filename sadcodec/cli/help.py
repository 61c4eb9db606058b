"""Help in two tiers: ``-h`` has the common options, ``--help`` all of them, in sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

_BRIEF = "sadcodec.brief"  # in a context's meta: this is the short help


class Command(click.Command):
    """A command with help in two tiers.

    Parameters
    ----------
    common : sequence of str
        Names of the parameters that ``-h`` lists.
    sections : mapping of str to sequence of str
        Titles, each with the names of its parameters, for ``--help``. Options that are in none come
        last.
    """

    def __init__(
        self,
        *arguments: Any,
        common: Sequence[str] = (),
        sections: Mapping[str, Sequence[str]] | None = None,
        **keywords: Any,
    ) -> None:
        keywords["context_settings"] = {"help_option_names": ["--help"]}
        super().__init__(*arguments, **keywords)
        self.common = tuple(common)
        self.sections = dict(sections or {})
        self.params.append(
            click.Option(
                ["-h", "brief"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_show_brief,
                help="Show the common options and exit.",
            )
        )

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description, its first paragraph in the short help."""
        if _BRIEF not in ctx.meta:
            super().format_help_text(ctx, formatter)
            return
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text((self.help or "").split("\n\n")[0])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the tier."""
        if _BRIEF in ctx.meta:
            records = option_records(self, ctx)
            with formatter.section("Common options"):
                formatter.write_dl([records[name] for name in (*self.common, "help")])
            formatter.write_paragraph()
            formatter.write_text(f"{ctx.command_path} --help lists all options.")
            return
        for title, entries in option_sections(self, ctx):
            with formatter.section(title):
                formatter.write_dl(entries)


def option_records(command: click.Command, ctx: click.Context) -> dict[str, tuple[str, str]]:
    """Return how help shows each option: by its name, what is typed and what it does."""
    help_option = command.get_help_option(ctx)  # Click's versions name it differently
    return {
        "help" if parameter is help_option else str(parameter.name): record
        for parameter in command.get_params(ctx)
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx))
    }


def option_sections(
    command: click.Command, ctx: click.Context
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return all options as `option_records` has them, by section."""
    records = option_records(command, ctx)
    sections = command.sections if isinstance(command, Command) else {}
    found = [(title, [records.pop(name) for name in names]) for title, names in sections.items()]
    rest = list(records.values())
    return [*found, ("Other options" if found else "Options", rest)] if rest else found


def _show_brief(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_BRIEF] = True
        click.echo(ctx.get_help())
        ctx.exit()
