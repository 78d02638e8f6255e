"""The conditions of a rule as SQL over the columns of `etwdetect.results.sigma.table`.

pySigma's SQLite backend writes the SQL. Decided here are the column of a field, that a missing value matches both
'' and null, how upper and lower case are compared, and what is not supported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from sigma.backends.sqlite.sqlite import sqliteBackend
from sigma.conditions import ConditionFieldEqualsValueExpression, ConditionValueExpression
from sigma.conversion.state import ConversionState
from sigma.types import SigmaExpansion, SigmaNumber, SigmaRegularExpression, SigmaString, SpecialChars

from etwdetect.results.sigma.errors import UnsupportedRuleError
from etwdetect.results.sigma.fields import PROGRAMS, RuleField, field_called
from etwdetect.results.sigma.text import MISSING, folded

if TYPE_CHECKING:
    from sigma.conditions import ConditionType
    from sigma.conversion.deferred import DeferredQueryExpression
    from sigma.types import SigmaType

    _Sql = str | DeferredQueryExpression

_FieldIs = ConditionFieldEqualsValueExpression

KEYWORDS: Final = "*"
"""As a field's name: all values of a record, for keywords, which a rule asks for in any field."""

_EXACT: Final = "|exact"
"""A suffix of a field's name that no real field has: its text compared case-sensitively."""
_ROOTED: Final = "|rooted"
r"""Another one: a program's bare name has a backslash before it, as the end of its path would have."""


class SqlColumn(NamedTuple):
    """A column of the table: a *field*, or all of them where that is None; *exact* if case-sensitive.

    *rooted* if a program's bare name has a backslash before it.
    """

    field: RuleField | None
    exact: bool = False
    rooted: bool = False

    @property
    def name(self) -> str:
        """The column's name as SQL; nothing in it comes from a rule."""
        name = self.field.name if self.field else "all fields"
        how = f"{', exact' if self.exact else ''}{', rooted' if self.rooted else ''}"
        return f'"{name}{how}"'


class SqlCondition(NamedTuple):
    """One condition of a rule: an *expression* in SQL that is true, false or null, and the *columns* in it."""

    expression: str
    columns: frozenset[SqlColumn]


def compile_condition(tree: ConditionType | None) -> SqlCondition:
    """Return *tree*, a condition that pySigma has parsed, as SQL.

    Raises UnsupportedRuleError or one of pySigma's errors where it asks for something unsupported.
    """
    if tree is None:
        raise UnsupportedRuleError("one of its conditions is empty")
    backend = _Backend()
    expression = backend.convert_condition(tree, ConversionState())
    if not isinstance(expression, str):
        raise UnsupportedRuleError("one of its conditions is empty")
    return SqlCondition(expression, frozenset(backend.columns))


def asks_for_missing(value: SigmaType) -> bool:
    """Whether *value* is a plain '' or '-'."""
    return isinstance(value, SigmaString) and not value.contains_special() and str(value) in MISSING


class _Backend(sqliteBackend):
    """Collects in `columns` those that its expressions need."""

    # The backend's own make a pattern of a record's text, which may be longer than SQLite allows.
    field_equals_field_startswith_expression: ClassVar[str | None] = "begins({field1}, {field2})"
    field_equals_field_endswith_expression: ClassVar[str | None] = "ends({field1}, {field2})"
    field_equals_field_contains_expression: ClassVar[str | None] = "holds({field1}, {field2})"

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.columns: set[SqlColumn] = set()

    def escape_and_quote_field(self, field: str) -> str:
        name = field.removesuffix(_EXACT).removesuffix(_ROOTED)
        known = None if name == KEYWORDS else field_called(name)
        if known is None and name != KEYWORDS:
            return "NULL"  # a field that no record has is always missing
        rooted = field.removesuffix(_EXACT).endswith(_ROOTED)
        column = SqlColumn(known, exact=field.endswith(_EXACT), rooted=rooted)
        self.columns.add(column)
        return column.name

    def convert_value_str(
        self,
        s: SigmaString,
        state: ConversionState,
        no_quote: bool = False,  # noqa: FBT001, FBT002
        glob_wildcards: bool = False,  # noqa: FBT001, FBT002
    ) -> str:
        converted: str = super().convert_value_str(s, state, no_quote, glob_wildcards)
        return converted if glob_wildcards else folded(converted)

    def convert_condition_field_eq_val_str(self, cond: _FieldIs, state: ConversionState) -> str:
        if asks_for_missing(cond.value):
            return self._is_missing(cond)
        return super().convert_condition_field_eq_val_str(_rooted(cond), state)

    def convert_condition_field_eq_val_str_case_sensitive(self, cond: _FieldIs, state: ConversionState) -> str:
        if asks_for_missing(cond.value):
            return self._is_missing(cond)
        return super().convert_condition_field_eq_val_str_case_sensitive(_exactly(_rooted(cond)), state)

    def convert_condition_field_eq_val_re(self, cond: _FieldIs, state: ConversionState) -> _Sql:
        return super().convert_condition_field_eq_val_re(_exactly(_rooted(cond)), state)

    def convert_condition_field_compare_op_val(self, cond: _FieldIs, state: ConversionState) -> _Sql:
        field = field_called(cond.field)
        if field is not None and not field.number:
            raise UnsupportedRuleError(f"{cond.field} is text, and only numbers can be compared by size")
        return super().convert_condition_field_compare_op_val(cond, state)

    def convert_condition_field_eq_val_timestamp_part(self, cond: _FieldIs, state: ConversionState) -> _Sql:
        field = field_called(cond.field)
        if field is not None and field.name != "UtcTime":
            raise UnsupportedRuleError(f"{cond.field} has no hours and days: only UtcTime has")
        return super().convert_condition_field_eq_val_timestamp_part(cond, state)

    def convert_condition_val(self, cond: ConditionValueExpression, state: ConversionState) -> str | None:
        value = cond.value
        if isinstance(value, SigmaExpansion):
            return super().convert_condition_val(cond, state)
        if isinstance(value, SigmaNumber):
            value = SigmaString(str(value))
        if isinstance(value, SigmaString):
            value = SpecialChars.WILDCARD_MULTI + value + SpecialChars.WILDCARD_MULTI
        elif not isinstance(value, SigmaRegularExpression):
            raise UnsupportedRuleError("a keyword must be text or a number")
        anywhere = _FieldIs(KEYWORDS, value)
        converted = self.convert_condition_field_eq_val(anywhere, state)
        return converted if isinstance(converted, str) else None

    def _is_missing(self, cond: _FieldIs) -> str:
        return f"{self.escape_and_quote_field(cond.field)} IS NULL"


def _rooted(cond: _FieldIs) -> _FieldIs:
    r"""Return *cond* on the field with a backslash before bare names, where it asks for one within the value.

    So ``endswith: \\a.exe`` matches the name ``a.exe``, which is how the path ends whatever its folder is.
    """
    field = field_called(cond.field)
    if field is None or field.name not in PROGRAMS or not _asks_within(cond.value):
        return cond
    return replace(cond, field=cond.field + _ROOTED)


def _asks_within(value: SigmaType) -> bool:
    if isinstance(value, SigmaRegularExpression):
        return r"\\" in str(value.regexp)
    if not isinstance(value, SigmaString) or not value.startswith(SpecialChars.WILDCARD_MULTI):
        return False
    return any("\\" in part for part in value.s if isinstance(part, str))


def _exactly(cond: _FieldIs) -> _FieldIs:
    return replace(cond, field=cond.field + _EXACT)
