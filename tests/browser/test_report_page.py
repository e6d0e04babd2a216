"""The page of a report in a real browser: what a user clicks, and what the page then says."""

from collections.abc import Callable
from typing import Any

import pytest

from pytest_convergence.explore.report.document import document_of
from pytest_convergence.explore.report.page import index_page, report_page
from tests.unit.explore.report.stories import HOSTILE, run_pair, story_of

_webdriver = pytest.importorskip("selenium.webdriver", reason="the extra 'browser' has selenium")
ActionChains: Any = _webdriver.ActionChains
Keys: Any = _webdriver.Keys
ScrollOrigin: Any = pytest.importorskip("selenium.webdriver.common.actions.wheel_input").ScrollOrigin

Show = Callable[[str], Any]


class Page:
    """The page of one report, as a user sees it."""

    def __init__(self, driver: Any, document: dict[str, Any]) -> None:
        self.driver = driver
        self.document = document

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        elements: list[Any] = self.driver.find_elements("css selector", selector)
        return elements

    def text(self, selector: str) -> str:
        return str(self.find(selector).text)

    def click(self, selector: str) -> None:
        self.find(selector).click()

    def press(self, *keys: str, on: str = "#timeline") -> None:
        self.find(on).send_keys(*keys)

    def ask(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(
            f"const {{model, view, timeline}} = convergenceReport; {script}", *arguments
        )

    def place(self, **wanted: Any) -> int:
        """The place of the first event that is as wanted."""
        return next(
            place
            for place, event in enumerate(self.document["events"])
            if all(event[name] == value for name, value in wanted.items())
        )

    def at(self, place: int) -> Any:
        """The mouse, moved to an event on the timeline."""
        self.ask("timeline.reveal(arguments[0])", place)
        point = self.ask("return timeline.pointOf(arguments[0])", place)
        canvas = self.find("#timeline")
        size = canvas.size
        return ActionChains(self.driver).move_to_element_with_offset(
            canvas, point["x"] - size["width"] / 2, point["y"] - size["height"] / 2
        )

    def held(self, agent: str) -> str:
        """What the inspector says of an agent."""
        return str(self.find(f".agent[data-agent='{agent}']").text)

    @property
    def selected(self) -> int:
        return int(self.text("#instant").rpartition(" ")[2])


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(story_of(run_pair()))


@pytest.fixture
def page(show: Show, document: dict[str, Any]) -> Page:
    return Page(show(report_page(document)), document)


def test_it_needs_no_network_and_complains_of_nothing(page: Page) -> None:
    assert page.driver.get_log("browser") == []
    assert page.driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert page.driver.execute_script("return document.scripts.length") == 2


def test_hostile_text_is_shown_as_it_is(page: Page) -> None:
    shown = HOSTILE.encode("utf-8", "replace").decode()
    assert page.text("#test").startswith("test_pair.py::test_it[</script><script>alert('x')</script>")
    assert "{{data}}" in page.text("#failure") + shown
    page.click("#explanation-details summary")
    assert "all of it" in page.text("#explanation")
    assert page.all("img, iframe, object") == []


def test_a_click_on_the_timeline_selects_an_instant_and_the_inspector_tells_it(page: Page) -> None:
    first = page.place(kind="receive", agent="asker")
    page.at(first).click().perform()
    assert page.selected == page.document["events"][first]["index"]
    assert "asker: receive reply from echo" in page.text("#event")
    before = page.held("asker")
    assert "locals\nagent" not in before
    assert "await agent.request(" in before
    later = page.place(kind="observe", agent="asker", words="answered(count=1)")
    page.at(later).click().perform()
    assert page.selected == page.document["events"][later]["index"]
    after = page.held("asker")
    assert "state\ncount\n1" in after
    assert "locals\ncount\n2" in after
    assert "state\ncount\n1" not in before


def test_an_instant_between_events_can_be_selected_too(page: Page) -> None:
    place = page.place(kind="receive", agent="asker")
    page.at(place).move_by_offset(0, -18).click().perform()
    assert page.selected == page.document["events"][place]["index"]


def test_life_and_death_are_told(page: Page) -> None:
    page.at(page.place(kind="crash", agent="echo")).click().perform()
    assert "crashed" in page.held("echo")
    page.at(page.place(kind="pause", agent="asker")).click().perform()
    assert "paused" in page.held("asker")
    assert "running" in page.held("echo")


def test_a_deviation_leads_to_its_message(page: Page) -> None:
    assert "without it: the test passes" in page.text("#deviations")
    page.click(".deviation")
    assert "asker→echo #2" in page.text("#event")
    assert "lost" in page.text("#event")


def test_zoom_by_buttons_wheel_and_keys(page: Page) -> None:
    page.click("#zoom-fit")
    whole = page.ask("return timeline.scale")
    page.click("#zoom-in")
    closer = page.ask("return timeline.scale")
    assert closer == pytest.approx(1.5 * whole)
    page.press("+")
    assert page.ask("return timeline.scale") == pytest.approx(1.5 * closer)
    page.click("#zoom-out")
    assert page.ask("return timeline.scale") == pytest.approx(closer)
    canvas = page.find("#timeline")
    under = "return timeline.positionAt(timeline.width / 2)"
    middle = page.ask(under)
    ActionChains(page.driver).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -300).perform()
    assert page.ask("return timeline.scale") > closer
    assert page.ask(under) == pytest.approx(middle, abs=0.2), "what is under the mouse stays there"
    page.press("0")
    assert page.ask("return timeline.scale") == pytest.approx(whole)


