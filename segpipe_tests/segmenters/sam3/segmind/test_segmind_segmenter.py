"""Prompts to requests, and answers to results, over a real server."""

import asyncio
import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.detection import Thresholds
from segpipe.errors import (
    BackendProtocolError,
    BackendRefusedError,
    BackendUncertainError,
    BudgetExceededError,
    PromptError,
    UnsupportedPromptError,
)
from segpipe.flow.run_deal import is_retryable
from segpipe.prompt import Exemplar, Mode, Point, Prompt
from segpipe.segmenters.sam3.segmind import SegmindSegmenter
from segpipe.segmenters.sam3.segmind.segmind_request import Upload
from segpipe.vision.boxes import Box
from segpipe.vision.image import decode_image
from segpipe.vision.mask import Mask, iou
from segpipe.vision.mask_codecs import to_base64
from segpipe_tests.goods import goods_image
from segpipe_tests.loopback import Loopback, Received, Reply, json_reply
from segpipe_tests.segmenters.sam3.segmind.conftest import KEY
from segpipe_tests.segmenters.sam3.segmind.double import (
    FAST,
    IMAGE,
    MASKS,
    box_of,
    bright_masks,
    config_for,
    segment,
    using,
)

BOXES = [box_of(mask) for mask in MASKS]
BILLED = {"x-cost": "0.25", "x-remaining-credits": "7.5"}
ALL_GOODS = json_reply(
    {"masks": [to_base64(mask) for mask in MASKS], "scores": [0.5, 0.9, 0.7]}, headers=BILLED
)


def asked(server: Loopback) -> list[dict[str, Any]]:
    """The fields of every request, without the picture."""
    bodies: list[dict[str, Any]] = [received.json() for received in server.requests]
    return [{name: body[name] for name in body if name != "image"} for body in bodies]


class TestRequest:
    def test_has_the_documented_fields_and_the_key_in_its_header(self, tmp_path: Path) -> None:
        with Loopback(ALL_GOODS) as server:
            segment(config_for(server.url, tmp_path), Prompt(texts=("  goods ",)))
        (received,) = server.requests
        assert (received.method, received.path) == ("POST", "/v1/sam3-image")
        assert received.headers["x-api-key"].startswith("canary")
        assert received.headers["content-type"] == "application/json"
        assert asked(server) == [
            {
                "text_prompt": "goods",
                "threshold": 0.5,
                "return_masks": True,
                "return_preview": False,
                "return_overlay": False,
                "points_per_side": 32,
                "pred_iou_thresh": 0.88,
                "max_masks": 100,
            }
        ]

    def test_carries_the_photo(self, tmp_path: Path) -> None:
        before = IMAGE.copy()
        with Loopback(ALL_GOODS) as server:
            segment(config_for(server.url, tmp_path))
        sent = decode_image(base64.b64decode(server.requests[0].json()["image"]))
        assert sent.rgb.shape == IMAGE.shape
        assert np.abs(sent.rgb.astype(int) - IMAGE).mean() < 6
        assert np.array_equal(IMAGE, before)

    def test_scales_a_large_photo_and_its_prompts_down(self, tmp_path: Path) -> None:
        image = np.zeros((300, 400, 3), np.uint8)
        prompt = Prompt(
            mode=Mode.INSIDE_BOX,
            boxes=(Box(10, 20, 61, 90),),
            points=(Point(60.9, 89.9), Point(10, 20)),
        )
        with Loopback(json_reply([])) as server:
            segment(config_for(server.url, tmp_path, max_side=100), prompt, image)
        (fields,) = asked(server)
        assert json.loads(fields["boxes_input"]) == [[2, 5, 16, 23]]
        assert json.loads(fields["points_input"]) == [[15, 22], [2, 5]]
        assert json.loads(fields["point_labels_input"]) == [1, 1]
        sent = decode_image(base64.b64decode(server.requests[0].json()["image"]))
        assert sent.rgb.shape == (75, 100, 3)

    @pytest.mark.parametrize("texts", [(), ("  \n",)], ids=["none", "blank"])
    def test_has_no_text_when_there_is_none(self, tmp_path: Path, texts: tuple[str, ...]) -> None:
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), Prompt(texts=texts))
        assert "text_prompt" not in asked(server)[0]
        assert {one.label for one in result.detections} == {None}

    def test_carries_unicode_text(self, tmp_path: Path) -> None:
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), Prompt(texts=("чашка ☕",)))
        assert asked(server)[0]["text_prompt"] == "чашка ☕"
        assert {one.label for one in result.detections} == {"чашка ☕"}


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.integers(1, 2048),
    st.tuples(*[st.floats(0, 1)] * 4),
)
def test_prompts_lie_inside_the_upload_and_are_never_empty(
    width: int, height: int, side: int, shares: tuple[float, float, float, float]
) -> None:
    scale = min(1.0, side / max(width, height))
    upload = Upload("", max(1, round(width * scale)), max(1, round(height * scale)), width, height)
    x1, x2 = sorted((shares[0] * width, shares[1] * width))
    y1, y2 = sorted((shares[2] * height, shares[3] * height))
    x, y = upload.point(Point(min(x1, width - 1e-9), min(y1, height - 1e-9)))
    assert 0 <= x < upload.width
    assert 0 <= y < upload.height
    if x1 < x2 and y1 < y2:
        left, top, right, bottom = upload.box(Box(x1, y1, x2, y2))
        assert 0 <= left < right <= upload.width
        assert 0 <= top < bottom <= upload.height


