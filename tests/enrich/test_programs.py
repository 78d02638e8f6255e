"""Whether an image is the program of a process, by the kernel's short name of it."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etwdetect.enrich.programs import file_name, fits, is_bare, is_same_program
from etwdetect.sources.decode.layout import Layout

FOLDER = "\\Device\\HarddiskVolume3\\Users\\u\\"
CODE_PAGES = (
    "cp1250",
    "cp1251",
    "cp1252",
    "cp1253",
    "cp1255",
    "cp1256",
    "cp874",
    "cp932",
    "cp936",
    "cp949",
    "cp950",
)


def kernel_name(name, page, most=None):
    """What an event's reader gets of *name*, which the kernel put into a code page and cut to *most* bytes."""
    layout = Layout("name ansi")
    return layout.reader(8, ("name",))(name.encode(page)[:most] + b"\0")[0]


@pytest.mark.parametrize(
    "name", ["a.exe", "sav.scr", "is-4P7QB.tmp", "more.com", "payload.bin", "noextension", "x.dll"]
)
def test_an_image_of_the_name_fits_whatever_it_ends_in(name):
    assert fits(name, FOLDER + name)
    assert fits(name.upper(), FOLDER + name)
    assert not fits(name, FOLDER + "other" + name)
    assert not fits(name, FOLDER + name + "x")


@pytest.mark.parametrize("kept", [14, 15])
def test_a_name_cut_to_14_or_15_bytes_fits_the_whole_one(kept):
    assert fits("SearchProtocolHost.exe"[:kept], FOLDER + "SearchProtocolHost.exe")
    assert not fits("SearchProtocolHost.exe"[:kept], FOLDER + "SearchProtector.exe")


def test_a_shorter_name_was_not_cut():
    assert not fits("SearchProtoco", FOLDER + "SearchProtocolHost.exe")


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("прог.exe", "cp1251"),
        ("übung.exe", "cp1252"),
        ("τεστ.scr", "cp1253"),
        ("ソフト.exe", "cp932"),  # its first letter has a backslash as its second byte
        ("程序.exe", "cp936"),
        ("한글.com", "cp949"),
        ("прог.exe", "utf-8"),
    ],
)
def test_a_name_in_a_code_page_fits_the_image_in_unicode(name, page):
    told = kernel_name(name, page)
    assert told.isascii()
    assert is_bare(told)
    assert file_name(told) == told
    assert fits(told, FOLDER + name)
    assert not fits(told, FOLDER + "x" + name)


def test_a_name_whose_letters_the_code_page_lacks_fits():
    assert fits("????.exe", FOLDER + "прог.exe")
    assert fits("??.exe", FOLDER + "\U0001f600.exe")  # two units in UTF-16
    assert not fits("????.exe", FOLDER + "prog.exe")
    assert not fits("???.exe", FOLDER + "прог.exe")


def test_a_sigma_where_a_name_is_cut_is_that_of_the_whole_name():
    name = "ΤΟΠΡΟΓΡΑΜΜΑΤΑΣΗ.exe"  # 14 letters end in a sigma
    assert fits(kernel_name(name, "cp1253", 14), FOLDER + name)


def test_the_sigma_at_the_end_of_a_word_is_that_of_any_other_place_as_for_windows():
    assert is_same_program(FOLDER + "ΣΥΣ.exe", "C:\\συς.exe")


@cache
def letters_of(page):
    """The letters that a file's name can have and that *page* has a way to and back."""
    letters = (chr(code) for code in range(0x21, 0x10000) if chr(code) not in '\\/:*?"<>|')
    return [each for each in letters if each.encode(page, "ignore").decode(page) == each and each.isprintable()]


@st.composite
def names_in_a_code_page(draw):
    page = draw(st.sampled_from(CODE_PAGES))
    letters = st.sampled_from(letters_of(page))
    return draw(st.text(letters, min_size=1, max_size=20)), page, draw(st.sampled_from((None, 14, 15)))


@given(names_in_a_code_page())
def test_any_name_in_any_code_page_cut_or_not_is_bare_and_fits_its_image(case):
    name, page, most = case
    told = kernel_name(name, page, most)
    assert is_bare(told)
    assert fits(told, FOLDER + name)


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_two_texts_can_be_compared(one, other):
    fits(one, other)
    assert is_same_program(one, one)
    assert is_same_program(one, other) == is_same_program(other, one)


def test_a_long_name_of_unmappable_letters_is_compared_in_time_linear_to_it():
    assert not fits("?" * 1_000, "é" * 999 + "a" * 60_000)
    assert not fits("?" * 1_000 + "b", "é" * 60_000)


@pytest.mark.parametrize(
    ("path", "bare"),
    [
        ("a.exe", True),
        ("\\xef\\xf0.exe", True),
        ("\\x83\\x5c.exe", True),
        ("C:\\xe4.exe", False),
        ("\\Device\\HarddiskVolume3\\xe4.exe", False),
        ("\\xe4\\a.exe", False),
        ("\\x41.exe", False),  # no byte beyond ASCII
    ],
)
def test_an_escape_is_no_path_and_a_folder_called_like_one_is(path, bare):
    assert is_bare(path) is bare
    assert file_name(path) == (path if bare else path.rpartition("\\")[2])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.exe", "A.EXE", True),
        ("a.exe", "b.exe", False),
        (FOLDER + "a.exe", "a.exe", True),
        (FOLDER + "a.exe", "b.exe", False),
        ("SearchProtocol", "SearchProtocolHost.exe", True),
        (FOLDER + "прог.exe", "\\xef\\xf0\\xee\\xe3.exe", True),
        ("\\xef\\xf0\\xee\\xe3.exe", "\\xef\\xf0.exe", False),
        (FOLDER + "прог.exe", "evil.exe", True),  # what the kernel makes of such a name is not known for sure
        (None, "a.exe", True),
    ],
)
def test_two_names_are_of_one_program_or_not(one, other, same):
    assert is_same_program(one, other) is same
