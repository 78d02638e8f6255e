"""What stands in the page before any script runs."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

from etwdetect.enrich.detection import Calls
from etwdetect.results.report.page import MAX_SECTIONS, ROWS
from tests.results.report.conftest import HOSTILE, attach, detection, hostile, origin, page_of


class Parsed(HTMLParser):
    """The elements and the texts of a page, as a browser takes them."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.scripts = []
        self.texts = []
        self._in = None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in = tag

    def handle_endtag(self, tag):  # noqa: ARG002 (its signature)
        self._in = None

    def handle_data(self, data):
        (self.scripts if self._in in ("script", "style") else self.texts).append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}


def test_the_same_input_gives_the_same_page():
    assert page_of(attach()) == page_of(attach())


def test_losses_stand_before_all_else():
    origins = [
        origin(warnings=("trace.etl: 3 events were lost",), notes=("trace.etl: 7 creators are unknown",)),
        origin(error="b.etl: is no trace"),
    ]
    text = Parsed(page_of(attach(), origins, filtered_out=4)).text
    said = (
        "b.etl: is no trace",
        "3 events were lost",
        "4 remote threads did not pass",
        "7 creators are unknown",
        "queued APCs",
        "Threads by kind and severity",
    )
    places = [text.index(each) for each in said]
    assert places == sorted(places)


def test_it_is_said_that_nothing_was_lost_only_where_nothing_was():
    assert "Nothing was lost" in Parsed(page_of(attach())).text
    assert "Nothing was lost" not in Parsed(page_of([], [origin(error="b.etl: is no trace")])).text


def test_losses_that_only_the_evidence_of_saved_records_tells_of_are_told():
    records = [detection(evidence=("session-start", each)) for each in ("events-lost:3", "buffers-lost:1")]
    text = Parsed(page_of(records)).text
    assert "Nothing was lost" not in text
    assert "the evidence of remote threads says: buffers-lost:1, events-lost:3" in text
    assert "Nothing was lost" in Parsed(page_of([detection(evidence=("session-start",))])).text


def test_the_summary_counts_by_kind_and_severity():
    text = Parsed(page_of([*attach(), detection(70, count=95)])).text.replace("\u2013", "-")
    assert "100 remote threads" in text
    assert "Kind high low informational not rated all" in text
    assert "debugger break-in - 2 - - 2" in text
    assert "kind not known - - - 95 95" in text


def test_what_is_not_known_is_said():
    text = Parsed(page_of([detection()])).text
    for words in ("kind not known", "not rated", "no reason given", "User DESKTOP\\ada not known"):
        assert words in text


def test_the_policy_lets_run_what_stands_in_the_page_and_nothing_else():
    page = page_of(attach())
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"

    def hashes(tag):
        texts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return {f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts}

    assert set(rules["script-src"].split()) == hashes("script")
    assert set(rules["style-src"].split()) == hashes("style")


def test_nothing_in_the_page_names_another_file():
    names = [name for _, attributes in Parsed(page_of(attach())).elements for name in attributes]
    assert not {"src", "srcset", "style", "action", "onclick", "onload"} & set(names)
    links = [attributes.get("href", "#") for _, attributes in Parsed(page_of(attach())).elements]
    assert all(link.startswith("#") for link in links)


def test_hostile_texts_make_no_element_and_no_character_that_does_not_print():
    plain, page = (
        Parsed(page_of(attach())),
        page_of(hostile(), [origin(warnings=HOSTILE), origin(error=HOSTILE[1])]),
    )
    assert Parsed(page).tags - plain.tags == {"li"} - plain.tags
    assert len(Parsed(page).scripts) == len(plain.scripts)
    assert all(char.isprintable() or char == "\n" for char in Parsed(page).text)
    page.encode("utf-8")  # no half of a surrogate pair


def test_the_first_rows_are_there_without_a_script():
    tags = Parsed(page_of(detection(number) for number in range(3 * ROWS))).elements
    assert len([1 for tag, attributes in tags if tag == "td" and attributes.get("class") == "time"]) == ROWS


def test_pairs_beyond_the_bound_have_no_part_and_the_page_says_so():
    def source(number):
        return detection(source=detection().source.__class__(number, f"{number}.exe"))

    page = page_of(source(number) for number in range(MAX_SECTIONS + 3))
    assert f'id="pair-{MAX_SECTIONS}"' in page
    assert f'id="pair-{MAX_SECTIONS + 1}"' not in page
    assert "3 beyond the 200 worst have no part here" in Parsed(page).text


def test_nothing_found_needs_no_script():
    page = Parsed(page_of([]))
    assert "No remote threads were found." in page.text
    assert "script" not in page.tags


def test_a_call_stack_stands_in_its_pair_and_with_its_record():
    calls = Calls("C:\\Windows\\System32\\ntdll.dll+36bb", "C:\\ntoskrnl.exe+7a053")
    made = page_of([replace(detection(), calls=calls)])
    assert made.count("stack: ntdll.dll+36bb; in the kernel: ntoskrnl.exe+7a053") == 3  # and in the data
    assert "Call stack of the creating thread" not in page_of([detection()])
