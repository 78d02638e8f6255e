"""Rules and records made up by hypothesis: SQL must say what a plain reading of Sigma says.

The model below is that reading, in Python and without SQL: a condition on a missing field is false, unless it asks
for just that.
"""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etwdetect.results.sigma import load_rules
from tests.results.sigma.conftest import rule_text, titles

FIELDS = ("SourceImage", "TargetImage")
TEXTS = st.sampled_from(["", "-", "a", "A", "ab", "ä", "Ä", "aä", "b%", "b_", "bc", "a'b", "a[b", "b\\c"])
VALUES = TEXTS | st.none()
MODIFIERS = ("contains", "startswith", "endswith")

# What stands in a rule: text without wildcards, or one of these.
PATTERNS = st.sampled_from(["*", "?", "a*", "*b", "?b", "a*b", "*ä*", "b?", r"b\*", r"\?"])


def asked_for():
    plain = st.tuples(st.sampled_from(["", "|cased", "|neq"]), TEXTS.map(escaped) | PATTERNS)
    part = st.tuples(st.sampled_from([f"|{each}{cased}" for each in MODIFIERS for cased in ("", "|cased")]), TEXTS)
    exists = st.tuples(st.just("|exists"), st.booleans())
    none = st.tuples(st.just(""), st.none())
    return st.tuples(st.sampled_from(FIELDS), plain | part.map(lambda it: (it[0], escaped(it[1]))) | exists | none)


def escaped(text):
    return re.sub(r"([\\*?])", r"\\\1", text)


def conditions(names):
    leaves = st.sampled_from(names)
    return st.recursive(
        leaves,
        lambda inner: (
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda it: f"({' '.join(it)})")
            | inner.map(lambda it: f"(not {it})")
        ),
        max_leaves=6,
    )


def as_regex(pattern):
    parts = re.findall(r"\\[\\*?]|.", pattern, re.DOTALL)
    wild = {"*": ".*", "?": "."}
    return "".join(wild.get(part) or re.escape(part[-1]) for part in parts)


def upper(text):
    return "".join(each.upper() if len(each.upper()) == 1 else each for each in text)


def is_true(question, record):
    field, (modifiers, value) = question
    told = record.get(field)
    missing = told in {None, "", "-"}
    names = modifiers.split("|")
    if "exists" in names:
        return missing is not value
    if "neq" in names:
        return not is_true((field, ("", value)), record)
    part = set(names) & set(MODIFIERS)
    if not part and value in {None, "", "-"}:
        return missing
    if missing:
        return False
    regex = as_regex(value)
    if part & {"contains", "endswith"}:
        regex = ".*" + regex
    if part & {"contains", "startswith"}:
        regex += ".*"
    if "cased" not in names:
        regex, told = upper(regex), upper(told)
    return re.fullmatch(regex, told, re.DOTALL) is not None


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
def test_sql_says_what_a_plain_reading_says(data):
    questions = data.draw(st.lists(asked_for(), min_size=1, max_size=4))
    names = [f"s{number}" for number in range(len(questions))]
    condition = data.draw(conditions(names))
    detection = {
        name: {field + modifiers: value}
        for name, (field, (modifiers, value)) in zip(names, questions, strict=True)
    }
    records = data.draw(st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUES), min_size=1, max_size=5))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rule.yml"
        path.write_text(rule_text({**detection, "condition": condition}), encoding="utf-8")
        fired = titles(load_rules([path]), records)
    expected = []
    for record in records:
        outcome = {name: is_true(question, record) for name, question in zip(names, questions, strict=True)}
        expected.append(bool(eval(condition, {"__builtins__": {}}, outcome)))
    assert [bool(titles) for titles in fired] == expected
