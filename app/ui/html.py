"""HTML of the page's right side: pictures, plan and progress. The texts come from app/texts.

All states of the stage have the same outline, so that nothing jumps when one replaces another. A sentence that stays on
the page while the visitor changes the language is there in every language: style.css shows the right one, and words.js
puts it into the attributes for those who listen.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from app.texts import DEFAULT, in_each, say, say_in_each
from app.ui.marks import Mark
from app.ui.progress import Progress

WIDE, NARROW = 2.0, 4 / 3  # width over height of the stage on a wide and on a narrow screen, as in style.css


Words = dict[str, str]  # a sentence in each language


@dataclass(frozen=True)
class Shown:
    """A picture on the stage. address: of the image. alt: text for screen readers. caption: shown below it.

    data: what buttons of the lightbox need to know of it, by the name of its data attribute; see lightbox.py. file: the
    name under which it is saved.
    """

    address: str
    alt: Words
    caption: Words | None = None
    data: Mapping[str, str | int] = field(default_factory=dict)
    file: str = "ddpm-lab.png"


def words(sentence: Words) -> str:
    """Return a sentence in every language; the page's language decides which one shows."""
    spans = "".join(f'<span lang="{language}">{escape(text)}</span>' for language, text in sentence.items())
    return f'<span class="words">{spans}</span>'


def picture_link(shown: Shown, inside: str | None = None) -> str:
    """Return a picture that a click shows large (see lightbox.py), as a link that saves it.

    inside: shown in place of the picture.
    """
    data = "".join(f' data-{name}="{escape(str(value))}"' for name, value in shown.data.items())
    label = {"title": shown.alt} | ({} if inside is None else {"aria_label": shown.alt})
    inside = f'<img src="{shown.address}" {said(alt=shown.alt)}>' if inside is None else inside
    file = f'href="{shown.address}" download="{escape(shown.file)}"'
    return f'<a class="zoom" {file} {said(**label)}{data}>{inside}</a>'


def said(**sentences: Words) -> str:
    """Return attributes (alt, title, aria_label) that are read aloud; words.js keeps them in the page's language."""
    named = {name.replace("_", "-"): sentence for name, sentence in sentences.items()}
    first = " ".join(f'{name}="{escape(sentence[DEFAULT])}"' for name, sentence in named.items())
    return f'{first} data-words="{escape(json.dumps(named, ensure_ascii=False))}"'


def panels(shown: list[Shown]) -> str:
    """Return sheets of pictures side by side, each with its caption."""
    images = "".join(f'<img src="{one.address}" {said(alt=one.alt)}>' for one in shown)
    captions = "".join(f"<p>{words(one.caption)}</p>" for one in shown)
    return f'<div class="stage"><div class="box panels">{images}</div><div class="captions">{captions}</div></div>'


def results(
    pictures: list[Shown], sentence: Words, all_address: str, all_file: str, all_label: Words,
    made: Words, moved: Words, key: str, sends: str,
) -> str:  # fmt: skip
    """Return single pictures in a grid, each to enlarge and to save, and one link that saves them all.

    made: the settings that made them. moved: shown while the plan of the page has another key than theirs.
    sends: see `app.ui.address.sends`.
    """
    wide, narrow = best_columns(len(pictures), WIDE), best_columns(len(pictures), NARROW)
    links = "".join(map(picture_link, pictures))
    style = ";".join(
        f"--{name}:{columns};--{name}-width:{width:.2f}%"
        for name, (columns, width) in (("wide", wide), ("narrow", narrow))
    )
    save_all = f'<a href="{all_address}" download="{escape(all_file)}">{words(all_label)}</a>'
    return (
        f'<div class="stage" data-key="{escape(key)}">'
        f'<div class="box results"><div class="grid" data-gallery style="{style}">{links}</div></div>'
        f'<div class="captions"><p>{words(sentence)} {save_all}<br><span class="made">{words(made)}</span> '
        f'<span class="other" role="status">{words(moved)}</span></p><p>{sends}</p></div></div>'
    )


