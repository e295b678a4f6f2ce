"""The tabs of the page as one: opened at an address, handed a run, and moved to another tab's checkpoint."""

import gradio as gr

from app.compare.links import SIDES
from app.compare.tab import CompareTab
from app.explore.run import known_run
from app.explore.tab import ExploreTab
from app.generate.made import made_elsewhere
from app.generate.tab import GenerateTab
from app.maths.tab import MathsTab
from app.server.services import Services
from app.texts import known_language
from app.texts.messages import explain
from app.ui.address import ARRIVE, NOT_BY_ADDRESS, Opener, Visit, tab_of
from app.ui.events import PRIVATE, UNCHANGED, Component, Sent, Shown, failure
from app.ui.html import idle_line
from app.ui.images import visible
from app.ui.links import page_address, query_fields, settings_of_query
from app.visits.following import PLACES, Followed, follow

NAMES = ("generate", "compare", "explore", "maths")
CHECKPOINT_FIELDS = {"compare": "a.checkpoint", "explore": "base.checkpoint"}  # in the addresses of tabs


class PageTabs:
    """The features of the page, in the tabs that they are laid out in. opener: its events ask for an address."""

    def __init__(
        self, services: Services, language: gr.Radio, opener: Opener, tabs: gr.Tabs,
        generate: GenerateTab, compare: CompareTab, explore: ExploreTab, maths: MathsTab,
    ):  # fmt: skip
        self.services, self.language, self.opener, self.tabs = services, language, opener, tabs
        self.generate, self.compare, self.explore, self.maths = generate, compare, explore, maths
        self.followed = gr.State(None)  # Followed, as a tuple
        self._checkpoints: dict[str, Component] = {
            "generate": generate.form.controls["checkpoint"],
            "explore": explore.form.controls["checkpoint"],
        } | {f"compare.{side}": form.controls["checkpoint"] for side, form in zip(SIDES, compare.forms, strict=True)}

    # Opening ---------------------------------------------------------------------------------------------------------

    @property
    def whole(self) -> set[Component]:
        """The outputs of `open` and `go`."""
        features = self.generate.whole | self.compare.whole | self.explore.whole | self.maths.opened
        return {self.tabs} | features

    def open(self, request: gr.Request, language: str, visit: Visit) -> Shown:
        """Return all tabs as a visit finds them: the address's tab as it says, the others as they were last."""
        self.services.visitors.keep(request.session_hash, visit.visitor or str(request.session_hash))
        address, query, name = page_address(request), visit.query, self._checkpoint_asked(visit.query)
        again = {"is_again": visit.is_again}
        # The chapters use Generate's settings, and an address of a tab that does not exist opens it
        of_generate = visit.query_of("generate", "maths", *({visit.tab} - {*NAMES}))
        shown = self.generate.open(language, of_generate, address, request, name, **again)
        shown |= self.compare.open(language, visit.query_of("compare"), address, request, name, **again)
        shown |= self.explore.open(language, visit.query_of("explore"), request, name)
        shown |= self.maths.open(query)
        lines = self.generate.run.progress, self.compare.outcome.progress, self.explore.progress
        shown |= {line: idle_line("cut") for line in lines if line.elem_id == visit.cut}
        return shown | ({self.tabs: gr.update(selected=visit.tab)} if visit.tab in NAMES else {})

    def go(self, event: gr.EventData, request: gr.Request, sent: Sent) -> Shown:
        """Open the address that the page asks for (Back, Forward, or a link on it), or send a run to a place."""
        data = event._data if isinstance(event._data, dict) else {}
        query, place = data.get("query"), data.get("to")
        if not isinstance(query, str):
            return UNCHANGED
        language = known_language(sent[self.language])
        if place is None:
            return self._opened(request, language, query.removeprefix("?"))
        if place not in PLACES:
            return UNCHANGED
        try:
            return self._sent(request, language, query.removeprefix("?"), place, sent)
        except ValueError as error:
            raise failure(explain(error, language)) from None

    def _opened(self, request: gr.Request, language: str, query: str) -> Shown:
        tab, address = tab_of(query), page_address(request)
        tab = tab if tab in NAMES else NAMES[0]
        shown: Shown = {self.tabs: gr.update(selected=tab)}
        if tab == "compare":
            return shown | self.compare.open(language, query, address, request)
        if tab == "explore":
            return shown | self.explore.open(language, query, request)
        if tab == "maths":
            shown |= self.maths.open(query)
        return shown | self._with_known(request, language, query)

    def _with_known(self, request: gr.Request, language: str, query: str) -> Shown:
        """Return Generate with the settings of a query; with their pictures if Explore or Compare has made them."""
        if made := known_run(self.services, self.explore.jobs.known(request), query):
            plan, found = made
            images, is_finite = visible(found.result), bool(found.result.isfinite().all())
            whole = made_elsewhere(plan, images, is_finite, found.seconds, found.made_by)
            self.generate.run.adopt(request, whole)
        elif made := self.compare.outcome.run(request, query):
            self.generate.run.adopt(request, made_elsewhere(*made))
        return self.generate.restore(request, language, query)

    def _sent(self, request: gr.Request, language: str, query: str, place: str, sent: Sent) -> Shown:
        settings, (tab, _, side) = settings_of_query(query), place.partition(".")
        if settings is None:
            return UNCHANGED
        shown: Shown = {self.tabs: gr.update(selected=tab)}
        if tab == "compare":
            values = self.compare.values(sent)
            return shown | self.compare.receive(request, language, values, SIDES.index(side), settings)
        if tab == "explore":
            return shown | self.explore.receive(request, language, *self.explore.values(sent), settings)
        return shown | self._with_known(request, language, query)

    def _checkpoint_asked(self, query: str) -> str | None:
        """Return the checkpoint that an address asks for, if it can be used: the other tabs follow it."""
        tab = tab_of(query)
        try:
            name = query_fields(query).get(CHECKPOINT_FIELDS.get(tab, "checkpoint"))
        except ValueError:
            return None
        return name if name and self.services.checkpoint(name) else None

    # Following -------------------------------------------------------------------------------------------------------

    def note(self, sent: Sent) -> Shown:
        """Note the checkpoints that the tabs have when the page is open."""
        return {self.followed: ({place: sent[one] for place, one in self._checkpoints.items()}, {})}

    def follow(self, tab: str, request: gr.Request, sent: Sent) -> Shown:
        """Move the tab that was opened to the checkpoint that was chosen in another, unless it has one of its own."""
        if sent[self.followed] is None:  # the page is not open yet
            return UNCHANGED
        now = {place: sent[one] for place, one in self._checkpoints.items()}
        opened = [place for place in PLACES if place.partition(".")[0] == tab]
        followed, moves = follow(Followed(*sent[self.followed]), now, opened)
        shown: Shown = {self.followed: tuple(followed)}
        if not moves:
            return shown
        if tab == "compare":
            names = {place.partition(".")[2]: name for place, name in moves.items()}
            return shown | self.compare.follow(request, sent, names)
        return shown | (self.explore if tab == "explore" else self.generate).follow(request, sent, moves[tab])

    # Events ----------------------------------------------------------------------------------------------------------

    @property
    def inputs(self) -> set[Component]:
        """The inputs of `go`, `note` and `follow`."""
        return {self.language, self.followed} | self.generate.inputs | self.compare.inputs | self.explore.inputs

    def wire(self, titles: dict[str, gr.Tab], opened) -> None:
        """Connect the tabs. titles: the tabs themselves by name. opened: the event that fills the page."""
        raw = {"preprocess": False, **PRIVATE}
        opened.then(self.note, {*self._checkpoints.values()}, {self.followed}, **raw)
        gone = self.opener.opens.select(self.go, self.inputs, self.whole, **raw)
        self.maths.wire_turn(gone)
        gone.then(None, js=ARRIVE, **PRIVATE)
        for name, tab in titles.items():
            feature = "generate" if name == "maths" else name  # the chapters use Generate's checkpoint
            outputs = {self.followed} | getattr(self, feature).whole

            def follow(request: gr.Request, sent: Sent, feature: str = feature) -> Shown:
                return self.follow(feature, request, sent)

            chosen = tab.select(follow, self.inputs, outputs, js=NOT_BY_ADDRESS, **raw)
            if name == "maths":
                self.maths.wire_enter(chosen)
