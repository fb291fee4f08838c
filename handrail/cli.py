"""The command line. Every error is one plain sentence on standard error and exit status 2.

A command's module is imported when that command is run, completed or asked for help, never before:
the libraries behind all of them together take seconds. So a new command or group of commands is one
line of `COMMANDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


class CommandSpec(NamedTuple):
    """`name` is a command's function or a group's `typer.Typer` in handrail/commands/`module`.py.

    `help` is the first paragraph of its own help, as the list of all commands shows it; a test
    compares them.
    """

    module: str
    name: str
    help: str


COMMANDS: Mapping[str, CommandSpec] = {
    "load": CommandSpec(
        "records",
        "load_source",
        "Load a source into a new snapshot. The old one serves until the new one is whole.",
    ),
    "map": CommandSpec(
        "mapping",
        "propose_mapping",
        "Propose how to read a partner's own export: which column is which, "
        "why, and what has to be asked.",
    ),
    "records": CommandSpec(
        "records", "app", "Look at what is loaded, as counts: never at a student."
    ),
    "features": CommandSpec(
        "models", "features_app", "Numbers about students, worked out as of a day."
    ),
    "train": CommandSpec(
        "models",
        "train_candidate",
        "Learn what helped whom, and register a candidate. It serves nobody "
        "until it is audited and signed.",
    ),
    "audit": CommandSpec(
        "models",
        "audit_candidate",
        "Audit a candidate for disparate impact and write the report that a "
        "reviewer signs or refuses.",
    ),
    "sign": CommandSpec(
        "models",
        "sign_candidate",
        "Sign an audited candidate: from then on it serves. Only an equity "
        "reviewer of the district may.",
    ),
    "evaluate": CommandSpec(
        "evaluation",
        "evaluate_model",
        "Say what a version's suggestions would have been worth, on records "
        "that it did not learn from.",
    ),
    "compare": CommandSpec(
        "evaluation",
        "compare_candidate",
        "Compare two versions on the same episodes with the same number "
        "of places: is the first better?",
    ),
    "promote": CommandSpec(
        "models",
        "promote_candidate",
        "Let an audited version be the champion, with an equity reviewer's "
        "signature; then it serves.",
    ),
    "rollback": CommandSpec(
        "models",
        "roll_back",
        "Return to the version that was signed and served before, if its audit still stands.",
    ),
    "retrain": CommandSpec(
        "retrain",
        "retrain_nightly",
        "Train anew where something changed, audit, compare, and propose. "
        "It never lets a version serve.",
    ),
    "refuse": CommandSpec(
        "models",
        "refuse_candidate",
        "Refuse a candidate, with the reason. If it served, it serves no longer.",
    ),
    "drift": CommandSpec(
        "drift",
        "drift",
        "Say how far students differ from those that a version learned from, and what "
        "came of what it predicted.",
    ),
    "models": CommandSpec(
        "models",
        "list_models",
        "Every registered model version, what it is worth and where it stands.",
    ),
    "shadow": CommandSpec(
        "exploration",
        "shadow",
        "Compare the challenger's unseen lists with those that were shown, as numbers of students.",
    ),
    "exploration": CommandSpec(
        "exploration", "app", "Whether the order of near-equal suggestions may be drawn by lot."
    ),
    "effects": CommandSpec(
        "effects",
        "app",
        "What went along with each partner's program: an effect with its range, or why "
        "nobody can tell.",
    ),
    "serve": CommandSpec("serve", "serve", "Serve the site until it is stopped with Ctrl-C."),
    "demo": CommandSpec(
        "demo",
        "demo",
        "Make a demo district, load it, train, audit, sign, and serve the site. A finished "
        "one is served at once.",
    ),
    "agreements": CommandSpec("agreements", "app", "The agreements that say who may see what."),
    "accounts": CommandSpec("accounts", "app", "Organisations and staff."),
    "consents": CommandSpec(
        "consents", "app", "Families' consents and opt-outs: each counts at the next request."
    ),
    "disclosures": CommandSpec("disclosures", "app", "The log of who saw which student's record."),
    "identity": CommandSpec(
        "identity", "app", "Who a partner's participants are among the district's students."
    ),
    "legal": CommandSpec("legal", "app", "Legal demands, to read; and legal holds."),
    "destroy": CommandSpec(
        "destruction", "app", "Destroy a student's record, or what an agreement made, everywhere."
    ),
    "backups": CommandSpec(
        "destruction",
        "backups_app",
        "The copies kept elsewhere, which certificates of destruction name.",
    ),
}


class LazyCommand(TyperCommand):
    """A command that is known by its name and its line of help alone until it is used."""

    def __init__(self, name: str, place: CommandSpec) -> None:
        super().__init__(name, help=place.help)
        self._place = place

    @cached_property
    def real(self) -> Any:
        """The command itself; its module is imported now."""
        found = getattr(import_module(f"handrail.commands.{self._place.module}"), self._place.name)
        if isinstance(found, typer.Typer):
            return get_group(found)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(found)
        return get_command(alone)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """What runs, completes and helps starts with the context that a command makes; here the
        real one makes it.
        """
        return self.real.make_context(*args, **kwargs)


class LazyCommandGroup(TyperGroup):
    """All of `COMMANDS`."""

    def __init__(self, **settings: Any) -> None:
        settings["commands"] = {name: LazyCommand(name, place) for name, place in COMMANDS.items()}
        super().__init__(**settings)


app = typer.Typer(cls=LazyCommandGroup, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def handrail() -> None:
    """Early, fair, explained support."""
