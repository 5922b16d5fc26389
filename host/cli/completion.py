"""`dianka completion`: commands and options completed by the shell."""

import click
from click.shell_completion import get_completion_class

from host.cli import shown
from host.cli.output import echo
from host.words import _

SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "dianka"
_VARIABLE = "_DIANKA_COMPLETE"


@shown.command(
    epilog="""\b
Examples:
  dianka completion bash > ~/.local/share/bash-completion/completions/dianka
  dianka completion zsh > ~/.zfunc/_dianka
  dianka completion fish > ~/.config/fish/completions/dianka.fish
The shell reads the file when it starts; zsh needs fpath+=~/.zfunc before compinit.
"""
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options and files of dianka with Tab."""
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(_("this click has no completion for it: install a newer one"))
    whole = found(context.find_root().command, {}, _PROGRAM, _VARIABLE)
    for line in (whole.source_template % whole.source_vars()).splitlines():
        echo(line)
