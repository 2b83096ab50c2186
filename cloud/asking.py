"""How the operator's commands ask, and what they have in common: options, answers as JSON, a question before what is final."""

import asyncio
import base64
import json
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cloud.config import CloudHome
from energyshare.errors import Unavailable
from energyshare.home import lock_home
from energyshare.values import id_text

HOME = click.option(
    "--home", type=click.Path(path_type=Path), envvar="ENERGYSHARE_HOME", required=True, help="The cloud's home directory."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
YES = click.option("--yes", is_flag=True, help="Do not ask.")
LIMIT = click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
WHY = click.option("--reason", default="", help="Why; kept in the record of acts.")
WAIT_S = 5.0  # a node takes so long to start, another command less
IDS = {"order_id", "terminal_id", "held_by", "account_id"}
HASHES = {"charge_record_hash", "corrects_hash"}
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Since(click.ParamType[Timestamp]):
    """A time in the past: how long ago (30m, 24h, 7d), or a date or time as ISO 8601 writes it, local unless it says."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Timestamp:
        """Give it as the contract does."""
        ago = re.fullmatch(r"([0-9]{1,5})([mhd])", value)
        try:
            moment = datetime.now(UTC) - int(ago[1]) * UNITS[ago[2]] if ago else datetime.fromisoformat(value).astimezone(UTC)
            given = Timestamp()
            given.FromDatetime(moment)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time; write for example 24h, 7d or 2026-11-22", param, ctx)
        return given


SINCE = click.option("--since", type=Since(), help="None older: 30m, 24h, 7d, or a date.")


def ask(home: Path, method: str, request: Message) -> Any:
    """Ask the running node, or the database when none runs; a node that starts and another command are waited for."""
    cloud = CloudHome(home)
    cloud.config()
    return asyncio.run(_ask(cloud, method, request))


def show(answer: Message, as_json: bool, page: Callable[[], object]) -> None:
    """Print an answer, as JSON or as a page."""
    if as_json:
        fields = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        click.echo(json.dumps(_readable(fields)))
    else:
        page()


def is_asked(yes: bool, as_json: bool) -> bool:
    """Say whether a person is there to be asked."""
    return not (yes or as_json) and sys.stdin.isatty() and sys.stdout.isatty()


def agree(question: str, yes: bool, as_json: bool) -> None:
    """Ask a person at a terminal before something final; ends the command on a no."""
    if is_asked(yes, as_json):
        click.confirm(question, abort=True)


async def _ask(cloud: CloudHome, method: str, request: Message) -> Any:
    from cloud.operator_client import NotReached, ask_database, ask_node

    deadline = time.monotonic() + WAIT_S
    while True:
        with ExitStack() as held:
            if _is_free(held, cloud.path):
                return await ask_database(cloud, method, request)
        try:
            return await ask_node(cloud, method, request)
        except NotReached:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


def _is_free(held: ExitStack, home: Path) -> bool:
    """Take the home's lock if nobody has it."""
    try:
        held.enter_context(lock_home(home))
    except Unavailable:
        return False
    return True


def _readable(value: Any) -> Any:
    """Write ids and hashes, which protobuf gives as base64, as people see them."""
    if isinstance(value, dict):
        return {key: _bytes_text(key, field) if field else field for key, field in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def _bytes_text(key: str, field: Any) -> Any:
    if key in IDS:
        return id_text(base64.b64decode(field))
    return base64.b64decode(field).hex() if key in HASHES else _readable(field)
