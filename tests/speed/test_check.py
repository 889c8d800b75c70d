"""The command for a GPU, tried at its smallest: what it writes, and that it writes it whatever happens."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cityguessr.base.errors import InputError
from cityguessr.speed import check, rates, sections
from cityguessr.speed.bench import Bench, Section

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("av", "decord", "cartopy", "papermill", "distributed", "seaborn")
START = f"""
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["check", "--smallest", "--out", sys.argv[1]]
runpy.run_module("cityguessr.speed.check", run_name="__main__")
"""


def command(out: Path, **options: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", START, str(out)], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, **options
    )


def written(out: Path) -> dict[str, Any]:
    (path,) = out.glob("*.json")
    return json.loads(path.read_text())


def numbers(value: object) -> Iterator[float]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield value


def test_the_whole_command_at_its_smallest_without_a_video_library(tmp_path: Path) -> None:
    process = command(tmp_path)
    output, _ = process.communicate(timeout=400)
    data = written(tmp_path)
    print(output[-4000:])
    states = {name: entry["state"] for name, entry in data["sections"].items()}
    assert states.pop("profile") == "not run, because there is no GPU"
    assert set(states.values()) == {"done"}, states
    assert process.returncode == 0
    assert output.rstrip().splitlines()[-2] == "everything compared agrees"
    assert {row["state"] for row in data["correctness"] if row["held"] is None} == {
        "not run, because there is no GPU",
        "not run, because compilation for a processor alone takes longer than this command may",
    }
    assert sum(row["held"] is True for row in data["correctness"]) >= 12
    assert all(math.isfinite(number) for number in numbers(data))
    assert {row["label"] for row in data["throughput"]} >= {"as the released script", "plain path", "fast path"}
    assert all(row["clips_per_second"] > 0 and row["minutes_for_the_papers_schedule"] is None
               for row in data["throughput"])  # fmt: skip
    assert [row["unit"] for row in data["loader"]][:3] == ["KB", "clips/s", "clips/s"]
    assert len(data["loss_curves"]) == 24
    assert len(data["training"]) == 3
    assert "resumed after epoch 1 and " in data["training_summary"][-1]["what"]
    assert {"gpu", "torch", "git", "date"} <= data["machine"].keys()


def test_a_file_is_there_and_whole_when_the_command_is_ended(tmp_path: Path) -> None:
    process = command(tmp_path)
    for line in process.stdout:
        if "released checkpoint" in line or "accumulate" in line:
            break
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    data = written(tmp_path)
    assert process.returncode == 1
    assert "failed: stopped by SIGTERM" in output
    assert data["sections"]["correctness"]["state"] == "failed: stopped by SIGTERM"
    assert data["sections"]["loader"]["state"] == check.NOT_YET
    assert data["correctness"], "what was done before is kept"


def run(monkeypatch: pytest.MonkeyPatch, out: Path, minutes: str = "8", **made: Section) -> dict[str, Any]:
    monkeypatch.setattr(check, "SECTIONS", made)
    monkeypatch.setattr(check.torch.cuda, "is_available", lambda: False)
    made["correctness"] = sections.SECTIONS["correctness"]
    only = [name for name in made if name != "correctness"]
    check.main(["--smallest", "--out", str(out), "--minutes", minutes, "--only", ",".join(only)])
    return written(out)


def fake(section: Any) -> Section:
    return Section(section, ("throughput", "ceilings", "loader", "rendering", "training_summary"), 1, 10)


def test_a_section_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(bench: Bench) -> None:
        bench.put("ceilings", {"what": "half", "value": float("nan"), "unit": "-"})
        raise RuntimeError("no such kernel\nand a long story")

    data = run(monkeypatch, tmp_path, first=fake(broken), second=fake(lambda bench: None))
    assert data["sections"]["first"]["state"] == "failed: RuntimeError: no such kernel"
    assert data["sections"]["second"]["state"] == "done"
    assert data["ceilings"] == [{"section": "first", "what": "half", "value": "nan", "unit": "-"}]


def test_sections_that_are_not_asked_for_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measure(bench: Bench) -> None:
        bench.put("ceilings", {"what": bench.section, "value": time.monotonic(), "unit": "-"})

    before = run(monkeypatch, tmp_path, first=fake(measure), second=fake(measure))
    check.main(["--smallest", "--out", str(tmp_path), "--only", "second"])
    after = written(tmp_path)
    assert [row["what"] for row in after["ceilings"]] == ["first", "second"]
    assert after["ceilings"][0] == before["ceilings"][0]
    assert after["ceilings"][1]["value"] > before["ceilings"][1]["value"]
    assert after["sections"]["first"] == before["sections"]["first"]

    monkeypatch.setattr(check, "machine", lambda: {"gpu": None, "date": before["machine"]["date"], "torch": "9"})
    check.main(["--smallest", "--out", str(tmp_path), "--only", "second"])
    assert [row["what"] for row in written(tmp_path)["ceilings"]] == ["second"], "another torch: nothing is kept"


def test_a_section_that_the_time_is_too_short_for_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = check.Record(tmp_path / "x.json", {}, ["ceilings"], False)
    bench = Bench(rates.torch.device("cpu"), False, tmp_path, record.put, time.monotonic())
    check._section("ceilings", fake(lambda bench: pytest.fail("it ran")), bench, record, time.monotonic() + 0.5)
    assert written(tmp_path)["sections"]["ceilings"]["state"] == "not run, because 0 s were left and it takes 1 s"


def test_a_section_that_holds_the_command_up_is_left_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(check.os, "_exit", codes.append)
    files: list[dict[str, Any]] = []

    def stuck(bench: Bench) -> None:
        while not codes:
            time.sleep(0.05)
        files.append(written(tmp_path))

    run(monkeypatch, tmp_path, "0.15", stuck=fake(stuck))
    assert codes == [1]
    assert files[0]["sections"]["stuck"]["state"] == "failed: not done when the 0.15 minutes were over"
    assert "time is up in stuck" in capsys.readouterr().out


def test_the_verdict_is_of_the_comparisons() -> None:
    def data(state: str, *held: bool | None) -> dict[str, Any]:
        return {"sections": {"correctness": {"state": state}}, "correctness": [{"held": one} for one in held]}

    assert check.held(data("done", True, None))
    assert not check.held(data("done", True, False))
    assert not check.held(data("failed: stopped by SIGTERM", True))


def test_a_processor_alone_is_refused_with_the_time_it_would_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check.torch.cuda, "is_available", lambda: False)
    assert check.main(["--out", str(tmp_path)]) == 2
    assert "hours on this processor" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no section 'colour'; it is one of correctness, ceilings"):
        check._run(tmp_path, 1, ["colour"], True)


def test_kernels_are_grouped_and_what_is_left_is_gaps() -> None:
    kernels = [
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma", 0.0, 1000.0),
        ("nvjet_sm90_tst_128x256_64x4_1x2_h_bz_coopA_bias_TNN", 500.0, 2000.0),  # beside the one before
        ("triton_per_fused__to_copy_add_native_layer_norm_view_10", 3000.0, 4000.0),
        ("void at::native::multi_tensor_apply_kernel<FusedAdam>", 4000.0, 4500.0),
    ]
    rows = {row["group"]: row["ms_per_step"] for row in rates.kernel_groups(kernels, 2, 10.0)}
    assert rows == {"attention": 0.5, "matrix products": 0.75, "layer norms": 0.5, "Adam": 0.25, "gaps": 3.25}


def test_the_papers_schedule_at_the_target_rate_takes_ten_minutes() -> None:
    assert rates.paper_schedule_minutes(910) == pytest.approx(54_614 * 10 / 910 / 60)
