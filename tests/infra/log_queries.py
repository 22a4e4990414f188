"""The log queries, judged and run without Azure.

``bind`` asks Microsoft's own parser and binder for KQL; ``Workspace`` is a Log Analytics workspace on DuckDB.
"""

import json
import re
import subprocess

from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any


ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "infra" / "queries"
BINDER = ROOT / "node_modules" / "@kusto" / "language-service-next"
ENGINE_LACKS = ("percentilew(",)
"""What DuckDB's translation of KQL does not know; a query with it is bound, not run."""

_TEXTS = (
    "AppRoleInstance", "AppRoleName", "AppVersion", "ClientBrowser", "ClientCity", "ClientCountryOrRegion",
    "ClientIP", "ClientModel", "ClientOS", "ClientStateOrProvince", "ClientType", "IKey", "_IsBillable",
    "OperationId", "OperationName", "ParentId", "ResourceGUID", "_ResourceId", "SDKVersion", "SessionId",
    "SourceSystem", "_SubscriptionId", "SyntheticSource", "TenantId", "Type", "UserAccountId",
    "UserAuthenticatedId", "UserId",
)  # fmt: skip
_COMMON = dict.fromkeys(_TEXTS, "string") | {
    "TimeGenerated": "datetime", "Properties": "dynamic", "ItemCount": "int", "_BilledSize": "real",
}  # fmt: skip
_CALL = {"Name": "string", "Id": "string", "DurationMs": "real", "Success": "bool", "ResultCode": "string"}
_LOG = {"Message": "string", "SeverityLevel": "int"}

TABLES = MappingProxyType({
    "AppMetrics": _COMMON | {"Name": "string", "Sum": "real", "Min": "real", "Max": "real"},
    "AppRequests": _COMMON | _CALL | {"Url": "string", "Source": "string"},
    "AppDependencies": _COMMON | _CALL | {"Data": "string", "DependencyType": "string", "Target": "string"},
    "AppTraces": _COMMON | _LOG,
    "AppExceptions": _COMMON | _LOG | {
        "ExceptionType": "string", "OuterMessage": "string", "OuterType": "string", "InnermostMessage": "string",
        "ProblemId": "string", "Details": "dynamic",
    },
})  # fmt: skip
"""Azure Monitor's reference of the tables of a workspace-based Application Insights, as far as we may use them."""

_TYPES = {"string": "VARCHAR", "datetime": "TIMESTAMP", "dynamic": "JSON", "int": "INTEGER", "real": "DOUBLE",
          "bool": "BOOLEAN"}  # fmt: skip
_PERIOD = re.compile(r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?)?")


def texts() -> dict[str, str]:
    """Each query by the name of its file."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.kql"))}


def code(text: str) -> str:
    """A query without its head."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("//"))


def period(text: str) -> timedelta:
    """An ISO 8601 duration of days, hours and minutes."""
    found = _PERIOD.fullmatch(text)
    assert found, text
    return timedelta(**{unit: int(number or 0) for unit, number in found.groupdict().items()})


def bind(queries: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What Microsoft's binder says of each query: its `problems`, and its result's `columns` with their types."""
    given = json.dumps({"tables": dict(TABLES), "queries": queries})
    script = Path(__file__).with_name("kql.cjs")
    said = subprocess.run(["node", str(script)], input=given, capture_output=True, text=True, check=True)
    return json.loads(said.stdout)


class Workspace:
    """Tables that queries run over. ``now`` is the engine's own: queries may say `ago`."""

    def __init__(self) -> None:
        import duckdb_kql

        self._engine = duckdb_kql
        self._database = duckdb_kql.connect()
        for name, columns in TABLES.items():
            listed = ", ".join(f'"{column}" {_TYPES[kind]}' for column, kind in columns.items())
            self._database.sql(f"CREATE TABLE {name} ({listed})")
        self.now: datetime = self._database.execute("SELECT now()::TIMESTAMP").fetchall()[0][0]

    def add(
        self, table: str, *, minutes: float = 10, attributes: dict[str, str] | None = None, **row: Any
    ) -> None:
        """One row, so many minutes old."""
        row |= {"TimeGenerated": self.now - timedelta(minutes=minutes), "Properties": json.dumps(attributes or {})}
        names = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        self._database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(row.values()))

    def metric(self, name: str, value: float = 1, *, minutes: float = 10, **attributes: str) -> None:
        """One value of a counter or gauge, as the exporter sends it."""
        row = {"Name": f"hubwarden.{name}", "Sum": value, "Min": value, "Max": value, "ItemCount": 1}
        self.add("AppMetrics", minutes=minutes, attributes=attributes, **row)

    def forget(self, before: timedelta) -> None:
        """Only what is younger stays: whoever asks gives the time range."""
        for table in TABLES:
            self._database.execute(f'DELETE FROM {table} WHERE "TimeGenerated" < ?', [self.now - before])

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The rows of the answer."""
        answer = self._engine.query(self._database, query)
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]
