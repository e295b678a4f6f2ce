"""The chapters, in their order."""

from app.maths import bayes, forms, goal, identities, integral, judging, kernels, ledger, noising, one_step, reversal
from app.maths.chapter import Chapter

CHAPTERS: tuple[Chapter, ...] = (
    noising.CHAPTER,
    goal.CHAPTER,
    reversal.CHAPTER,
    bayes.CHAPTER,
    forms.CHAPTER,
    ledger.CHAPTER,
    kernels.CHAPTER,
    integral.CHAPTER,
    one_step.CHAPTER,
    judging.CHAPTER,
    identities.CHAPTER,
)
BY_NAME = {chapter.name: chapter for chapter in CHAPTERS}