class TestFindAll:
    def test_gives_everything_best_first_with_its_usage(self, tmp_path: Path) -> None:
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), Prompt(texts=("goods",)))
        assert [one.box for one in result.detections] == [BOXES[1], BOXES[2], BOXES[0]]
        assert [one.label for one in result.detections] == ["goods"] * 3
        assert (result.segmenter_id, result.image_width, result.image_height) == (
            "sam3-segmind",
            160,
            120,
        )
        assert (result.usage.calls, result.usage.cost) == (1, 0.25)
        assert result.usage.remaining_credits == 7.5
        assert result.pass_stats[0].found == 3

    def test_with_points_alone_gives_the_one_item_that_they_mean(self, tmp_path: Path) -> None:
        x1, y1, _, _ = BOXES[2]
        away = Point(BOXES[1].x1 + 1, BOXES[1].y1 + 1, positive=False)
        prompt = Prompt(points=(Point(x1 + 3, y1 + 3), away))
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), prompt)
        assert [one.box for one in result.detections] == [BOXES[2]]
        assert json.loads(asked(server)[0]["point_labels_input"]) == [1, 0]

    def test_with_points_alone_may_find_nothing(self, tmp_path: Path) -> None:
        with Loopback(json_reply([])) as server:
            result = segment(config_for(server.url, tmp_path), Prompt(points=(Point(1, 1),)))
        assert result.detections == ()

    def test_brings_masks_back_to_full_size(self, tmp_path: Path) -> None:
        image = np.repeat(np.repeat(goods_image(3), 10, axis=0), 10, axis=1)
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path, max_side=160), image=image)
        for one, truth in zip(
            sorted(result.detections, key=lambda one: one.box), bright_masks(image), strict=True
        ):
            assert one.mask is not None
            assert (one.mask.image_width, one.mask.image_height) == (1600, 1200)
            assert one.box == one.mask.box
            assert iou(one.mask, truth) > 0.97

    def test_of_a_photo_of_one_pixel_works(self, tmp_path: Path) -> None:
        dot = to_base64(Mask(0, 0, np.ones((1, 1), np.uint8), 1, 1))
        with Loopback(json_reply([{"mask": dot, "score": 1}])) as server:
            result = segment(config_for(server.url, tmp_path), image=np.zeros((1, 1, 3), np.uint8))
        assert [one.box for one in result.detections] == [(0, 0, 1, 1)]


