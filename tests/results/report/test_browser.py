"""The page as people meet it: in a real browser."""

import csv
import io
import json
import time

import pytest

from etwdetect.enrich.detection import FiredRule
from etwdetect.results.report.page import ROWS
from tests.results.report.conftest import CONSOLE, HOSTILE, attach, detection, fleet, hostile, origin, page_of

webdriver = pytest.importorskip("selenium.webdriver")
exceptions = pytest.importorskip("selenium.common.exceptions")

ROW_TEXTS = "return [...document.querySelectorAll('#threads tbody tr')].map((row) => row.textContent)"


def wait_until(holds, seconds=60.0):
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come to hold"
        time.sleep(0.02)


def painted(shown, canvas):
    """How many different colours a chart has."""
    script = """
        const canvas = document.querySelector(arguments[0]);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;"""
    return shown.run(script, canvas)


def click_on(shown, canvas, colour):
    """Click where a chart has *colour* first, a little inside of it."""
    script = """
        const canvas = document.querySelector(arguments[0]);
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        for (let at = 0; at < data.length; at += 4) {
            if (arguments[1].every((part, index) => Math.abs(data[at + index] - part) < 3)) {
                const scale = canvas.width / canvas.clientWidth;
                return [((at / 4) % canvas.width) / scale + 2, Math.floor(at / 4 / canvas.width) / scale + 2];
            }
        }"""
    across, down = map(round, shown.run(script, canvas, colour))
    element = shown.one(canvas)
    shown.run("arguments[0].scrollIntoView({ block: 'center' })", element)
    width, height = element.size["width"], element.size["height"]
    actions = webdriver.ActionChains(shown.browser)
    actions.move_to_element_with_offset(element, across - width // 2, down - height // 2).click().perform()


def filter_by(shown, text):
    box = shown.one("input[name=text]")
    box.clear()
    box.send_keys(text or " ")


def test_the_page_shows_its_rows_and_draws_its_charts_without_a_complaint(show):
    shown = show(page_of(attach()))
    assert shown.column(2) == ["low", "low", "informational", "informational", "high"]
    assert painted(shown, "#timeline canvas") > 3
    assert painted(shown, "#graph canvas") > 3
    assert shown.complaints() == []


def test_the_page_asks_for_nothing_but_itself(show):
    shown = show(page_of(attach()))
    shown.header("kind").click()
    time.sleep(0.2)
    assert shown.loaded() == [shown.url]


def test_the_policy_holds_in_the_browser(show):
    shown = show(page_of(attach()))
    shown.run("new Image().src = 'http://localhost:1/x.png'")
    wait_until(lambda: any("default-src 'none'" in each for each in shown.complaints()))
    for made_of_text in ("body.innerHTML = '<b>text</b>'", "createElement('script').textContent = 'text'"):
        with pytest.raises(exceptions.JavascriptException, match="requires 'Trusted"):
            shown.run(f"document.{made_of_text}")


def test_hostile_names_stay_text(show):
    shown = show(page_of(hostile(), [origin(warnings=HOSTILE, notes=HOSTILE)]))
    shown.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert shown.browser.title == "Remote threads in trace.etl"
    assert shown.all("body img, main script") == []
    assert "</script><img src=x onerror=document.title='run'>.exe" in shown.column(4)
    assert "escape\\x1b[2Jturn\\u202egpj.exe" in shown.column(4)
    assert "half\\ud800pair.exe" in shown.column(4)
    assert shown.complaints() == []


def test_hostile_names_do_not_break_the_layout(show):
    shown = show(page_of(hostile()))
    wide = (
        "return [...document.querySelectorAll('main > *')].filter((each) => each.scrollWidth > innerWidth).length"
    )
    assert shown.run(wide) == 0
    assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
    heights = shown.run(
        "return [...document.querySelectorAll('#threads tbody tr')].map((row) => row.offsetHeight)"
    )
    assert max(heights) < 50


def test_a_column_sorts_up_and_then_down(show):
    shown = show(page_of(attach()))
    shown.header("severity").click()
    assert shown.column(2) == ["high", "low", "low", "informational", "informational"]
    assert shown.one("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    shown.header("severity").click()
    assert shown.column(2) == ["informational", "informational", "low", "low", "high"]
    assert [each.get_attribute("aria-sort") for each in shown.all("th[aria-sort]")] == ["descending"]


@pytest.mark.parametrize(
    ("key", "number"), [("time", 1), ("kind", 3), ("source", 4), ("target", 5), ("start", 6), ("signs", 7)]
)
def test_every_column_sorts_by_what_it_shows(show, key, number):
    shown = show(page_of(attach()))
    if key == "time":
        shown.header("kind").click()
    shown.header(key).click()
    cells = [cell.partition(":")[0] if key in ("source", "target") else cell for cell in shown.column(number)]
    assert cells == sorted(cells, key=str.lower)


def test_equal_rows_stay_in_order_of_time(show):
    shown = show(page_of(attach()))
    for _ in range(2):
        shown.header("severity").click()
        times = [
            when for severity, when in zip(shown.column(2), shown.column(1), strict=True) if severity == "low"
        ]
        assert times == ["2020-05-12 13:08:15.280", "2020-05-12 13:08:58.660"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("CSRSS", 2),  # whatever the case
        ("-p 8336", 2),  # the command line
        ("13288", 1),  # a thread's id
        ("1328", 0),  # not a part of one
        ("dbguiremotebreakin", 2),
        ("into notepad", 1),  # a Sigma rule
        ("session-start", 1),
        ("notepad csrss", 2),  # both words
        ("nothing at all", 0),
    ],
)
def test_the_search_finds(show, text, rows):
    shown = show(page_of(attach()))
    filter_by(shown, text)
    wait_until(lambda: shown.one("[name=shown]").text == f"{rows} of 5 rows")
    assert len(shown.all("#threads tbody tr")) == rows


def test_severity_and_kind_filter_and_the_charts_follow(show):
    shown = show(page_of(attach()))
    before = shown.run("return document.querySelector('#graph canvas').height")
    shown.one("select[name=severity] option[value=low]").click()
    assert shown.column(2) == ["low", "low"]
    assert shown.run("return document.querySelector('#graph canvas').height") != before
    assert "low: 2" in shown.run("return document.getElementById('timeline-words').textContent")
    shown.one("select[name=kind] option[value='console control']").click()
    assert shown.one("[name=shown]").text == "0 of 5 rows"
    assert shown.complaints() == []


def test_a_bar_of_the_timeline_keeps_its_time_and_a_button_lets_go(show):
    shown = show(page_of([detection(0), detection(1000)]))
    click_on(shown, "#timeline canvas", [0x7A, 0x84, 0x90])
    wait_until(lambda: shown.one("[name=shown]").text == "1 of 2 rows")
    assert shown.one("[name=range]").text.startswith("2020-05-12 13:08:")
    shown.one("[name=range]").click()
    assert shown.one("[name=shown]").text == "2 of 2 rows"


def test_a_band_of_the_graph_keeps_its_pair_and_a_button_lets_go(show):
    shown = show(page_of(attach()))
    red, alpha = (0xB3, 0x26, 0x1E), round(0.35 * 255)
    click_on(shown, "#graph canvas", [*red, alpha])
    wait_until(lambda: shown.one("[name=shown]").text == "1 of 5 rows")
    assert shown.column(2) == ["high"]
    assert shown.one("[name=pair]").text.startswith("invoice.exe 4120 → notepad.exe 8336")
    shown.one("[name=pair]").click()
    assert shown.one("[name=shown]").text == "5 of 5 rows"
    assert shown.complaints() == []


def test_a_pair_shows_its_rows_and_a_row_opens_its_pair(show):
    shown = show(page_of(attach()))
    shown.run("arguments[0].click()", shown.one("#pair-2 button"))
    assert shown.column(4) == ["windbg.exe 7392:4788", "windbg.exe 7392:13092"]
    assert shown.run("return document.activeElement.name") == "pair"
    shown.run("document.getElementById('pair-2').open = false")
    shown.run("arguments[0].click()", shown.one("#threads tbody a"))
    wait_until(lambda: shown.run("return document.getElementById('pair-2').open"))


def test_all_of_it_works_by_keyboard(show):
    shown = show(page_of(attach()))
    reached = []
    for _ in range(40):
        webdriver.ActionChains(shown.browser).send_keys(webdriver.Keys.TAB).perform()
        reached.append(
            shown.run("const e = document.activeElement; return e.name || e.className || e.textContent")
        )
        outline = shown.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline not in ("", "none"), reached[-1]
        if reached[-1] == "Time (UTC)":
            break
    assert reached[0] == "skip"
    assert [each for each in reached if each in ("text", "severity", "kind")] == ["text", "severity", "kind"]
    webdriver.ActionChains(shown.browser).send_keys(webdriver.Keys.TAB, webdriver.Keys.ENTER).perform()
    assert shown.column(2)[0] == "high"


def test_the_table_turns_its_pages(show):
    shown = show(page_of(detection(number) for number in range(2 * ROWS + 7)))
    assert len(shown.all("#threads tbody tr")) == ROWS
    assert shown.one(".pager output").text == f"1\u2013{ROWS} of {2 * ROWS + 7}"
    shown.one("[data-page=last]").click()
    assert shown.one(".pager output").text == f"{2 * ROWS + 1}\u2013{2 * ROWS + 7} of {2 * ROWS + 7}"
    assert len(shown.all("#threads tbody tr")) == 7
    assert shown.one("#threads tbody tr").get_attribute("aria-rowindex") == str(2 * ROWS + 2)
    shown.one("[data-page=next]").click()
    assert len(shown.all("#threads tbody tr")) == 7
    shown.one("[data-page=first]").click()
    assert shown.one(".pager output").text.startswith("1\u2013")


def test_the_script_writes_the_rows_that_stand_in_the_page_already(show):
    """Rows are made in two places: once for those without scripts, once by the script."""
    shown = show(page_of([*attach(), detection(70, CONSOLE, count=3), *hostile()]))
    scripted = ["".join(each.split()) for each in shown.run(ROW_TEXTS)]
    shown.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    shown.open()
    plain = ["".join(each.get_attribute("textContent").split()) for each in shown.all("#threads tbody tr")]
    assert plain == scripted


def test_how_many_threads_a_row_stands_for_is_seen_whole(show):
    shown = show(page_of([detection(0, count=12_345), *attach()]))
    assert shown.one("#threads .repeats").text == "\u00d712,345"
    assert shown.run(
        "const cell = arguments[0]; return cell.scrollWidth <= cell.clientWidth", shown.one("td.time")
    )


def test_it_can_be_read_without_scripts(show):
    shown = show(page_of(attach(), [origin(warnings=("trace.etl: 3 events were lost",))]))
    shown.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    shown.open()
    assert "3 events were lost" in shown.one("#limits").text
    assert "5 remote threads" in shown.one("#summary").text
    assert len(shown.all("#threads tbody tr")) == 5
    assert "DbgUiRemoteBreakin" in shown.one("#pairs").text
    assert not any(each.is_displayed() for each in shown.all(".filters, .chart, .pager"))
    assert "need JavaScript" in shown.one("#threads").text


def colours(shown):
    return shown.run("const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]")


def timeline(shown):
    return shown.run("return document.querySelector('#timeline canvas').toDataURL()")


def test_it_is_dark_where_the_reader_wants_that_and_light_on_paper(show):
    shown = show(page_of(attach()))
    light = colours(shown), timeline(shown)
    shown.run("dispatchEvent(new Event('beforeprint'))")
    paper = timeline(shown)
    shown.run("dispatchEvent(new Event('afterprint'))")
    assert timeline(shown) == light[1]
    shown.media(prefers_color_scheme="dark")
    wait_until(lambda: timeline(shown) != light[1])
    assert colours(shown) != light[0]
    shown.run("dispatchEvent(new Event('beforeprint'))")
    assert timeline(shown) == paper
    shown.media("print", prefers_color_scheme="dark")
    assert colours(shown) == light[0]
    assert shown.complaints() == []


def test_on_paper_there_is_nothing_to_press_and_nothing_is_folded_away(show):
    shown = show(page_of(attach()))
    shown.media("print")
    assert not any(each.is_displayed() for each in shown.all(".filters, nav, .pager button, .pair button"))
    for part in shown.all("details.printed"):
        assert part.find_elements("css selector", "table, ul")[0].size["height"] > 0
    assert shown.run("return document.documentElement.scrollWidth <= innerWidth")
    assert shown.browser.print_page().startswith("JVBERi")  # %PDF in base 64


def test_the_table_of_a_fleet_fits_on_paper(show):
    shown = show(page_of(fleet(60, 40)))
    paper = {"width": 794, "height": 1100, "deviceScaleFactor": 1, "mobile": False}
    shown.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
    shown.media("print")
    wait_until(lambda: shown.run("return innerWidth") == 794)
    assert shown.run("return document.documentElement.scrollWidth <= innerWidth")


def test_it_fits_a_narrow_screen(show):
    shown = show(page_of(attach()))
    narrow = {"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    shown.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    wait_until(lambda: shown.run("return document.querySelector('#graph canvas').clientWidth") < 360)
    assert shown.run("return document.documentElement.scrollWidth <= 360")
    assert shown.complaints() == []


def test_times_far_apart_make_no_more_bars_than_fit(show):
    years = 365 * 86_400
    shown = show(page_of([detection(-400 * years), detection(0), detection(5_900 * years)]))
    assert shown.column(1)[0].startswith("1620-")
    assert shown.column(1)[2].startswith("79")
    assert painted(shown, "#timeline canvas") > 3
    assert shown.complaints() == []


def test_nothing_found_is_said_and_needs_no_script(show):
    shown = show(page_of([]))
    assert "No remote threads were found." in shown.one("#summary").text
    assert shown.all("script, .filters, #threads") == []
    assert shown.complaints() == []


def test_of_several_hosts_each_row_names_its_own_and_they_can_be_chosen(show):
    shown = show(page_of(fleet(80, 40)))
    assert shown.column(2)[:3] == ["PC00", "PC01", "PC02"]
    assert len(shown.all("select[name=host] option")) == 41
    shown.one("select[name=host] option[value=PC07]").click()
    assert (shown.column(2), shown.one("[name=shown]").text) == (["PC07", "PC07"], "2 of 80 rows")
    shown.one("select[name=host] option").click()
    filter_by(shown, "pc39")
    wait_until(lambda: shown.one("[name=shown]").text == "2 of 80 rows")
    filter_by(shown, "")
    shown.header("host").click()
    shown.header("host").click()
    assert shown.column(2)[0] == "PC39"
    assert shown.complaints() == []


def test_of_one_host_there_is_no_column(show):
    shown = show(page_of(fleet(3, 1)))
    assert shown.all("th[data-key=host]") == []
    assert not shown.one("select[name=host]").is_displayed()


@pytest.mark.parametrize(("text", "rows"), [("2020-05-12", 5), ("13:08:58", 1), ("13:09", 3), ("2021-", 0)])
def test_dates_and_times_are_searched_for_as_they_are_shown(show, text, rows):
    shown = show(page_of(attach()))
    filter_by(shown, text)
    wait_until(lambda: shown.one("[name=shown]").text == f"{rows} of 5 rows")


def test_equal_bands_are_one_by_program(show):
    shown = show(page_of(fleet(35, 18)))
    hint = shown.one("#graph-hint").text
    assert "programs, all processes of a name together" in hint
    assert shown.run("return document.querySelector('#graph canvas').clientHeight") < 100
    assert "processes." in show(page_of(attach())).one("#graph-hint").text


def drag(shown, canvas, begin, end):
    """Drag over a chart, between two parts of its width."""
    element = shown.one(canvas)
    shown.run("arguments[0].scrollIntoView({ block: 'center' })", element)
    width = element.size["width"]
    actions = webdriver.ActionChains(shown.browser)
    actions.move_to_element_with_offset(element, round((begin - 0.5) * width), 0).click_and_hold()
    actions.move_by_offset(round((end - begin) * width / 2), 0).move_by_offset(round((end - begin) * width / 2), 0)
    actions.release().perform()


def test_what_is_dragged_over_on_the_timeline_is_shown_larger_until_it_is_let_go(show):
    shown = show(page_of(fleet(1000, 3)))
    hint = "return document.getElementById('timeline-hint').textContent"
    before = shown.run(hint)
    drag(shown, "#timeline canvas", 0.4, 0.6)
    wait_until(lambda: shown.one("[name=range]").is_displayed())
    rows = int(shown.one("[name=shown]").text.split()[0])
    assert 100 < rows < 400
    assert shown.run(hint) != before, "the bars are shorter times"
    assert shown.all(".brush") == []
    shown.one("[name=range]").click()
    assert (shown.one("[name=shown]").text, shown.run(hint)) == ("1,000 of 1,000 rows", before)
    assert shown.complaints() == []


def test_the_timeline_stays_where_a_bar_was_chosen(show):
    shown = show(page_of([detection(0), detection(1000)]))
    top = "return document.querySelector('#timeline .chart').getBoundingClientRect().top"
    shown.run("arguments[0].scrollIntoView({ block: 'center' })", shown.one("#timeline canvas"))
    before = shown.run(top)
    click_on(shown, "#timeline canvas", [0x7A, 0x84, 0x90])
    wait_until(lambda: shown.one("[name=shown]").text == "1 of 2 rows")
    assert abs(shown.run(top) - before) < 2


def test_a_row_opens_what_is_known_of_it(show):
    rules = (
        FiredRule(
            "Into Notepad", "7de7d2ac-0000-0000-0000-000000000000", "high", ("attack.t1055",), ("https://x",)
        ),
    )
    known = {"sigma": ("Into Notepad",), "sigma_rules": rules, "techniques": ("T1055",), "host": "PC1"}
    shown = show(page_of([detection(0, severity="high", **known), *attach()]))
    shown.one("#threads tbody tr .opener").click()
    texts = shown.one("#threads tr.known").text
    for text in ("windbg.exe -p 8336", "DESKTOP\\ada", "T1055", "level high", "7de7d2ac", "https://x", "PC1"):
        assert text in texts
    assert shown.one("#threads .opener").get_attribute("aria-expanded") == "true"
    shown.one("#threads tbody td.kind").click()
    assert shown.all("#threads tr.known") == []


def test_what_is_filtered_is_exported_in_the_order_of_the_table(show):
    shown = show(page_of([*attach(), *hostile()]))
    keep = "const made = []; URL.createObjectURL = (blob) => { made.push(blob); return '#'; }; window.made = made"
    shown.run(keep)
    shown.one("select[name=severity] option[value=low]").click()
    shown.header("time").click()
    for form in ("csv", "json"):
        shown.one(f"[data-export={form}]").click()
    table, listed = shown.browser.execute_async_script(
        "const done = arguments[0]; Promise.all(made.map((blob) => blob.text())).then(done)"
    )
    rows = list(csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))))
    assert [row["Time"] for row in rows] == ["2020-05-12T13:08:58.660Z", "2020-05-12T13:08:15.280Z"]
    assert [row["SourceImage"] for row in rows] == ["C:\\Tools\\windbg.exe"] * 2
    assert [{name: str(value) for name, value in each.items()} for each in json.loads(listed)] == rows
    shown.one("select[name=severity] option[value=high]").click()
    shown.one("[data-export=csv]").click()
    table = shown.browser.execute_async_script("const done = arguments[0]; made[2].text().then(done)")
    assert all(each["Kind"][0] not in "=+-@" for each in csv.DictReader(io.StringIO(table)))