SHOW = (
    "const film = this.closest('.film'), text = JSON.parse(film.dataset.captions)[this.value];"
    "film.style.setProperty('--k', this.value); this.setAttribute('aria-valuetext', text);"
    "film.querySelector('output').textContent = text"
)
PLAY = (
    "const film = this.closest('.film'), range = film.querySelector('input'), last = Number(range.max);"
    "const stop = () => { clearInterval(film.timer); film.timer = null; film.classList.remove('playing') };"
    "if (film.timer) { stop(); return }"
    "const show = (k) => { range.value = k; range.dispatchEvent(new Event('input')) };"
    "if (Number(range.value) === last) show(0); film.classList.add('playing');"
    "film.timer = setInterval(() => { if (Number(range.value) >= last || !film.isConnected) stop();"
    " else show(Number(range.value) + 1) }, 140)"
)


def film(
    strips: list[Shown], size: tuple[int, int], captions: list[str], label: Words, play: Words, is_large: bool
) -> str:
    """Return a player for the frames of a run: strips side by side, and one slider that moves them all.

    The image of each strip stacks its frames vertically. size: (width, height) of one frame. captions: one per frame,
    the same in every language. is_large: a frame holds many pictures; on a phone the strips then scroll sideways.
    """
    last = len(captions) - 1
    figures = "".join(
        f'<figure><div class="strip" role="img" {said(aria_label=one.alt)} '
        f'style="background-image:url({one.address})"></div><figcaption>{words(one.caption)}</figcaption></figure>'
        for one in strips
    )
    style = f"--frames:{len(captions)};--last:{max(1, last)};--k:{last};--ratio:{size[0]}/{size[1]}"
    return (
        f'<div class="film{" large" if is_large else ""}" style="{style}" '
        f'data-captions="{escape(json.dumps(captions))}">'
        f'<div class="strips">{figures}</div><div class="scrub">'
        f'<button type="button" onclick="{escape(PLAY)}" {said(aria_label=play)}></button>'
        f'<input type="range" class="slide" min="0" max="{last}" value="{last}" oninput="{escape(SHOW)}" '
        f'{said(aria_label=label)} aria-valuetext="{escape(captions[-1])}"><output>{escape(captions[-1])}</output>'
        "</div></div>"
    )


def strips(heads: list[str], rows: list[tuple[Words, list[Shown | None]]], axis: Words) -> str:
    """Return rows of pictures on one axis of noise level. heads: column heads. axis: says what the heads are.

    rows: a label and one picture per column each; None for a picture that does not exist yet.
    """
    cells = ["<span></span>", *(f'<span class="head">{escape(head)}</span>' for head in heads)]
    for label, shown in rows:
        images = (picture_link(one) if one else "<span></span>" for one in shown)
        cells.append(f'<span class="row">{words(label)}</span>{"".join(images)}')
    grid = f'<div class="rows" data-gallery style="--columns:{len(heads)}">{"".join(cells)}</div>'
    return f'<div class="strip-rows">{grid}<p class="note">{words(axis)}</p></div>'


def over(
    pairs: list[tuple[Shown, Shown]],
    names: tuple[Words, Words],
    label: Words,
    columns: int,
) -> str:
    """Return pairs of pictures, each pair on top of each other, and one slider that sets how much of each side shows.

    names: of the left and of the right pictures. app/compare/over.js moves the cut; a corner of each pair enlarges its
    pictures, one after the other.
    """
    cells = "".join(
        f'<div class="pair"><img src="{left.address}" {said(alt=left.alt)} draggable="false">'
        f'<img class="top" src="{right.address}" {said(alt=right.alt)} draggable="false">'
        f"{picture_link(left, inside='')}{picture_link(right, inside='')}</div>"
        for left, right in pairs
    )
    sides = "".join(f'<b class="{side}">{words(name)}</b>' for side, name in zip(("left", "right"), names, strict=True))
    return (
        f'<div class="over"><div class="names">{sides}</div>'
        f'<div class="pairs" data-gallery style="--columns:{columns}">{cells}</div>'
        f'<input type="range" class="slide" min="0" max="100" value="50" {said(aria_label=label)}></div>'
    )


def notice(title: Words, body: Words, kind: str = "") -> str:
    """Return a message in place of the pictures. kind: a class of its own for on_screen.js and the styles."""
    text = f"<h2>{words(title)}</h2><p>{words(body)}</p>"
    return (
        f'<div class="stage"><div class="box notice {kind}"><div>{text}</div></div>'
        '<div class="captions"><p></p></div></div>'
    )


def broken_link(error: Words) -> str:
    """Return the notice for a link whose settings cannot be used here. error: why."""
    return notice(in_each(lambda language: say(language, "broken.link")), error, "broken")


