"""What a browser tells about a visit is read with suspicion; addresses say which tab they open."""

import json
from types import SimpleNamespace

import pytest

from app.ui.address import RUNS, Visit, sends, tab_of
from app.ui.marks import Mark
from app.visits.following import PLACES

REQUEST = SimpleNamespace(query_params="seed=3")
VISITOR = "0123456789abcdef" * 2


def test_what_the_browser_knows_is_read():
    told = {"visitor": VISITOR, "query": "tab=explore", "tabs": {"compare": "?tab=compare&seed=1"}, "is_again": True}
    visit = Visit.of(json.dumps(told), REQUEST)
    assert (visit.visitor, visit.tab, visit.is_again) == (VISITOR, "explore", True)
    assert visit.query_of("explore") == "tab=explore"
    assert visit.query_of("compare") == "?tab=compare&seed=1"
    assert visit.query_of("generate", "maths") == ""


@pytest.mark.parametrize(
    "told",
    [
        None, "", 5, "[]", "{", '{"visitor": "x"}', '{"visitor": "' + "a" * 33 + '"}', '{"query": 5}',
        '{"tabs": {"compare": []}}', json.dumps({"query": "x" * 20_001}),
        json.dumps({"tabs": {str(number): "" for number in range(21)}}),
    ],
)  # fmt: skip
def test_anything_else_counts_as_untold(told):
    visit = Visit.of(told, REQUEST)
    assert (visit.visitor, visit.query, visit.tabs, visit.is_again) == ("", "seed=3", {}, False)


@pytest.mark.parametrize(
    ("query", "tab"),
    [("", "generate"), ("?", "generate"), ("?seed=1", "generate"), ("tab=maths&chapter=2", "maths"), ("?tab=x", "x"),
     ("&".join("a=1" for _ in range(200)), "generate")],
)  # fmt: skip
def test_the_tab_of_an_address(query, tab):
    assert tab_of(query) == tab


def test_a_mark_names_the_settings_unless_they_are_what_opens_anyway():
    fields = [("seed", "3"), ("name", "a&b")]
    assert Mark.of("generate", fields).address == "?seed=3&name=a%26b"
    assert Mark.of("compare", fields, preset="eta") == Mark(
        "?tab=compare&seed=3&name=a%26b", "tab=compare&preset=eta&seed=3&name=a%26b"
    )
    assert Mark.of("generate", fields, is_home=True) == Mark("", "tab=generate&seed=3&name=a%26b")
    assert Mark.of("compare", fields, is_home=True).address == "?tab=compare"


def test_a_run_can_be_sent_wherever_a_place_is():
    assert set(RUNS) == set(PLACES)
    assert [to for to in RUNS if f'data-send="{to}"' in sends("seed=3", "compare")] == ["generate", "explore"]
