"""The command line. Every error is one plain sentence on standard error and exit status 2.

A command's module is imported when that command is run, completed or asked for help, never before:
the libraries behind all of them together take seconds. So a new command or group of commands is one
line of `COMMANDS`.
"""

from __future__ import annotations

import faulthandler
import sys
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
        "Load a source into a new snapshot. The current one stays in use until it is complete.",
    ),
    "sources": CommandSpec("sources", "app", "What the words of a source mean."),
    "map": CommandSpec(
        "mapping",
        "propose_mapping",
        "Propose how to read a partner's own export: columns, reasons and open questions.",
    ),
    "records": CommandSpec("records", "app", "Show what is loaded, as counts only."),
    "features": CommandSpec("models", "features_app", "Compute student features as of a date."),
    "alerts": CommandSpec(
        "alerts", "app", "The rules of early alerts: built in, or the district's own."
    ),
    "train": CommandSpec(
        "models",
        "train_candidate",
        "Train a model of which supports helped whom, as a candidate.",
    ),
    "audit": CommandSpec(
        "models",
        "audit_candidate",
        "Audit a candidate for disparate impact, and write the report for the reviewer.",
    ),
    "sign": CommandSpec(
        "models",
        "sign_candidate",
        "Approve an audited candidate and put it into service, as an equity reviewer.",
    ),
    "evaluate": CommandSpec(
        "evaluation",
        "evaluate_model",
        "Estimate what a version's suggestions would have been worth, on records held out.",
    ),
    "compare": CommandSpec(
        "evaluation",
        "compare_candidate",
        "Compare two versions on the same episodes at equal capacity: is the first better?",
    ),
    "promote": CommandSpec(
        "models",
        "promote_candidate",
        "Make an audited version the champion, with an equity reviewer's signature.",
    ),
    "rollback": CommandSpec(
        "models",
        "roll_back",
        "Return to the version that was signed and in service before, if its audit is still valid.",
    ),
    "retrain": CommandSpec(
        "retrain",
        "retrain_nightly",
        "Retrain if anything changed, then audit, compare and propose a challenger.",
    ),
    "refuse": CommandSpec(
        "models",
        "refuse_candidate",
        "Refuse a candidate, with the reason. If it was in service, it no longer is.",
    ),
    "drift": CommandSpec(
        "drift",
        "drift",
        "Report how far students differ from the training data, and whether predictions held.",
    ),
    "models": CommandSpec(
        "models",
        "list_models",
        "Every registered model version, what it is worth and its status.",
    ),
    "shadow": CommandSpec(
        "exploration",
        "shadow",
        "Compare the challenger's shadow lists with those that were shown, as numbers of students.",
    ),
    "exploration": CommandSpec(
        "exploration", "app", "Whether the order of near-equal suggestions may be randomized."
    ),
    "effects": CommandSpec(
        "effects",
        "app",
        "Estimated effect of each partner's program with its interval, or why there is none.",
    ),
    "serve": CommandSpec("serve", "serve", "Serve the site until it is stopped with Ctrl-C."),
    "demo": CommandSpec(
        "demo",
        "demo",
        "Make a demo district, from its files to a signed model, and serve the site.",
    ),
    "agreements": CommandSpec("agreements", "app", "The agreements that say who may see what."),
    "supports": CommandSpec(
        "supports", "app", "The kinds of support that programs offer and agreements name."
    ),
    "accounts": CommandSpec("accounts", "app", "Organizations and staff."),
    "consents": CommandSpec(
        "consents",
        "app",
        "Families' consents and opt-outs: each takes effect at the next request.",
    ),
    "disclosures": CommandSpec("disclosures", "app", "The log of who saw which student's record."),
    "identity": CommandSpec(
        "identity", "app", "Match partners' participants to district students."
    ),
    "legal": CommandSpec("legal", "app", "Legal demands, to read; and legal holds."),
    "destroy": CommandSpec(
        "destruction",
        "app",
        "Destroy a student's record, or what an agreement produced, everywhere.",
    ),
    "backups": CommandSpec(
        "destruction",
        "backups_app",
        "The copies kept elsewhere, which certificates of destruction name.",
    ),
}


class LazyCommand(TyperCommand):
    """A command of which only name and help line are known until it is used."""

    def __init__(self, name: str, spec: CommandSpec) -> None:
        super().__init__(name, help=spec.help)
        self._spec = spec

    @cached_property
    def command(self) -> Any:
        """The command itself; its module is imported now."""
        target = getattr(import_module(f"handrail.commands.{self._spec.module}"), self._spec.name)
        if isinstance(target, typer.Typer):
            return get_group(target)
        single = typer.Typer(add_completion=False)
        single.command(self.name)(target)
        return get_command(single)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """The context of the real command, which runs, completes and shows its help."""
        return self.command.make_context(*args, **kwargs)


class LazyCommandGroup(TyperGroup):
    """All of `COMMANDS`."""

    def __init__(self, **settings: Any) -> None:
        settings["commands"] = {name: LazyCommand(name, spec) for name, spec in COMMANDS.items()}
        super().__init__(**settings)


app = typer.Typer(cls=LazyCommandGroup, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def handrail() -> None:
    """Early, fair, explained support."""
    if sys.__stderr__ is not None and not faulthandler.is_enabled():
        # A library that dies takes the process with it: say where, as lines of code and no data.
        faulthandler.enable(sys.__stderr__)