def broken_line(error: Words) -> str:
    """Return what `broken_link` says in one line, for a tab without a stage."""
    said = in_each(
        lambda language: say(language, "errors.part", part=say(language, "broken.link"), problem=error[language])
    )
    return f'<div class="plan wrong" role="status"><p>{words(said)}</p></div>'


def best_columns(count: int, ratio: float) -> tuple[int, float]:
    """Return how many columns show `count` squares largest in a box of width : height = ratio, and the % of its width
    that they take.

    A grid of c columns and r rows that fills the box's height takes c / (r ratio) of its width.
    """
    sizes = {
        columns: min(1 / columns, 1 / (-(-count // columns) * ratio)) for columns in range(1, count + 1)
    }  # the side of a picture, in widths of the box
    columns = max(sizes, key=lambda columns: (sizes[columns], -columns))
    return columns, 100 * columns * sizes[columns]


def plan_line(text: str, is_error: bool = False, key: str = "", mark: Mark | None = None) -> str:
    """Return the HTML of what the settings will do, or of what is wrong with them: one paragraph per line of text.

    key: of the pictures that they make; see `results`. mark: of what the tab shows.
    """
    lines = "".join(f"<p>{escape(line)}</p>" for line in text.splitlines())
    attributes = mark.attributes if mark else ""
    kind = "plan wrong" if is_error else "plan"
    return f'<div class="{kind}" role="status" data-key="{escape(key)}"{attributes}>{lines}</div>'


COPY = (
    "const box = this.parentElement, field = box.querySelector('input, pre');"
    "(navigator.clipboard ? navigator.clipboard.writeText(field.value ?? field.textContent) : Promise.reject())"
    ".catch(() => { field.select ? field.select() : getSelection().selectAllChildren(field);"
    " document.execCommand('copy') }).finally(() => box.classList.add('copied'))"
)


def copy_line(text: str, label: Words, button: Words, done: Words) -> str:
    """Return one line of text to copy, with its button."""
    field = f'<input readonly value="{escape(text)}" {said(aria_label=label)} onclick="this.select()">'
    return f'<div class="copy">{field}{_copy_button(button, done)}</div>'


def copy_script(text: str, label: Words, button: Words, done: Words) -> str:
    """Return a script to copy, with its button."""
    script = f'<pre tabindex="0" role="region" {said(aria_label=label)}>{escape(text)}</pre>'
    return f'<div class="copy script">{script}{_copy_button(button, done)}</div>'


def _copy_button(button: Words, done: Words) -> str:
    return (
        f'<button type="button" onclick="{COPY}"><span class="before">{words(button)}</span>'
        f'<span class="after" role="status">{words(done)}</span></button>'
    )


def idle_line(key: str) -> str:
    """Return the progress line of a tab on which nothing runs. key: of its sentence, under "status"."""
    return _meter(in_each(lambda language: say(language, f"status.{key}")))


def waiting_line(before: tuple[int, float]) -> str:
    """Return the progress line of a queued job. before: how many jobs are ahead of it, and their seconds in all."""
    count, seconds = before
    if not count:
        return _meter(in_each(lambda language: say(language, "status.waiting")), is_busy=True)

    def sentence(language: str) -> str:
        return say(language, "status.in_queue", count=count, seconds=max(1, round(seconds)))

    return _meter(in_each(sentence), is_busy=True)


def progress_line(progress: Progress) -> str:
    """Return the progress line of a job that runs or has ended."""
    places = {"step": progress.done, "steps": progress.total, "seconds": f"{progress.seconds:.1f}"}

    def sentence(language: str) -> str:
        if progress.state != "running":
            return say(language, f"status.{progress.state}", **places)
        left = say(language, "status.left", seconds=max(1, round(progress.seconds_left)))
        return f"{say(language, 'status.step', **places)} · {left}"

    is_busy = progress.state == "running"
    return _meter(in_each(sentence), progress.done, progress.total, is_busy)


def _meter(sentence: Words, done: int = 0, total: int = 1, is_busy: bool = False) -> str:
    """Return a bar and a sentence. is_busy: a job waits or runs, and on a phone the line stays on the screen.

    Screen readers announce the sentence only when nothing runs: one every quarter of a second helps nobody.
    """
    is_running, label = 0 < done < total, say_in_each("status.progress")
    return (
        f'<div class="progress{" busy" if is_busy else ""}">'
        f'<progress value="{done}" max="{total}" {said(aria_label=label)}></progress>'
        f'<p aria-live="{"off" if is_running else "polite"}">{words(sentence)}</p></div>'
    )