def test_long_names_are_whole_on_a_wide_screen(show):
    kind = "a kind of our own that has a rather long name"
    rule = FiredRule("A rule with a title that is longer than most titles are")
    shown = show(page_of([detection(0, kind=kind, sigma=(rule.title,)), detection(1)]))
    wide = {"width": 2200, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    shown.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", wide)
    cells = "[...document.querySelectorAll('#threads td')]"
    cut = f"return {cells}.filter((each) => each.scrollWidth > each.clientWidth).length"
    wait_until(lambda: shown.run("return innerWidth") == 2200)
    assert shown.run(cut) == 0


def test_fifty_thousand_rows_of_forty_hosts_filter_and_open(show):
    shown = show(page_of(fleet(50_000, 40)))
    shown.one("select[name=host] option[value=PC39]").click()
    assert shown.one("[name=shown]").text == "1,250 of 50,000 rows"
    shown.one("#threads .opener").click()
    assert "PC39" in shown.one("#threads tr.known").text
    assert shown.complaints() == []


def test_a_hundred_thousand_rows_sort_and_filter(show):
    shown = show(page_of(detection(n / 10, CONSOLE, threads=(n, n % 40_000)) for n in range(100_000)))
    assert shown.one("[name=shown]").text == "100,000 of 100,000 rows"
    assert shown.run("return document.querySelectorAll('*').length") < 2_000
    shown.header("source").click()
    filter_by(shown, "99999")
    wait_until(lambda: shown.one("[name=shown]").text == "1 of 100,000 rows")
