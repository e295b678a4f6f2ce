"""A new option of the training data, one field and its use in a copy of the program, works on every way in.

toy_option.py runs inside that copy and makes the checks.
"""

import pytest

from tests.program_copy import copy_program, run_checks, write_above

FIELD = '    least_side: int = Field(0, ge=0, le=256, description="Leave out pictures with a shorter side.")\n'
USE = """    from PIL import Image

    sources = [source for source in sources if min(Image.open(source.content).size) >= config.least_side]
"""


@pytest.mark.slow  # trains in the copy, started anew
def test_an_option_of_the_data_is_one_field_and_its_use(tmp_path):
    copy = copy_program(tmp_path)
    write_above(copy / "training" / "data" / "config.py", "    seed: int = Field(", FIELD)
    write_above(copy / "training" / "data" / "folder.py", "    layout = sort_out(", USE)
    run_checks(copy, "tests/training/toy_option.py")