def test_dragging_moves_and_selects_nothing(page: Page) -> None:
    for _ in range(4):
        page.click("#zoom-in")
    selected, left = page.selected, page.ask("return timeline.left")
    ActionChains(page.driver).move_to_element(page.find("#timeline")).click_and_hold().move_by_offset(
        150, 0
    ).release().perform()
    assert page.ask("return timeline.left") < left
    assert page.selected == selected


def test_filters_hide_agents_channels_and_kinds(page: Page) -> None:
    events, messages = page.document["events"], {each["uid"]: each for each in page.document["messages"]}

    def count() -> int:
        return int(page.text("#count").partition(" of ")[0])

    assert count() == len(events)
    page.click("#filter-channels [data-name='sync']")
    of_users = [
        event
        for event in events
        if event["message"] is None or messages[event["message"]]["channel"] != "sync"
    ]
    assert count() == len(of_users)
    page.click("#filter-kinds [data-name='send']")
    rest = [event for event in of_users if event["kind"] != "send"]
    assert count() == len(rest)
    assert page.ask("return view.arrows.length") > 0, "arrivals are still drawn"
    page.click("#filter-agents [data-name='echo']")
    assert page.ask("return view.lanes") == ["asker"]
    assert count() == len([event for event in rest if event["message"] is None and event["agent"] != "echo"])
    for chip in (
        "#filter-agents [data-name='echo']",
        "#filter-kinds [data-name='send']",
        "#filter-channels [data-name='sync']",
    ):
        assert page.find(chip).get_attribute("aria-pressed") == "false"
        page.click(chip)
    assert count() == len(events)


def test_search_goes_from_match_to_match(page: Page) -> None:
    page.press("/")
    page.press("answered", on="#search")
    assert page.text("#count").startswith("3 of ")
    page.press(Keys.HOME, Keys.ENTER, on="#search")
    rows = page.all("#rows .row")
    assert len(rows) == 3
    rows[0].click()
    assert page.text("#matches") == "1 of 3"
    page.press(Keys.ENTER, on="#search")
    assert page.text("#matches") == "2 of 3"
    assert page.document["events"][page.place(words="answered(count=1)")]["index"] == page.selected
    page.press(Keys.ESCAPE, on="#search")
    assert page.text("#matches") == ""


def _sent_by(page: Page, agent: str) -> list[int]:
    return [
        each["uid"]
        for each in page.document["messages"]
        if each["sender"] == agent and each["channel"] == "user"
    ]


def test_the_keyboard_is_enough(page: Page) -> None:
    first, last = page.document["events"][0]["index"], page.document["events"][-1]["index"]
    page.press(Keys.HOME)
    assert page.selected == first
    page.press(Keys.ARROW_RIGHT)
    assert page.selected == first + 1
    page.press(Keys.ARROW_LEFT)
    assert page.selected == first
    page.press(Keys.END)
    assert page.selected == last
    arrived = {each["uid"] for each in page.document["messages"] if each["arrivals_ns"]}
    sent = next(
        page.place(message=uid, kind="send", agent="asker")
        for uid in _sent_by(page, "asker")
        if uid in arrived
    )
    page.ask("convergenceReport.select(arguments[0])", sent)
    page.press("m")
    assert (
        page.document["events"][page.place(index=page.selected)]["message"]
        == page.document["events"][sent]["message"]
    )
    assert "receive" in page.text("#event")
    page.press(Keys.ARROW_DOWN)
    assert page.text("#event").startswith("asker:")
    page.press(Keys.ARROW_UP)
    assert page.text("#event").startswith("echo:")
    page.press("?")
    assert page.find("#help").is_displayed()
    page.press(Keys.ESCAPE, on="#help")
    assert not page.find("#help").is_displayed()


def test_true_time_spaces_by_virtual_time(page: Page) -> None:
    page.press("s")
    assert page.find("#scale-mode").get_attribute("aria-pressed") == "true"
    start, end = page.place(kind="pause"), page.place(kind="resume")
    x = [page.ask("return timeline.pointOf(arguments[0]).x", place) for place in (start, end)]
    whole = page.document["events"][-1]["at_ns"]
    expected = 0.5e9 / whole * (len(page.document["events"]) - 1) * page.ask("return timeline.scale")
    assert x[1] - x[0] == pytest.approx(expected, rel=0.01)


