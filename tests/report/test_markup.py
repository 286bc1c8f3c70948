"""Markup cannot be injected into, whatever the text."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonograph.report.markup import Markup, join, json_island, table, tag, text, without_empty

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "<!-- <script>",
    "&lt;already&gt;",
    "javascript:alert(1)",
    "\u2028\u2029\x00\x1b",
)


class Reader(HTMLParser):
    """Collects elements, attributes and text as a browser would."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, name, attributes):
        self.tags.append((name, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def read(markup: str) -> Reader:
    reader = Reader()
    reader.feed(markup)
    reader.close()
    return reader


PLAIN = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)


@given(words=PLAIN)
def test_text_arrives_as_it_was(words):
    found = read(tag("p", words))
    assert [name for name, _ in found.tags] == ["p"]
    assert found.text == words


@given(words=PLAIN)
def test_attribute_arrives_as_it_was(words):
    assert read(tag("a", "here", title=words)).tags == [("a", {"title": words})]


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_text_makes_no_element(words):
    found = read(tag("div", words, title=words))
    assert [name for name, _ in found.tags] == ["div"]
    assert set(found.tags[0][1]) == {"title"}


@given(value=st.recursive(PLAIN | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=4), max_leaves=8))
def test_json_arrives_as_it_was_and_stays_inert(value):
    island = json_island("data", value)
    assert island.lower().count("</script") == 1
    body = island[island.index(">") + 1 : island.rindex("</script")]
    assert not set(body) & set("<>&\u2028\u2029")
    assert json.loads(body) == value


def test_json_refuses_what_browsers_cannot_read():
    with pytest.raises(ValueError, match="JSON"):
        json_island("data", float("nan"))


def test_control_characters_are_shown_as_replaced():
    assert text("a\x00b\x1b") == "a\ufffdb\ufffd"


@pytest.mark.parametrize("name", ["onclick", "onLoad", "style", "a b", "1x"])
def test_attributes_that_the_policy_forbids_are_refused(name):
    with pytest.raises(ValueError, match="not an attribute"):
        tag("p", **{name: "x"})


@pytest.mark.parametrize("name", ["p onclick", "", "1", "p>"])
def test_element_names_are_checked(name):
    with pytest.raises(ValueError, match="not an element name"):
        tag(name)


def test_markup_is_not_escaped_twice_and_nothing_is_left_out():
    assert join("a<", None, ["b", [tag("i", "c")]]) == "a&lt;b<i>c</i>"
    assert text(Markup("<b>")) == "<b>"
    assert tag("input", checked=True, disabled=False, value=None) == "<input checked>"


def test_table_aligns_words_and_keeps_cells():
    made = table(["name", "n"], [["a", tag("td", "1", class_="cell")]])
    assert '<td class="w">a</td><td class="cell">1</td>' in made
    assert "<thead>" not in table(["", ""], [["a", "b"]])


def test_empty_columns_are_left_out():
    head, rows = without_empty(["a", "b", "c"], [["1", "–", "–"], ["2", "–", "3"]])
    assert head == ["a", "c"]
    assert rows == [["1", "–"], ["2", "3"]]
