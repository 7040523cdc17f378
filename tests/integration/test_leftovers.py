"""A call that is over leaves nothing behind."""

import gc
from types import FrameType

from nextchar.v1 import generation_pb2 as pb
from tests.support.serving import Serve, failure
from tests.support.tiny_model import TinyModel
from tests.support.waiting import until


def frames_of_calls() -> list[FrameType]:
    """Returns the frames of calls that something still refers to."""
    frames = [thing for thing in gc.get_objects() if isinstance(thing, FrameType)]
    return [frame for frame in frames if frame.f_code.co_qualname.startswith("GenerationService.")]


async def test_the_message_of_a_refused_call_does_not_wait_for_the_garbage_collector(
    tiny: TinyModel, serve: Serve
) -> None:
    async with serve(tiny.int8, max_prompt_characters=10) as serving:
        gc.collect()
        gc.disable()
        try:
            await failure(serving.stub.Generate(pb.GenerateRequest(prompt="a" * 100)))
            await until(lambda: not frames_of_calls())
        finally:
            gc.enable()