def test_the_causal_past_is_what_vector_clocks_say(page: Page) -> None:
    seen = page.place(kind="receive", agent="echo")
    page.at(seen).click().perform()
    page.press("c")
    aside = page.ask("return model.events.map((event, place) => view.isAside(place))")
    trace = run_pair().trace
    causality = trace.causality()
    past = {event.index for event in causality.past(trace[seen])}
    known = [event for event in page.document["events"] if event["clock"] is not None]
    assert [
        not aside[place] for place, event in enumerate(page.document["events"]) if event["clock"] is not None
    ] == [event["index"] in past for event in known]


def test_light_and_dark(page: Page) -> None:
    def ground() -> str:
        return str(page.driver.execute_script("return getComputedStyle(document.body).backgroundColor"))

    before = ground()
    page.press("t")
    assert ground() != before
    page.driver.refresh()
    assert ground() != before, "the choice is kept"
    page.click("#theme-button")
    assert ground() == before


def test_an_address_names_an_event(page: Page) -> None:
    page.press(Keys.HOME)
    address = page.driver.current_url
    assert address.endswith("#event=0")
    page.driver.get("about:blank")
    page.driver.get(address)
    assert page.selected == 0


def _many(number: int) -> dict[str, Any]:
    """A report with ``number`` events, sent and received in turn by eight agents."""
    document = document_of(story_of(run_pair()))
    names = [f"agent-{each}" for each in range(8)]
    blank = {"words": "", "detail": {}, "clock": None, "decisive": None}
    events, messages, changes = [], [], []
    for index in range(number):
        uid, at_ns = index // 2 + 1, index * 1_000_000
        sender, recipient = names[uid % 8], names[(uid * 3 + 1) % 8]
        if index % 2 == 0:
            messages.append({**document["messages"][0], "uid": uid, "id": f"{sender}→{recipient} #{uid}", "sender": sender,
                             "recipient": recipient, "sent_at_ns": at_ns, "arrivals_ns": [at_ns + 1_000_000]})  # fmt: skip
        kind, agent = ("receive", recipient) if index % 2 else ("send", sender)
        events.append({"index": index, "at_ns": at_ns, "kind": kind, "agent": agent, "message": uid, **blank})
        changes.append(
            {
                "since": index,
                "at_ns": at_ns,
                "agent": agent,
                "held": {"locals/at": str(index)},
                "gone": [],
            }
        )
    states = {"source": "snapshots", "changes": changes}
    return {
        **document,
        "agents": names,
        "events": events,
        "messages": messages,
        "states": states,
        "spans": [],
    }


def test_ten_thousand_events_take_few_strokes_and_few_rows(show: Show) -> None:
    document = _many(10_000)
    page = Page(show(report_page(document)), document)
    page.click("#zoom-fit")
    strokes = page.ask(
        """
        const context = CanvasRenderingContext2D.prototype;
        let count = 0;
        for (const name of ["stroke", "fill", "fillText"]) {
          const draw = context[name];
          context[name] = function (...rest) { count += 1; return draw.apply(this, rest); };
        }
        timeline.paint();
        const all = count;
        count = 0;
        timeline.begin(5000);
        timeline.paint();
        return [all, count];
        """
    )
    assert strokes[0] < 300, "everything in sight at once"
    assert strokes[1] < 1_500, "some eighty events in sight"
    assert len(page.all("#rows .row")) < 60
    page.ask("convergenceReport.select(9999)")
    assert "9999" in page.held(document["events"][9999]["agent"])
    page.ask("convergenceReport.select(4321)")
    assert "4321" in page.held(document["events"][4321]["agent"])
    assert page.driver.get_log("browser") == []


def test_the_index_lists_reports_and_links_to_them(show: Show) -> None:
    report = {
        "test": f"test_a.py::test_b[{HOSTILE}]",
        "failure": HOSTILE,
        "deviations": ["message a→b #1 lost"],
        "files": {"html": "a-1.html", "json": "a-1.json", "mmd": "a-1.mmd", "shiviz.log": "a-1.shiviz.log"},
    }
    driver = show(index_page({"format": "x", "version": 1, "reports": [report, report]}))
    assert driver.find_element("id", "number").text == "2 failing tests of the last run"
    link = driver.find_element("css selector", "a.test")
    assert link.get_attribute("href").endswith("/a-1.html")
    assert "</script>" in link.text
    assert driver.get_log("browser") == []
    driver = show(index_page({"format": "x", "version": 1, "reports": []}))
    assert driver.find_element("id", "number").text == "No test of the last run failed."
