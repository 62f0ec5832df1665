"""`doctor`: run all checks of a deployment, or print the permissions that a user of Redis needs."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

import click

from commands import options, set_up
from commands.output import print_json, print_line
from commands.spans import counted

if TYPE_CHECKING:
    from commands.doctor.examination import Checked

_MARKS = {"ok": "ok", "warn": "warning", "fault": "FAULT", "unknown": "unknown"}


@click.command()
@click.option("--acl", is_flag=True, help="Only print the ACL rule that Redis needs; check nothing.")
@options.as_json
def doctor(acl: bool, as_json: bool) -> None:
    """Check Redis, tenant, registration, callback URL and workers: one line each, with the fix.

    The exit code is 1 when there is a fault. All checks run, each for at most ten seconds. They change nothing, but
    they append an event under a prefix of its own and remove it. Run it with the settings of the deployment.
    """
    from commands.doctor.configured import usable

    settings, refused = usable(os.environ)
    if acl:
        _print_acl(settings.key_prefix, as_json)
        return
    set_up(settings, logs=False)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs every request
    from commands.doctor.deployment import Deployment
    from commands.doctor.examination import examine

    async def run() -> list[Checked]:
        about, found = Deployment(settings, refused, os.environ), []
        try:
            async for checked in examine(about):
                found.append(checked)
                if not as_json:
                    _print(checked)
        finally:
            await about.close()
        return found

    found = asyncio.run(run())
    faults = sum(1 for checked in found if checked.finding.status == "fault")
    warnings = sum(1 for checked in found if checked.finding.status == "warn")
    if as_json:
        print_json(
            {
                "healthy": not faults,
                "faults": faults,
                "warnings": warnings,
                "checks": [
                    {
                        "name": checked.name,
                        "status": checked.finding.status,
                        "what": checked.finding.what,
                        "fix": checked.finding.fix or None,
                        "seconds": round(checked.seconds, 3),
                    }
                    for checked in found
                ],
            }
        )
    else:
        print_line(f"{len(found)} checks: {counted(faults, 'fault')}, {counted(warnings, 'warning')}")
    if faults:
        raise click.exceptions.Exit(1)


def _print(checked: Checked) -> None:
    finding = checked.finding
    fix = f"; fix: {finding.fix}" if finding.fix else ""
    print_line(f"{_MARKS[finding.status]:<8} {checked.name:<23} {finding.what}{fix}")


def _print_acl(prefix: str, as_json: bool) -> None:
    from eventlog.rights import acl_rules

    rules = acl_rules(prefix)
    if as_json:
        print_json({"rules": rules})
    else:
        print_line(f"ACL SETUSER ampeco on >PASSWORD {rules}")