class TestInsideBox:
    def test_all_boxes_share_a_call_and_keep_their_order(self, tmp_path: Path) -> None:
        loose = Box(BOXES[0].x1 - 3, BOXES[0].y1 - 3, BOXES[0].x2 + 3, BOXES[0].y2 + 3)
        prompt = Prompt(mode=Mode.INSIDE_BOX, boxes=(BOXES[2], loose, BOXES[1], BOXES[2]))
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), prompt)
        assert [one.box for one in result.detections] == [BOXES[2], BOXES[0], BOXES[1], BOXES[2]]
        (fields,) = asked(server)
        assert len(json.loads(fields["boxes_input"])) == 3
        assert fields["max_masks"] == 0

    def test_a_box_without_an_answer_is_its_own_mask_with_score_0_and_a_note(
        self, tmp_path: Path
    ) -> None:
        nowhere = Box(100.5, 80, 150, 110)
        prompt = Prompt(mode=Mode.INSIDE_BOX, boxes=(nowhere, BOXES[0]))
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), prompt)
        assert [one.box for one in result.detections] == [(100, 80, 150, 110), BOXES[0]]
        assert [one.score for one in result.detections] == [0, 0.5]
        assert "the box (100.5, 80, 150, 110)" in result.notes[0]
        assert len(server.requests) == 1

    def test_a_text_is_the_label_of_every_box_and_is_not_sent(self, tmp_path: Path) -> None:
        nowhere = Box(100, 80, 150, 110)
        prompt = Prompt(mode=Mode.INSIDE_BOX, texts=(" cup ",), boxes=(BOXES[0], nowhere))
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), prompt)
        assert [one.label for one in result.detections] == ["cup", "cup"]
        assert "text_prompt" not in asked(server)[0]

    def test_nested_boxes_do_not_share_a_mask(self, tmp_path: Path) -> None:
        around = Box(0, 10, 40, 45)
        with Loopback(json_reply([{"mask": to_base64(MASKS[0]), "score": 0.8}])) as server:
            result = segment(
                config_for(server.url, tmp_path),
                Prompt(mode=Mode.INSIDE_BOX, boxes=(around, BOXES[0])),
            )
        assert [one.score for one in result.detections] == [0, 0.8]

    def test_a_box_with_points_has_a_call_of_its_own(self, tmp_path: Path) -> None:
        inside = Point(BOXES[1].x1 + 2, BOXES[1].y1 + 2)
        prompt = Prompt(
            mode=Mode.INSIDE_BOX, boxes=tuple(BOXES), points=(inside, Point(150, 110, False))
        )
        with Loopback(ALL_GOODS) as server:
            result = segment(config_for(server.url, tmp_path), prompt)
        assert [one.box for one in result.detections] == BOXES
        plain, refined = asked(server)
        assert len(json.loads(plain["boxes_input"])) == 2
        assert "points_input" not in plain
        assert json.loads(refined["points_input"]) == [[int(inside.x), int(inside.y)]]
        assert result.usage.calls == 2
        assert result.usage.cost == 0.5
        assert any("point (150, 110) lies in no box" in note for note in result.notes)

    def test_thresholds_of_a_call_are_sent_as_near_as_the_api_allows(self, tmp_path: Path) -> None:
        thresholds = Thresholds(score=0.05, max_masks=500)
        with Loopback(ALL_GOODS) as server:
            using(
                config_for(server.url, tmp_path, threshold=0.7),
                lambda one: one.segment(IMAGE, Prompt(), thresholds),
            )
        (fields,) = asked(server)
        assert (fields["threshold"], fields["max_masks"]) == (0.1, 100)

    def test_a_combined_mask_is_shared_out(self, tmp_path: Path) -> None:
        whole = sum((mask.to_full() for mask in MASKS), np.zeros((120, 160), np.uint8))
        png = base64.b64decode(to_base64(Mask.from_full(whole)))
        with Loopback(Reply(body=png, content_type="image/png")) as server:
            result = segment(
                config_for(server.url, tmp_path),
                Prompt(mode=Mode.INSIDE_BOX, boxes=(BOXES[1], BOXES[0])),
            )
        assert [one.box for one in result.detections] == [BOXES[1], BOXES[0]]


BOX = Box(1, 1, 9, 9)


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (Prompt(mode=Mode.INSIDE_BOX, boxes=(Box(200, 1, 300, 9),)), "boxes[0]"),
        (Prompt(points=(Point(1, 1), Point(160, 1))), "points[1]"),
        (Prompt(texts=("word " * 31,)), "text"),
        (Prompt(texts=("w" * 301,)), "text"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_refused_before_any_call(
    tmp_path: Path, prompt: Prompt, field: str
) -> None:
    with Loopback(ALL_GOODS) as server, pytest.raises(PromptError) as caught:
        segment(config_for(server.url, tmp_path), prompt)
    assert caught.value.field == field
    assert server.requests == []


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        (
            Prompt(texts=("cup",), exemplars=(Exemplar(BOX), Exemplar(BOX, positive=False))),
            "exemplars[1]",
        ),
        (Prompt(texts=("cup",), points=(Point(1, 1),)), "points"),
        (Prompt(exemplars=(Exemplar(BOX),), points=(Point(1, 1),)), "points"),
    ],
)
def test_a_prompt_that_is_beyond_the_api_is_refused_before_any_call(
    tmp_path: Path, prompt: Prompt, field: str
) -> None:
    with Loopback(ALL_GOODS) as server, pytest.raises(UnsupportedPromptError) as caught:
        segment(config_for(server.url, tmp_path), prompt)
    assert caught.value.field == field
    assert server.requests == []


