"""The page starts before the parts that compute, and a visitor who is faster than these misses nothing."""

import json
import re
import subprocess
import sys
import threading
import urllib.request

import pytest
from playwright.sync_api import expect

from app.ui.lazy_import import LazyModule
from tests.app.pages import plan
from tests.app.running import REPOSITORY, client_of, running_app

HEAVY = ("torch", "diffusers", "torchmetrics", "scipy", "transformers")


def test_the_page_is_laid_out_without_torch():
    program = (
        "import sys; from app.page import build_demo, launch_arguments; from app.server.options import Options\n"
        "build_demo(Options()); launch_arguments(Options())\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
        "from app.ui.lazy_import import import_all; import_all().join()\n"
        "print([name for name in ('torch', 'diffusers') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == ["[]", "['torch', 'diffusers']"]


def test_an_endpoint_answers_right_after_the_start(checkpoints, tmp_path):
    with running_app(checkpoints, tmp_path) as address:
        images, run = client_of(address).predict(
            checkpoint="clothes", num_inference_steps=2, num_images=2, api_name="/generate"
        )
    assert len(images) == 2
    assert run["settings"]["num_inference_steps"] == 2


def opening_of(address: str) -> int:
    """The number of the event that fills the page: of those at loading and after, the one with most outputs."""
    events = json.load(urllib.request.urlopen(f"{address}/config"))["dependencies"]
    at_loading = {event["id"] for event in events if any(how == "load" for _, how in event["targets"])}
    early = [event for event in events if event["id"] in at_loading or event["trigger_after"] in at_loading]
    return max(early, key=lambda event: len(event["outputs"]))["id"]


def number_of(request) -> int:
    """Of the event that a page asks for."""
    return request.post_data_json["fn_index"]


@pytest.mark.parametrize(("locale", "generate", "waking"), [
    ("en-US", "Generate", "just been started"),
    ("zh-CN", "开始生成", "刚刚启动"),
])  # fmt: skip
def test_a_page_opened_at_once_is_calm_and_then_whole(checkpoints, tmp_path, chromium, locale, generate, waking):
    with running_app(checkpoints, tmp_path) as address, chromium.new_context(locale=locale) as context:
        page = context.new_page()
        whole, held = opening_of(address), []  # a server that is still busy with itself answers late

        def hold(route):
            held.append(route) if number_of(route.request) == whole else route.continue_()

        page.route("**/run/predict*", hold)
        with page.expect_request(lambda sent: "/run/predict" in sent.url and number_of(sent) == whole):
            page.goto(address)
        page.locator("body.greeted").wait_for(timeout=60_000)
        expect(page.locator("#waking")).to_contain_text(waking)
        expect(page.get_by_role("button", name=generate, exact=True)).not_to_be_visible()
        held.pop().continue_()
        page.locator("body.ready").wait_for(timeout=120_000)
        expect(page.locator("#waking")).not_to_be_visible()
        expect(page.get_by_role("button", name=generate, exact=True)).to_be_visible()
        expect(plan(page)).to_contain_text("50")
        expect(page.locator("#show .stage img").first).to_be_visible()
        page.get_by_role("button", name=re.compile("Behind the scenes|幕后")).click()
        expect(page.locator("#plots svg.marks")).to_have_count(3)


def test_two_threads_that_use_a_module_at_once_both_get_it_whole(tmp_path, monkeypatch):
    name, counter = "slow_to_import", "how_often_imported"
    slow = f"import time, {counter}\n{counter}.times.append(1)\nfirst = 1\ntime.sleep(0.3)\nlast = 2\n"
    (tmp_path / f"{name}.py").write_text(slow, encoding="utf-8")
    (tmp_path / f"{counter}.py").write_text("times = []\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module, found = LazyModule(name), []
    threads = [threading.Thread(target=lambda: found.append(module.last)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 4
    assert sys.modules.pop(counter).times == [1]
    assert sys.modules.pop(name).first == 1
