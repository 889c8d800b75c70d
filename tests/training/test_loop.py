"""Training: seeds, exact resume, the epoch that counts, and what must be refused."""

import dataclasses
import errno
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from support import one_line
from torch import Tensor

from cityguessr import hierarchy
from cityguessr.base import threads
from cityguessr.base.errors import InputError
from cityguessr.config import ModelConfig
from cityguessr.systems import build
from cityguessr.taxonomy import LEVELS, Taxonomy
from cityguessr.training.batches import EpochOrder
from cityguessr.training.execution import Execution
from cityguessr.training.loop import Trained, predict, train
from cityguessr.training.profiles import PAPER, Profile
from cityguessr.training.recipe import Recipe, learning_rate

RECIPE = Recipe(batch_size=8, schedule="cosine", warmup_epochs=1)
PROFILE = Profile("tiny", "a test", world="mini", recipe=RECIPE, loader_workers=0)
CONFIG = ModelConfig.as_described().replace(
    pretrained=None, frames=2, size=16, width=24, depth=1, heads=2, text_dim=32, epochs=3
)


class Clips:
    """Clips whose colour is their city, in memory: what the loop asks of a split of prepared clips."""

    def __init__(self, taxonomy: Taxonomy, count: int, seed: int, scenes: bool = True) -> None:
        generator = torch.Generator().manual_seed(seed)
        cities = torch.arange(count) % taxonomy.size("city")
        self.labels = taxonomy.chain(cities)
        self.clip_ids = tuple(f"clip_{i}" for i in range(count))
        colours = torch.randint(256, (taxonomy.size("city"), 1, 3, 1, 1), generator=torch.Generator().manual_seed(9))
        noise = torch.randint(-20, 21, (count, 2, 3, 16, 16), generator=generator)
        self.frames = (colours[cities] + noise).clamp(0, 255).to(torch.uint8)
        self.scenes = torch.rand(count, 2, 16, generator=generator).softmax(-1) if scenes else None

    def __len__(self) -> int:
        return len(self.frames)

    def frames_of(self, indices: Sequence[int]) -> Tensor:
        return self.frames[list(indices)]

    def frames_tensor(self) -> Tensor:
        return self.frames

    def frame_scenes(self, index: int) -> Tensor | None:
        return None if self.scenes is None else self.scenes[index]


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return Taxonomy.cityguessr68k().subset(["London", "Liverpool", "Manchester", "Tokyo", "Osaka", "Lima"])


def run(taxonomy: Taxonomy, config: ModelConfig = CONFIG, **options: object) -> Trained:
    text = torch.randn(taxonomy.size("city"), 32, generator=torch.Generator().manual_seed(4))
    defaults = {"seed": 0, "execution": Execution("cpu"), "report": lambda line: None, "profile": PROFILE}
    clips = {"train_clips": Clips(taxonomy, 48, 1), "val_clips": Clips(taxonomy, 24, 2)}
    return train(config, taxonomy, text=text, **(clips | defaults | options))


def timeless(log: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in log]


def same_weights(a: Trained, b: Trained) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True))


def test_the_same_seed_gives_the_same_logits_twice_and_another_seed_does_not(taxonomy: Taxonomy) -> None:
    first, again, other = run(taxonomy), run(taxonomy), run(taxonomy, seed=1)
    assert same_weights(first, again)
    assert all(torch.equal(first.answers.logits[level], again.answers.logits[level]) for level in LEVELS)
    assert not torch.equal(first.answers.logits["city"], other.answers.logits["city"])


@pytest.mark.parametrize("stop_after", [1, 2])
@pytest.mark.parametrize("selection", ["last", "best_on_validation"])
def test_resume_at_any_epoch_boundary_is_bit_equal(
    taxonomy: Taxonomy, tmp_path: Path, stop_after: int, selection: str
) -> None:
    config = CONFIG.replace(selection=selection)
    whole = run(taxonomy, config)
    path = tmp_path / "state.pt"
    stopped = run(taxonomy, config, checkpoint=path, stop_after=stop_after)
    assert len(stopped.log) == stop_after
    resumed = run(taxonomy, config, checkpoint=path)
    assert same_weights(whole, resumed)
    assert torch.equal(whole.answers.logits["city"], resumed.answers.logits["city"])
    assert timeless(whole.log) == timeless(resumed.log)
    assert whole.epoch == resumed.epoch


