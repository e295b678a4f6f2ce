"""Links as people paste them: what programs did to them on the way is undone."""

import pytest

from app.texts.messages import Refusal
from app.ui.links import MAX_FIELDS, query_fields, settings_of_query

LINK = "tab=generate&sampler=ddim&num_inference_steps=12&seed=7"
WANTED = {"tab": "generate", "sampler": "ddim", "num_inference_steps": "12", "seed": "7"}


@pytest.mark.parametrize("ampersand", ["&", "&amp;", "&amp;amp;"])
@pytest.mark.parametrize("end", ["", ".", ",", ")", ").", "。", "》", "”", "!?", "】。", "'", "**", "...", ">"])
def test_what_a_mail_or_a_sentence_did_to_a_link_is_undone(ampersand, end):
    query = LINK.replace("&", ampersand) + end
    assert query_fields(query) == WANTED
    settings = settings_of_query(query)
    assert (settings.sampler, settings.num_inference_steps, settings.seed) == ("ddim", 12, 7)


@pytest.mark.parametrize("values", ["1-10[5]", "1-9 (+2)", "10, 20", "hat (large)", "[a]", "（一）"])
def test_brackets_that_were_opened_stay(values):
    from urllib.parse import quote

    assert query_fields(f"tab=explore&x.values={quote(values)}")["x.values"] == values
    assert query_fields(f"tab=explore&x.values={quote(values)}).")["x.values"] == values


def test_only_the_end_of_the_address_is_mended():
    assert query_fields("checkpoint=a.&seed=7") == {"checkpoint": "a.", "seed": "7"}
    assert query_fields("") == {} and query_fields("seed=") == {"seed": ""} and query_fields("seed=...") == {"seed": ""}


def test_too_many_fields_are_refused():
    with pytest.raises(Refusal):
        query_fields("&".join(f"a{number}=1" for number in range(MAX_FIELDS + 1)))
