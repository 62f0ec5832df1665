"""`settings`: the configured values, and where each came from."""

from __future__ import annotations

import os

import click

from commands.output import print_json, print_table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def settings(as_json: bool) -> None:
    """Show the resolved settings; secrets are masked."""
    from receiver.settings import resolved

    rows = resolved(os.environ)
    if as_json:
        print_json([{"name": row.name, "value": row.value, "source": row.source} for row in rows])
    else:
        print_table(
            ("name", "value", "source"),
            [(row.name, "-" if row.value is None else row.value, row.source) for row in rows],
        )
