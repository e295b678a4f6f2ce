"""The chapters, in their order."""

from app.maths import noising
from app.maths.chapter import Chapter

CHAPTERS: tuple[Chapter, ...] = (noising.CHAPTER,)
