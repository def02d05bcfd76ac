"""The command line: finds the command and says how it went wrong. Errors go to stderr."""

import signal
import sys
from importlib import import_module

import click

from scaffold import __version__, streams
from scaffold.errors import FAILURE, INTERRUPTED, PRECONDITION, USAGE, ScaffoldError, json_is_asked
from scaffold.names import of_system, printable
from scaffold.terminal import show_json

# a command's module is imported when it is called, and not for the list of them: a fast start
COMMANDS = {
    "abort": "Take back a switch or an update that is not committed yet.",
    "choose": "Find the method that fits, by questions or flags.",
    "completion": "Print the completion for SHELL, to be put into its start-up file.",
    "diff": "Show as a patch what a switch or an update would change here.",
    "doctor": "See whether training would start here.",
    "methods": "Compare the four methods.",
    "new": "Make a project in the new folder PATH, or of the git repository that lies there.",
    "recipe": "Show what to change in a project for work of another kind.",
    "shares": "Show which samples each rank sees, step by step, unshuffled.",
    "status": "Tell what the project in this folder was made with, and what waits.",
    "switch": "Change the method of the project here; your edits and your checkpoints stay.",
    "update": "Bring what is new in scaffold into the project here; your edits stay.",
}
# the others hold signals and lock files, which Windows knows otherwise
ANYWHERE = ("choose", "completion", "methods", "recipe", "shares")
EXAMPLES = """\b
Examples:
  scaffold new --method fabric myproj     a project that trains on two GPUs, or on a CPU
  scaffold choose                         which of the four methods
  scaffold shares                         which samples each rank sees, method by method
  scaffold recipe                         metrics, networks and data of other kinds
  scaffold switch --method torchrun       the project here, trained in another way
  scaffold update                         what is new in scaffold, in the project here
  scaffold status                         what the project here was made with
  scaffold doctor                         whether training would start here
"""


class Commands(click.Group):
    """The commands by name."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        if name not in ANYWHERE:
            check_system()
        command: click.Command = getattr(import_module(f"scaffold.commands.{name}"), name)
        return command


@click.command(
    cls=Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, message="scaffold %(version)s")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def cli() -> None:
    """Generate multi-GPU PyTorch training projects that are yours.

    One project, four ways to train it on several GPUs: spawn, torchrun, fabric, accelerate.
    """


def main() -> None:
    """Run the command line and end the program with its exit status."""
    stdout = streams.keep()
    try:
        # True of a command that has changed something
        done = cli.main(prog_name="scaffold", standalone_mode=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # too late: all is told
        streams.check(stdout, done is True)
    except ScaffoldError as error:
        fail(stdout, error, error.fact, error.remedy, error.status)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(USAGE)
    except click.UsageError as error:
        fail(stdout, error, *of_usage(error), USAGE)
    except (click.Abort, KeyboardInterrupt) as error:  # at a question
        fail(stdout, error, *INTERRUPTED)
    except OSError as error:
        remedy = "mend the cause and run it again; --debug shows where"
        fail(stdout, error, of_system(error), remedy, FAILURE)


def of_usage(error: click.UsageError) -> tuple[str, str]:
    """What is wrong with a command line, and the one that was meant, or else where to look."""
    from scaffold.commands.meant import meant

    no_option = isinstance(error, click.NoSuchOption)
    # of a wrong option click says which others are a little like it
    told = error.message if no_option else error.format_message()
    command = [word for word in sys.argv[1:] if word in COMMANDS][:1]
    # what is wrong with an option's value has no context, and an option of a command before it
    # has that of the program
    context = None if no_option and error.ctx and not error.ctx.parent else error.ctx
    where = context.command_path if context else " ".join(["scaffold", *command])
    remedy = meant(error, sys.argv[1:]) or f"{where} --help"
    return printable(told.replace("\n\t", " ").rstrip(".")), remedy


def check_system() -> None:
    """Raise ScaffoldError where this system is not like Unix."""
    try:
        import fcntl  # noqa: F401  # whether it is there is the question
    except ImportError as error:
        fact = "this needs Linux or macOS, and Windows is neither"
        remedy = "install and run it in WSL, Windows' own Linux: wsl --install"
        raise ScaffoldError(fact, remedy, PRECONDITION) from error


def fail(stdout: streams.Outlet, error: BaseException, fact: str, remedy: str, status: int) -> None:
    """Say what is wrong and what to do, and end the program."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # or it would be told again
    # one object: a result that leaves something to its reader, as conflicts, says so itself
    if json_is_asked() and not stdout.used:
        show_json(ScaffoldError(fact, remedy, status).as_dict())
    if "--debug" in sys.argv:
        raise error
    click.echo(f"error: {fact}\nhint: {remedy}", err=True)
    sys.exit(status)
