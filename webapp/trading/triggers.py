"""Rules over changes, which a constraint cannot see: triggers for SQLite and PostgreSQL.

The pairs of order states come from `sep_engine.execution.TRANSITIONS`; a test walks every pair
against the database, so a change of the table without a migration fails.
"""

from django.apps.registry import Apps
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from sep_engine.execution.states import TRANSITIONS, OrderState, Origin

# A venue makes the dependents of an order itself and people trade beside us: those rows start in
# the state that the venue told. Everything of ours starts as an intent.
BORN_AT_VENUE = (Origin.PROTECTIVE, Origin.EXTERNAL)

EVENT_COLUMNS = ("stream", "seq", "time", "type", "data", "previous_hash", "hash")


# (name, table, when it fires, condition that is refused, message)
Rule = tuple[str, str, str, str, str]

TRIAL_RULES: list[Rule] = [
    ("trial_is_append_only", "trading_trial", "UPDATE", "1 = 1", "a trial is never changed"),
    ("trial_is_kept", "trading_trial", "DELETE", "1 = 1", "a trial is never deleted"),
]


def _quoted(values: object) -> str:
    return ", ".join(f"'{v}'" for v in values)  # type: ignore[attr-defined]


def _rules() -> list[Rule]:
    pairs = _quoted(sorted(f"{old}>{new}" for old, after in TRANSITIONS.items() for new in after))
    born = f"NEW.state <> '{OrderState.CREATED}' AND NEW.origin NOT IN ({_quoted(BORN_AT_VENUE)})"
    return [
        (
            "order_state_change",
            "trading_order",
            "UPDATE OF state",
            f"NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN ({pairs})",
            "order state change is not in the table of order states",
        ),
        ("order_state_start", "trading_order", "INSERT", born, "an order starts as CREATED"),
        (
            "order_identity",
            "trading_order",
            "UPDATE OF client_id, account_id, instrument_id, units, type, origin",
            "NEW.client_id <> OLD.client_id OR NEW.account_id <> OLD.account_id"
            " OR NEW.instrument_id <> OLD.instrument_id OR NEW.units <> OLD.units"
            " OR NEW.type <> OLD.type OR NEW.origin <> OLD.origin",
            "what an order asks for never changes",
        ),
        (
            "event_is_append_only",
            "trading_eventlog",
            f"UPDATE OF {', '.join(EVENT_COLUMNS)}",
            "1 = 1",
            "an event is never changed",
        ),
        ("fact_is_append_only", "trading_brokerfact", "UPDATE", "1 = 1", "a fact is never changed"),
        ("fill_is_append_only", "trading_fill", "UPDATE", "1 = 1", "a fill is never changed"),
    ]


def create_statements(vendor: str, rules: list[Rule] | None = None) -> list[str]:
    """SQL that makes the triggers or makes them again; vendor is "sqlite" or "postgresql".

    rules: None for those of the order path.

    SQLite drops the triggers of a table that a migration rebuilds: such a migration ends with
    `install`.
    """
    statements = []
    for name, table, event, refused, message in _rules() if rules is None else rules:
        where = "" if vendor == "sqlite" else f" ON {table}"
        statements.append(f"DROP TRIGGER IF EXISTS {name}{where}")
        if vendor == "sqlite":
            statements.append(
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW WHEN {refused}"
                f" BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
        else:
            statements.append(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN RAISE check_violation USING MESSAGE = '{message}'; END $$"
            )
            statements.append(
                f"CREATE TRIGGER {name} BEFORE {event} ON {table} FOR EACH ROW"
                f" WHEN ({refused}) EXECUTE FUNCTION {name}()"
            )
    return statements


def drop_statements(vendor: str, rules: list[Rule] | None = None) -> list[str]:
    """SQL that removes what `create_statements` made."""
    names = [name for name, *_ in (_rules() if rules is None else rules)]
    if vendor == "sqlite":
        return [f"DROP TRIGGER IF EXISTS {name}" for name in names]
    return [f"DROP FUNCTION IF EXISTS {name}() CASCADE" for name in names]


def install(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make all triggers; a migration's RunPython."""
    for statement in create_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


def remove(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove all triggers; a migration's RunPython."""
    for statement in drop_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)


def install_trials(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make the triggers of the ledger of trials; a migration's RunPython."""
    for statement in create_statements(schema_editor.connection.vendor, TRIAL_RULES):
        schema_editor.execute(statement, params=None)


def remove_trials(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Remove them; a migration's RunPython."""
    for statement in drop_statements(schema_editor.connection.vendor, TRIAL_RULES):
        schema_editor.execute(statement, params=None)
