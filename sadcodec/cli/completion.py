"""``sad completion``: what a shell needs to complete the command line."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from sadcodec import files
from sadcodec.cli import common

_VARIABLE = "_SAD_COMPLETE"  # Click's own name for it


def complete_files(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Have the shell complete names of files (Click's ``shell_complete``)."""
    del ctx, param
    return [CompletionItem(incomplete, type="file")]


def complete_folders(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Have the shell complete names of folders."""
    del ctx, param
    return [CompletionItem(incomplete, type="dir")]


@click.command(short_help="Completion for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")), metavar="SHELL")
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands, options, their values and file names in SHELL.

    \b
    bash:  sad completion bash > ~/.local/share/bash-completion/completions/sad
    zsh:   sad completion zsh > DIR/_sad    where DIR is in fpath
    fish:  sad completion fish > ~/.config/fish/completions/sad.fish
    """  # noqa: D301 - \b is Click's
    script = get_completion_class(shell)
    assert script is not None  # noqa: S101 - one of Click's three
    root = ctx.find_root()
    text = script(root.command, {}, str(root.info_name), _VARIABLE).source()
    with common.blame(files.STANDARD, "stdout"):
        files.write_stdout(text.encode())