class Stop(Exception):
    """An interruption."""


@pytest.mark.parametrize("line", [2, 5, 11, 16])  # an epoch is six steps, with a line after each but the last
def test_resume_at_any_step_is_bit_equal(taxonomy: Taxonomy, tmp_path: Path, line: int) -> None:
    every_step = Execution("cpu", log_steps=1, checkpoint_minutes=0)
    lines: list[str] = []

    def stop(text: str) -> None:
        lines.append(text)
        if len(lines) == line:
            raise Stop

    config = CONFIG.replace(backbone="mae", frame="random")  # whose frames are drawn anew every epoch
    whole = run(taxonomy, config)
    path = tmp_path / "state.pt"
    with pytest.raises(Stop):
        run(taxonomy, config, checkpoint=path, execution=every_step, report=stop)
    resumed_lines: list[str] = []
    resumed = run(taxonomy, config, checkpoint=path, report=resumed_lines.append)
    assert resumed_lines[0].startswith("resumed after epoch")
    assert same_weights(whole, resumed)
    assert timeless(whole.log) == timeless(resumed.log)


KILLS = int(os.environ.get("CITYGUESSR_KILLS", "2"))


def _train_to_the_end(folder: Path) -> None:
    """In a process of its own: train, saving after every step, and keep the weights."""
    tree = Taxonomy.cityguessr68k().subset(["London", "Liverpool", "Manchester", "Tokyo", "Osaka", "Lima"])
    options = {"checkpoint": folder / "state.pt", "execution": Execution("cpu", checkpoint_minutes=0)}
    with threads.limited(1):  # in every process alike
        trained = run(tree, CONFIG.replace(epochs=12), **options)
    torch.save(trained.model.state_dict(), folder / "whole.pt")


def test_a_training_killed_at_random_moments_ends_with_the_same_weights(taxonomy: Taxonomy, tmp_path: Path) -> None:
    dice, processes, killed = random.Random(0), multiprocessing.get_context("spawn"), 0
    path = tmp_path / "state.pt"
    while killed < KILLS:
        process = processes.Process(target=_train_to_the_end, args=(tmp_path,))
        process.start()
        before = path.stat().st_mtime_ns if path.is_file() else 0
        while process.is_alive() and (path.stat().st_mtime_ns if path.is_file() else 0) == before:
            time.sleep(0.01)
        time.sleep(dice.random() * 0.2)
        assert process.is_alive(), "it was to be killed while it trains"
        process.kill()
        process.join()
        killed += 1
    _train_to_the_end(tmp_path)
    with threads.limited(1):
        whole = run(taxonomy, CONFIG.replace(epochs=12))
    resumed = torch.load(tmp_path / "whole.pt", weights_only=True)
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.model.state_dict().items())


