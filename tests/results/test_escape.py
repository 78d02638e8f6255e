"""Text of a trace made harmless."""

import ast
import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.results.escape import cell
from etwdetect.results.wording import printable

any_text = st.text(st.characters(exclude_categories=()), max_size=30)


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("a.exe", "a.exe"),
        ("C:\\Program Files\\日本 é.exe", "C:\\Program Files\\日本 é.exe"),
        ("", ""),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("a\u2028b", "a\\u2028b"),
        ("\ud800", "\\ud800"),
        ("\udc00\ud800", "\\udc00\\ud800"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\U0001f600", "\U0001f600"),
    ],
    ids=ascii,
)
def test_what_does_not_print_is_written_as_its_escape(text, harmless):
    assert printable(text) == harmless


@given(any_text)
def test_whatever_the_text_the_result_prints_on_one_line_and_has_an_encoding(text):
    harmless = printable(text)
    assert harmless.isprintable()
    assert len(harmless.encode("utf-8").splitlines()) <= 1


@given(any_text.filter(lambda text: "\\" not in text and "'" not in text))
def test_nothing_is_lost_by_escaping(text):
    assert ast.literal_eval(f"'{printable(text)}'") == text


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "  @", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_a_cell_is_never_a_formula(start):
    assert cell(f"{start}cmd|'/c calc'!A0")[0] == "'"


@pytest.mark.parametrize("text", ["a=b", "\\Device\\a.exe", "0x-1", "", " ", "1-2", "a;b=1", ";"])
def test_other_text_stands_in_a_cell_as_it_is(text):
    assert cell(text) == text


@pytest.mark.parametrize("start", ["a.exe;", ";", "a; ", 'a;"', "=1;=1;"])
def test_nor_is_what_stands_behind_a_semicolon_which_parts_cells_in_some_countries(start):
    for part in csv.reader([cell(f"{start}=cmd|'/c calc'!A0")], delimiter=";"):
        assert not any(each.lstrip().startswith("=") for each in part)


@given(any_text)
def test_no_cell_begins_as_a_formula(text):
    assert not cell(text).lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))