class TestV2:
    @staticmethod
    def script(*polls: Reply, result: Reply = ALL_GOODS, submit: Any = None) -> Any:
        """Submit, poll, fetch; the URLs that the answers name lead elsewhere."""
        statuses = iter(polls)

        def reply_to(received: Received) -> Reply:
            if received.method == "POST":
                elsewhere = "http://169.254.169.254/v2/requests/abc-1"
                return submit or json_reply(
                    {"request_id": "abc-1", "status": "QUEUED", "status_url": elsewhere}
                )
            return next(statuses) if received.path.endswith("/status") else result

        return reply_to

    def test_submits_polls_and_fetches_from_the_configured_host(self, tmp_path: Path) -> None:
        detections = [{"mask": to_base64(MASKS[0]), "score": 0.5}]
        script = self.script(
            json_reply({"status": "QUEUED"}),
            Reply(503),
            json_reply({"status": "PROCESSING"}),
            json_reply({"status": "COMPLETED"}),
            result=json_reply(
                {"status": "COMPLETED", "output": detections, "cost": 0.2, "remaining_credits": 3}
            ),
        )
        with Loopback(script) as server:
            result = segment(config_for(server.url, tmp_path, api="v2", poll_interval_s=0.01))
        assert [one.box for one in result.detections] == [BOXES[0]]
        assert [received.path for received in server.requests] == [
            "/v2/sam3-image",
            *["/v2/requests/abc-1/status"] * 4,
            "/v2/requests/abc-1",
        ]
        assert result.usage.calls == 1
        assert (result.usage.cost, result.usage.remaining_credits) == (0.2, 3)

    @pytest.mark.parametrize(
        "failure",
        [
            json_reply({"status": "FAILED", "error": "no such mask"}),
            json_reply({"status": "FAILED", "error": "no such mask"}, status=422),
        ],
    )
    def test_work_that_fails_is_refused_and_free(self, tmp_path: Path, failure: Reply) -> None:
        with Loopback(self.script(failure)) as server:
            config = config_for(server.url, tmp_path, api="v2", max_paid_calls=1)
            with pytest.raises(BackendRefusedError, match="no such mask"):
                segment(config)
        with Loopback(self.script(json_reply({"status": "COMPLETED"}))) as server:
            segment(config_for(server.url, tmp_path, api="v2", max_paid_calls=1))

    def test_work_that_never_ends_is_uncertain_and_may_have_cost(self, tmp_path: Path) -> None:
        with Loopback(self.script(*[json_reply({"status": "PROCESSING"})] * 10_000)) as server:
            config = config_for(server.url, tmp_path, api="v2", poll_interval_s=0.02)
            short = config.model_copy(
                update={"http": config.http.model_copy(update={"deadline_s": 0.3})}
            )
            with pytest.raises(BackendUncertainError, match=r"abc-1 after 0\.3 s"):
                segment(short)
        assert sum(received.method == "POST" for received in server.requests) == 1

    def test_submitting_and_polling_share_one_deadline(self, tmp_path: Path) -> None:
        submit = json_reply({"request_id": "abc-1"}, delay_s=0.8)
        script = self.script(*[json_reply({"status": "PROCESSING"})] * 100, submit=submit)
        with Loopback(script) as server:
            config = config_for(
                server.url,
                tmp_path,
                api="v2",
                poll_interval_s=0.3,
                http=FAST.model_copy(update={"deadline_s": 1.0}),
            )
            with pytest.raises(BackendUncertainError, match=r"abc-1 after 1 s"):
                segment(config)
        polls = [received for received in server.requests if received.path.endswith("/status")]
        assert len(polls) <= 1

    @pytest.mark.parametrize(
        "failure", [Reply(503), Reply(429), Reply(hang_up=True)], ids=["503", "429", "hang-up"]
    )
    @pytest.mark.parametrize("step", ["poll", "fetch"])
    def test_submitted_work_that_cannot_be_collected_is_uncertain_and_not_asked_for_again(
        self, tmp_path: Path, step: str, failure: Reply
    ) -> None:
        polls = [failure] * 10 if step == "poll" else [json_reply({"status": "COMPLETED"})]
        with Loopback(self.script(*polls, result=failure)) as server:
            config = config_for(server.url, tmp_path, api="v2", poll_interval_s=0.01)
            with pytest.raises(BackendUncertainError, match="abc-1") as caught:
                segment(config)
        assert not is_retryable(caught.value)
        assert sum(received.method == "POST" for received in server.requests) == 1

    @pytest.mark.parametrize(
        "submit",
        [
            json_reply({}),
            json_reply([]),
            Reply(body=b"<html>"),
            json_reply({"request_id": "../../v1/get-user-credits"}),
            json_reply({"request_id": ""}),
            json_reply({"request_id": KEY}),
            json_reply({"request_id": 7}),
        ],
    )
    def test_a_submission_without_a_usable_id_is_a_protocol_error(
        self, tmp_path: Path, submit: Reply
    ) -> None:
        with (
            Loopback(self.script(submit=submit)) as server,
            pytest.raises(BackendProtocolError, match="not understood"),
        ):
            segment(config_for(server.url, tmp_path, api="v2"))
        assert len(server.requests) == 1

    def test_an_unknown_status_is_a_protocol_error(self, tmp_path: Path) -> None:
        with (
            Loopback(self.script(json_reply({"status": "ON HOLIDAY"}))) as server,
            pytest.raises(BackendProtocolError, match="not understood"),
        ):
            segment(config_for(server.url, tmp_path, api="v2"))


