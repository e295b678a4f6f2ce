"""The chapters, in order."""

from app.maths import (
    c01_adding_noise,
    c02_the_goal,
    c03_walking_back,
    c04_bringing_in_x0,
    c05_three_forms,
    c06_every_term,
    c07_why_gaussian,
    c08_the_integral,
    c09_two_algorithms,
    c10_how_good,
    c11_identity_table,
)
from app.maths.chapter import Chapter

CHAPTERS: tuple[Chapter, ...] = (
    c01_adding_noise.CHAPTER,
    c02_the_goal.CHAPTER,
    c03_walking_back.CHAPTER,
    c04_bringing_in_x0.CHAPTER,
    c05_three_forms.CHAPTER,
    c06_every_term.CHAPTER,
    c07_why_gaussian.CHAPTER,
    c08_the_integral.CHAPTER,
    c09_two_algorithms.CHAPTER,
    c10_how_good.CHAPTER,
    c11_identity_table.CHAPTER,
)
BY_NAME = {chapter.name: chapter for chapter in CHAPTERS}
