"""The GPU engine: which graphs it keeps, and that its output agrees. Without a GPU, a stand-in records its calls."""

import pytest
import torch
from diffusers import DDPMScheduler

from diffusion.engines.base import EngineError, TorchEngine, check_engine, probe
from diffusion.engines.gpu import RECORDED, GpuEngine, gpu_engine
from diffusion.pipeline import DDPMLabPipeline
from tests.networks import make_unet

CPU = torch.device("cpu")
MAKERS = {"stand-in": lambda unet: engine_of(unet)[0]} | ({"gpu": gpu_engine} if torch.cuda.is_available() else {})


class Recorder:
    """As a CUDA graph: replaying reads what lies in the inputs' places, and writes where the output lies."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, call):
        self.recorded += 1
        output = torch.full_like(call(), float("nan"))  # nothing is there before a replay

        def replay():
            self.replayed += 1
            output.copy_(call())

        return output, replay


def engine_of(unet):
    recorder = Recorder()
    return GpuEngine(unet, CPU, recorder), recorder


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("classes", [0, 3])
def test_it_answers_as_the_network_does(classes, maker):
    unet = make_unet(classes, 1, 8, (8, 16), 1)
    engine = MAKERS[maker](unet)
    check_engine(engine, unet)
    x_t, t, labels = probe(unet, 5)
    torch.testing.assert_close(engine(x_t, t, labels), TorchEngine(unet)(x_t, t, labels), atol=1e-4, rtol=0)


def test_a_call_is_recorded_once_a_batch_size_and_only_the_newest_are_kept():
    unet = make_unet(0, 1, 8, (8, 16), 1)
    engine, recorder = engine_of(unet)
    for count in (*range(1, RECORDED + 1), 1):
        engine(*probe(unet, count))
    assert recorder.recorded == RECORDED
    engine(*probe(unet, RECORDED + 1))  # takes the place of 2, since 1 was asked for again
    engine(*probe(unet, 1))
    assert recorder.recorded == RECORDED + 1
    engine(*probe(unet, 2))
    assert recorder.recorded == RECORDED + 2


def test_an_answer_is_not_overwritten_by_the_next_and_the_network_stays_as_it_is():
    unet = make_unet(0, 1, 8, (8, 16), 1)
    engine, _ = engine_of(unet)
    x_t, t, _ = probe(unet, 2)
    first = engine(x_t, t)
    kept = first.clone()
    engine(-x_t, t)
    assert torch.equal(first, kept)
    with torch.no_grad():
        unet.conv_out.bias += 1
    assert torch.equal(engine(x_t, t), kept), "it is the network as it was"
    assert engine(x_t.double(), t).dtype == torch.float64


def test_the_pipeline_takes_it_wherever_it_is_and_says_so():
    unet = make_unet(0, 1, 8, (8, 16), 1)
    pipeline = DDPMLabPipeline(unet, DDPMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    engine, recorder = engine_of(unet)
    quick = pipeline.with_engine(engine)
    own, same = (p(num_inference_steps=5, output_type="pt").images for p in (pipeline, quick))
    torch.testing.assert_close(own, same, atol=1e-5, rtol=0)
    assert recorder.recorded == 1 and recorder.replayed == 5


def test_without_a_gpu_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match="no GPU"):
        gpu_engine(make_unet(0, 1, 8, (8, 16), 1))


def test_a_gpu_that_fails_is_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    with pytest.raises(EngineError, match="the GPU can't run it"):
        gpu_engine(make_unet(0, 1, 8, (8, 16), 1).to("meta"))
