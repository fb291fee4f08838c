"""The command line. Every error is one plain sentence on standard error and exit status 2."""

from __future__ import annotations

import typer

from handrail.commands import (
    accounts,
    agreements,
    consents,
    demo,
    disclosures,
    identity,
    legal,
    mapping,
    models,
    records,
    retention,
    site,
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_show_locals=False, help="Early, fair, explained support.")
app.command("load")(records.load_source)
app.command("map")(mapping.propose_mapping)
app.add_typer(records.app, name="records")
app.add_typer(models.features, name="features")
app.command("train")(models.train_candidate)
app.command("audit")(models.audit_candidate)
app.command("sign")(models.sign_candidate)
app.command("refuse")(models.refuse_candidate)
app.command("models")(models.list_models)
app.command("serve")(site.serve)
app.command("demo")(demo.demo)
app.add_typer(agreements.app, name="agreements")
app.add_typer(accounts.app, name="accounts")
app.add_typer(consents.app, name="consents")
app.add_typer(disclosures.app, name="disclosures")
app.add_typer(identity.app, name="identity")
app.add_typer(legal.app, name="legal")
app.add_typer(retention.app, name="destroy")
app.add_typer(retention.copies, name="backups")
