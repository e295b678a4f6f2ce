"""Declarations of a chapter: its experiments, their controls and what they show. experiment_panel.py wires them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from app.controls.raw_numbers import is_number
from app.maths.scene import Scene
from app.maths.words import number_of
from app.ui.charts import Chart
from app.ui.progress import WorkStep
from diffusion.errors import FieldError

Say = Callable[..., str]  # say(key, **places): the chapter's words in the page's language
Part = Literal["plot", "html", "text"]  # a Chart, HTML, or Markdown with formulas
Parts = Sequence[Chart | str]


@dataclass(frozen=True)
class Control:
    """A slider, or a choice if `choices` are given. Its label is the chapter's word `name`.

    maximum: None means the schedule's T. step: 1 makes it a slider of whole numbers. choices: each is labelled by the
    chapter's word "NAME.CHOICE", or by itself without such a word (numbers). live: whether `show` depends on it; if
    not, moving it changes no part.
    """

    name: str
    value: float | str
    minimum: float = 0
    maximum: float | None = None
    step: float = 1
    choices: tuple[str, ...] = ()
    live: bool = True

    def limits(self, scene: Scene) -> tuple[float, float]:
        """Return the least and the greatest value."""
        return self.minimum, scene.T if self.maximum is None else self.maximum

    def fitted(self, value, scene: Scene | None):
        """Return a number clamped to the scene's limits, which depend on the checkpoint; other values unchanged."""
        if self.choices or scene is None or not is_number(value):
            return value
        least, most = self.limits(scene)
        return min(max(value, least), most)

    def checked(self, value, scene: Scene):
        """Return the value in the experiment's type. Raises FieldError naming the control and its range."""
        if self.choices:
            if not isinstance(value, str) or value not in self.choices:
                raise FieldError.of(self.name, "choice", value, choices=self.choices)
            return value
        least, most = self.limits(scene)
        if not is_number(value) or not least <= value <= most:
            raise FieldError.of(self.name, "within", value, range=f"[{least:g}, {most:g}]")
        if self.step == 1:
            if value != int(value):
                raise FieldError.of(self.name, "whole_number", value)
            return int(value)
        return float(value)

    def parsed(self, text: str):
        """Parse a value in a link; text that is not a number is returned unchanged."""
        if self.choices:
            return text
        try:
            return float(text)
        except ValueError:
            return text


@dataclass(frozen=True)
class Upload:
    """A picture that the visitor uploads. The experiment gets it in the format of the network's pictures, or None."""

    name: str
    value: None = None
    choices: tuple[str, ...] = ()
    live: bool = True

    def fitted(self, value, scene: Scene | None):
        """Return the value unchanged: `checked` makes any picture fit."""
        return value

    def checked(self, value: bytes | None, scene: Scene) -> Tensor | None:
        """Fit a picture file's content: (C, H, W) float32 on the 8-bit grid. Raises FieldError naming the control."""
        return None if value is None else scene.own_picture(value, self.name)


@dataclass(frozen=True)
class Experiment:
    """One experiment of a chapter. name: of its section "see NAME" in the chapter's text.

    parts: the kind of each part, from top to bottom. show(scene, values, say): the parts for the controls' values
    by name, within a second, from closed forms or from results computed once for the checkpoint; None leaves a part as
    it is. run(scene, values, say): the parts from the network, step by step. calls(scene, values): the network calls of
    `run`, and the pictures in each. wide: stack the parts instead of placing them side by side.
    """

    name: str
    parts: tuple[Part, ...]
    show: Callable[[Scene, dict, Say], Parts]
    controls: tuple[Control | Upload, ...] = ()
    run: Callable[[Scene, dict, Say], Iterator[WorkStep[Parts]]] | None = None
    calls: Callable[[Scene, dict], tuple[int, int]] | None = None
    wide: bool = False


@dataclass(frozen=True)
class Chapter:
    """A chapter. name: of its text file; it begins with the chapter's number."""

    name: str
    experiments: tuple[Experiment, ...]

    @property
    def number(self) -> int:
        return number_of(self.name)
