"""`phi3-bento usage`: what was used, by key, tenant, day or model."""

import asyncio
import csv
import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from phi3_bento.database import DATABASE_ERRORS, open_database, upgrade
from phi3_bento.errors import InvalidRequest, StartFailure
from phi3_bento.settings import load_settings
from phi3_bento.usage.report import Grouping, UsageSum, read_moment, summarise

_COLUMNS = ("requests", "failed", "prompt_tokens", "cached_tokens", "completion_tokens")


def usage_command(
    by: Annotated[Grouping, typer.Option(help="What a sum is made for.")] = Grouping.KEY,
    since: Annotated[
        str | None, typer.Option(help="Only later requests: 30d, 12h, or a date, in UTC.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's requests.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="For a spreadsheet.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For a machine to read.")] = False,
) -> None:
    """Show what was used.

    Example: phi3-bento usage --by day --since 30d --csv
    """
    try:
        earliest = read_moment(since, datetime.now(UTC)) if since else None
    except InvalidRequest as error:
        raise typer.BadParameter(error.message) from None
    sums = asyncio.run(_summarise(load_settings().database, by, earliest, tenant))
    if as_json:
        typer.echo(json.dumps([each.as_dict() for each in sums]))
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow([by, *_COLUMNS])
        writer.writerows([each.name, *map(str, _counts(each))] for each in sums)
    else:
        _print_table(by, sums)


async def _summarise(
    url: str, by: Grouping, since: datetime | None, tenant: str | None
) -> list[UsageSum]:
    database = open_database(url)
    try:
        await upgrade(database)
        return await summarise(database, by=by, since=since, tenant=tenant)
    except DATABASE_ERRORS as error:
        raise StartFailure(f"The database failed ({type(error).__name__}); try again.") from error
    finally:
        await database.dispose()


def _print_table(by: Grouping, sums: list[UsageSum]) -> None:
    table = Table(by.value.title())
    for column in _COLUMNS:
        table.add_column(column.replace("_", " ").capitalize(), justify="right")
    for each in sums:
        table.add_row(each.name, *(f"{count:,}" for count in _counts(each)))
    Console().print(table)


def _counts(each: UsageSum) -> list[int]:
    return [int(getattr(each, column)) for column in _COLUMNS]
