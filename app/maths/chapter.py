"""What a chapter is made of: experiments, their controls and what they show. Declarations; app/maths/tab.py wires."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from app.controls.codecs import is_number
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
    """A slider, or a choice where `choices` are given. Its label is the chapter's word `name`.

    maximum: None stands for the schedule's T. A slider of whole numbers has step 1. choices: each has the chapter's
    word "NAME.CHOICE", or is its own word where it is a number. live: whether `show` depends on it; else a move of it
    leaves what is there.
    """

    name: str
    value: float | str
    minimum: float = 0
    maximum: float | None = None
    step: float = 1
    choices: tuple[str, ...] = ()
    live: bool = True

    def limits(self, scene: Scene) -> tuple[float, float]:
        """The least and the most."""
        return self.minimum, scene.T if self.maximum is None else self.maximum

    def fitted(self, value, scene: Scene | None):
        """The value, or where another checkpoint leaves no room for it the nearest that there is."""
        if self.choices or scene is None or not is_number(value):
            return value
        least, most = self.limits(scene)
        return min(max(value, least), most)

    def checked(self, value, scene: Scene):
        """The value as the experiment takes it. Raises FieldError naming the control and its range."""
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
        """A value that stands in a link."""
        if self.choices:
            return text
        try:
            return float(text)
        except ValueError:
            return text


@dataclass(frozen=True)
class Upload:
    """A picture of the visitor's own. The experiment gets it as the network's pictures are, or None."""

    name: str
    value: None = None
    choices: tuple[str, ...] = ()
    live: bool = True

    def fitted(self, value, scene: Scene | None):
        """Any picture is made to fit."""
        return value

    def checked(self, value: bytes | None, scene: Scene) -> Tensor | None:
        """A picture file's content -> (C, H, W) float32 on the 8-bit grid. Raises FieldError naming the control."""
        return None if value is None else scene.own_picture(value, self.name)


@dataclass(frozen=True)
class Experiment:
    """Something to try. name: of its section "see NAME" in the chapter's text.

    parts: what it shows, from top to bottom. show(scene, values, say): the parts for values of the controls by name;
    closed forms, or what was computed once for the checkpoint, within a second; None for a part keeps what is there.
    run(scene, values, say): on the network, step by step. calls(scene, values): network calls and pictures in each.
    wide: the parts below each other where False would put them side by side.
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
    """name: of its text file, which begins with its number."""

    name: str
    experiments: tuple[Experiment, ...]

    @property
    def number(self) -> int:
        return number_of(self.name)