def test_a_loss_that_is_not_finite_names_its_step_and_the_last_checkpoint(
    taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    run(taxonomy, checkpoint=path, stop_after=1)
    message = r"not finite at epoch 2, step \d; lower the learning rate \(.*state\.pt has the state after epoch 1\)"
    with monkeypatch.context() as too_fast:
        too_fast.setattr("cityguessr.training.loop.learning_rate", lambda *_: 1e30)
        with pytest.raises(InputError, match=message):
            run(taxonomy, checkpoint=path)
    run(taxonomy, checkpoint=path)  # the checkpoint is as it was


def test_a_line_is_reported_every_few_steps(taxonomy: Taxonomy) -> None:
    lines: list[str] = []
    run(taxonomy, CONFIG.replace(epochs=1), execution=Execution("cpu", log_steps=2), report=lines.append)
    assert [line.split("loss")[0].split() for line in lines] == [
        ["epoch", "1/1", "step", "2/6"],
        ["epoch", "1/1", "step", "4/6"],
        ["epoch", "1/1"],
    ]
    assert all("clips/s" in line for line in lines[:2])


def test_a_finished_training_resumes_to_itself(taxonomy: Taxonomy, tmp_path: Path) -> None:
    whole = run(taxonomy, checkpoint=tmp_path / "state.pt")
    lines: list[str] = []
    again = run(taxonomy, checkpoint=tmp_path / "state.pt", report=lines.append)
    assert same_weights(whole, again)
    assert torch.equal(whole.answers.logits["city"], again.answers.logits["city"])
    assert lines == ["resumed after epoch 3 of 3"]


def test_it_learns_what_can_be_learnt(taxonomy: Taxonomy) -> None:
    trained = run(taxonomy, CONFIG.replace(epochs=25))
    assert trained.log[-1]["val_city"] > 80  # six cities of six colours; chance is 17
    assert trained.log[-1]["text"] < trained.log[0]["text"] < 0.2  # attended features turn towards the names


def test_best_on_validation_keeps_the_best_epoch(taxonomy: Taxonomy) -> None:
    trained = run(taxonomy, CONFIG.replace(selection="best_on_validation", epochs=4))
    best = max(row["val_city"] for row in trained.log)
    assert trained.log[trained.epoch - 1]["val_city"] == best
    labels = Clips(taxonomy, 24, 2).labels
    assert hierarchy.accuracy(trained.answers.logits, labels, taxonomy)["city"] == best


def test_the_default_evaluates_the_last_epoch(taxonomy: Taxonomy) -> None:
    assert CONFIG.selection == "last"
    assert run(taxonomy).epoch == CONFIG.epochs


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    orders = {}
    for seed in (0, 1):
        order = EpochOrder(20, 6, seed)
        for epoch in (0, 1):
            order.epoch, order.first = epoch, 0
            batches = list(order)
            assert [len(batch) for batch in batches] == [6, 6, 6, 2]
            orders[seed, epoch] = [clip for batch in batches for clip in batch]
            assert sorted(orders[seed, epoch]) == list(range(20))
            order.first = 2  # a resumed epoch goes on with the batches that are left
            assert list(order) == batches[2:]
    assert len({tuple(order) for order in orders.values()}) == 4


def test_the_papers_learning_rate_is_constant() -> None:
    paper = PAPER.recipe
    assert {learning_rate(paper, step, 10, 10) for step in range(100)} == {1e-3}
    assert paper.batch_size == 12
    cosine = [learning_rate(RECIPE, step, 10, 5) for step in range(50)]
    assert max(cosine) == pytest.approx(1e-3)
    assert cosine[9] == max(cosine)
    assert cosine[-1] < 1e-5


def test_clips_without_scenes_are_refused_by_the_scene_loss(taxonomy: Taxonomy) -> None:
    bare = Clips(taxonomy, 24, 1, scenes=False)
    with pytest.raises(InputError, match="clip clip_0: no scene labels, which this system needs"):
        run(taxonomy, train_clips=bare)
    run(taxonomy, CONFIG.replace(scene_labels=None, epochs=1), train_clips=bare, val_clips=bare)


def test_text_alignment_needs_text(taxonomy: Taxonomy) -> None:
    clips = Clips(taxonomy, 24, 1)
    with pytest.raises(InputError, match="this model aligns text; give the text features"):
        train(CONFIG, taxonomy, clips, clips, None, PROFILE, 0)


def test_text_of_another_width_is_refused_before_anything_is_built(taxonomy: Taxonomy) -> None:
    clips = Clips(taxonomy, 24, 1)
    with pytest.raises(
        InputError, match=r"text features are \(6, 512\), the model wants \(6, 32\): leave text_dim out"
    ):
        train(CONFIG, taxonomy, clips, clips, torch.zeros(6, 512), PROFILE, 0)


def test_predict_gives_the_logits_of_training(taxonomy: Taxonomy) -> None:
    trained, clips = run(taxonomy), Clips(taxonomy, 24, 2)
    logits, labels = predict(trained.model, clips, PROFILE, device="cpu")
    assert torch.allclose(logits["city"], trained.answers.logits["city"], atol=1e-5)
    some, few = predict(trained.model, clips, PROFILE, limit=6, device="cpu")
    assert torch.equal(few["city"], labels["city"][::4])
    assert torch.allclose(some["city"], logits["city"][::4], atol=1e-5)


def test_an_image_system_can_be_shown_another_frame(taxonomy: Taxonomy) -> None:
    """Page 30: what a model of random frames makes of the first, the middle and the last one."""
    image = {"backbone": "mae", "frame": "first", "scene_labels": None, "text_labels": None}
    model, clips = build(CONFIG.replace(**image), taxonomy), Clips(taxonomy, 6, 2)
    shown = {frame: predict(model, clips, PROFILE, device="cpu", frame=frame)[0]["city"] for frame in ("first", "last")}
    assert torch.equal(predict(model, clips, PROFILE, device="cpu")[0]["city"], shown["first"])
    assert not torch.equal(shown["first"], shown["last"])
    assert model.config.frame == "first"


def test_a_full_disk_while_saving_leaves_the_last_checkpoint(
    taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    run(taxonomy, checkpoint=path, stop_after=1)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match=r"state\.pt: the disk is full"):
        run(taxonomy, checkpoint=path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


def test_a_foreign_checkpoint_is_refused(taxonomy: Taxonomy, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    run(taxonomy, checkpoint=path, stop_after=1)
    with pytest.raises(InputError, match=r"state\.pt: written by a training of another configuration"):
        run(taxonomy, CONFIG.replace(epochs=4), checkpoint=path)
    with pytest.raises(InputError, match=r"state\.pt: written by a training of another configuration"):
        run(taxonomy, profile=dataclasses.replace(PROFILE, recipe=RECIPE.replace(average=0.9)), checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"state\.pt: not a checkpoint of this training"):
        run(taxonomy, checkpoint=path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.clear(), "written by a training of another configuration"),
        (lambda s: s.pop("model"), "the weights of another model"),
        (lambda s: s["model"].pop("classifiers.city.bias"), "the weights of another model"),
        (lambda s: s["model"]["classifiers.city.bias"].fill_(torch.nan), "classifiers.city.bias holds numbers"),
        (lambda s: s["model"].update({"classifiers.city.bias": torch.zeros(7)}), "classifiers.city.bias has the shape"),
        (lambda s: s["progress"].pop("log"), "its progress is not made up of best, epoch, log"),
        (lambda s: s["progress"].update(epoch=-1), "its epoch is -1, of 3"),
        (lambda s: s["progress"].update(epoch="1"), "its epoch is '1', of 3"),
        (lambda s: s["progress"].update(epoch=4), "its epoch is 4, of 3"),
        (lambda s: s["progress"].update(epoch=True), "its epoch is True, of 3"),
        (lambda s: s["progress"].update(step=-2), "its step is -2 after 1 of 3"),
        (lambda s: s["progress"].update(step=2), "the sums of the losses are not those of 2 steps"),
        (lambda s: s["progress"].update(log=[]), "its log does not have one line of numbers for each of 1 epochs"),
        (lambda s: s["progress"].update(log=[{"epoch": 7}]), "not those of its epochs"),
        (lambda s: s["progress"].update(seconds=float("nan")), "the seconds spent are nan"),
        (lambda s: s["progress"].update(random=[torch.zeros(3)]), "the states of its random numbers are none"),
        (lambda s: s["progress"].update(best={"epoch": 1}), "the best epoch is there where none counts"),
        (lambda s: s.update(optimizer={}), "it has no state of the optimizer"),
        (lambda s: s["optimizer"]["optimizer"].update({999: {}}), "the optimizer has a weight 999"),
        (
            lambda s: s["optimizer"]["optimizer"][0].pop("exp_avg"),
            "not have exp_avg, exp_avg_sq, step of weight 0",
        ),
        (lambda s: s["optimizer"]["optimizer"][0].update(exp_avg=torch.zeros(1)), "moments of weight 0 have another"),
        (lambda s: s["optimizer"]["optimizer"][0]["exp_avg_sq"].fill_(-1), "moments of weight 0 are negative"),
        (lambda s: s["optimizer"].update(average=[torch.zeros(1)]), "average of the weights is not that of this model"),
    ],
)
def test_a_state_that_was_edited_is_refused_before_anything_is_taken_from_it(
    taxonomy: Taxonomy, state_after_an_epoch: Path, tmp_path: Path, edit: Callable, message: str
) -> None:
    state = torch.load(state_after_an_epoch, weights_only=True)
    edit(state)
    torch.save(state, tmp_path / "state.pt")
    with pytest.raises(InputError, match=rf"state\.pt: .*{message}.*; delete it to start afresh") as error:
        run(taxonomy, checkpoint=tmp_path / "state.pt")
    one_line(error)


@pytest.fixture(scope="module")
def state_after_an_epoch(taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("state") / "state.pt"
    run(taxonomy, checkpoint=path, stop_after=1)
    return path