class TestBudget:
    def test_stops_many_images_at_once_at_the_limit(self, tmp_path: Path) -> None:
        async def ask_all(segmenter: SegmindSegmenter) -> list[Any]:
            return await asyncio.gather(
                *(segmenter.segment(IMAGE, Prompt()) for _ in range(10)), return_exceptions=True
            )

        with Loopback(ALL_GOODS) as server:
            config = config_for(server.url, tmp_path, max_paid_calls=4)
            answers = using(config, ask_all)
        assert len(server.requests) == 4
        assert sum(isinstance(answer, BudgetExceededError) for answer in answers) == 6

    def test_goes_on_counting_in_a_retried_step_and_not_in_another_run(
        self, tmp_path: Path
    ) -> None:
        with Loopback(ALL_GOODS) as server:
            config = config_for(server.url, tmp_path, max_cost=0.6)
            segment(config)
            segment(config)
            with pytest.raises(BudgetExceededError):
                segment(config)
            segment(config, run_id="run-2")
        assert len(server.requests) == 3
        assert {path.name for path in tmp_path.glob("*.jsonl")} == {"run-1.jsonl", "run-2.jsonl"}

    @pytest.mark.parametrize("api", ["v1", "v2"])
    @pytest.mark.parametrize(("max_cost", "calls"), [(0.5, 2), (0.75, 3), (0.25, 1), (10, 8)])
    def test_many_at_once_never_spend_more_than_the_limit_though_no_cost_was_known(
        self, tmp_path: Path, api: str, max_cost: float, calls: int
    ) -> None:
        def reply_to(received: Received) -> Reply:
            if received.method == "POST" and api == "v2":
                return json_reply({"request_id": "abc-1"})
            if received.path.endswith("/status"):
                return json_reply({"status": "COMPLETED"})
            return json_reply([], headers=BILLED, delay_s=0.02)

        async def ask_all(segmenter: SegmindSegmenter) -> list[Any]:
            return await asyncio.gather(
                *(segmenter.segment(IMAGE, Prompt()) for _ in range(8)), return_exceptions=True
            )

        with Loopback(reply_to) as server:
            config = config_for(
                server.url, tmp_path, api=api, max_cost=max_cost, poll_interval_s=0.01
            )
            answers = using(config, ask_all)
        assert sum(received.method == "POST" for received in server.requests) == calls
        refused = [answer for answer in answers if isinstance(answer, Exception)]
        assert len(refused) == 8 - calls
        assert all(isinstance(error, BudgetExceededError) for error in refused)

    def test_after_a_first_call_that_fails_another_one_tells_the_cost(self, tmp_path: Path) -> None:
        async def ask_all(segmenter: SegmindSegmenter) -> list[Any]:
            return await asyncio.gather(
                *(segmenter.segment(IMAGE, Prompt()) for _ in range(6)), return_exceptions=True
            )

        with Loopback([Reply(422), ALL_GOODS]) as server:
            answers = using(config_for(server.url, tmp_path, max_cost=0.5), ask_all)
        assert len(server.requests) == 3
        kinds = Counter(type(answer) for answer in answers if isinstance(answer, Exception))
        assert kinds == {BackendRefusedError: 1, BudgetExceededError: 3}

    def test_counts_what_is_sent_again(self, tmp_path: Path) -> None:
        with Loopback(Reply(502)) as server:
            config = config_for(server.url, tmp_path, max_paid_calls=2, resend_uncertain=True)
            with pytest.raises(BudgetExceededError):
                segment(config)
        assert len(server.requests) == 2

    def test_is_not_used_up_by_calls_that_were_not_billed(self, tmp_path: Path) -> None:
        with Loopback([Reply(500), Reply(429), ALL_GOODS]) as server:
            result = segment(config_for(server.url, tmp_path, max_paid_calls=1))
        assert len(server.requests) == 3
        assert (result.usage.calls, result.usage.cost) == (3, 0.25)
