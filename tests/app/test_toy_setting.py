"""A new setting, one field in a copy of the settings, appears everywhere in the program.

toy_setting.py runs inside that copy and makes the checks.
"""

import pytest

from tests.program_copy import copy_program, run_checks, write_above

FIELD = """    noise_scale: Annotated[
        float,
        Control(group="sampler", step=0.1, unit="sd", chips=(0.5, 1, 3)),
        OnAxis("0-2[5]"),
        When("sampler", lambda sampler: sampler == "ddpm"),
    ] = Field(1.0, ge=0, le=2, description="How much of the fresh noise is added.")

"""


@pytest.mark.slow  # starts the whole program anew, in the copy
def test_one_field_is_a_setting_with_all_that_belongs_to_it(tmp_path):
    copy = copy_program(tmp_path)
    write_above(copy / "diffusion" / "settings.py", '@field_validator("class_label", mode="before")', FIELD)
    run_checks(copy, "tests/app/toy_setting.py")
