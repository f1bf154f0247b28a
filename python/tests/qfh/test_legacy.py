"""The published layer against the published figures, and its known faults."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sep_engine import qfh

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_legacy.json").read_text())

REALS = (
    "flip_ratio",
    "rupture_ratio",
    "entropy",
    "coherence",
    "V0",
    "traj_confidence",
    "path_similarity",
)


def bits_of(case: dict[str, Any]) -> NDArray[np.uint8]:
    values = case["raw"] if case["bits"] is None else [int(bit) for bit in case["bits"]]
    return np.array(values, dtype=np.uint8)


def close(value: float | None) -> Any:
    return value if value is None else pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['id']}-{case['kind']}")
def test_analyze_gives_the_published_figures(case: dict[str, Any]) -> None:
    bits = bits_of(case)
    found = qfh.legacy.analyze(bits)
    for name in ("null", "flip", "rupture"):
        assert getattr(found, name) == case[name]
    for name in REALS:
        assert getattr(found, name) == close(case[name]), name
    assert found.lambda_ == close(case["lambda"])
    for threshold in (0.3, 0.5, 0.6):
        assert found.collapse(threshold) == case[f"collapse_{threshold}"]
    if "runs" in case:
        assert [list(run) for run in found.runs] == case["runs"]
    path = qfh.legacy.trajectory(bits).path
    assert len(path) == case["path_len"]
    if "path" in case:
        np.testing.assert_allclose(path, case["path"], rtol=0, atol=1e-12)
    assert qfh.legacy.trajectory(bits).converged == case["traj_converged"]


@pytest.mark.parametrize(
    "case", [case for case in GOLDEN["cases"] if "at" in case], ids=lambda case: f"{case['id']}"
)
def test_trajectories_from_other_anchors_give_the_published_figures(case: dict[str, Any]) -> None:
    for at in case["at"]:
        found = qfh.legacy.trajectory(bits_of(case), anchor=at["i"])
        assert found.lambda_ == close(at["lambda"])
        assert found.value == close(at["V"])
        assert found.confidence == close(at["conf"])
        assert found.similarity == close(at["sim"])
        assert len(found.path) == at["path_len"]


@pytest.mark.parametrize("case", GOLDEN["price_to_bits"])
def test_pip_trunc_carry_gives_the_published_bits(case: dict[str, Any]) -> None:
    encoded = qfh.encode(
        np.array(case["mid"], dtype=np.float64), tick=1e-4, encoding="pip_trunc_carry"
    )
    assert "".join(map(str, encoded.bits)) == case["bits"]


def test_every_kind_of_case_is_there() -> None:
    kinds = {case["kind"] for case in GOLDEN["cases"]}
    assert len(GOLDEN["cases"]) == 151
    assert kinds >= {"empty", "invalid", "markov", "iid", "eurusd", "blocks", "thresh", "step"}


@pytest.mark.parametrize("case", GOLDEN["qbsa"])
def test_qbsa_gives_the_published_figures(case: dict[str, Any]) -> None:
    found = qfh.legacy.qbsa(
        np.array(case["probes"], dtype=np.uint32), np.array(case["expectations"], dtype=np.uint32)
    )
    assert found.corrections == case["corrections"]
    assert found.correction_ratio == close(case["correction_ratio"])
    for threshold, key in ((0.6, "t06"), (0.3, "t03")):
        assert found.collapse(threshold) == case[f"collapse_{threshold}"]
        for level in case["level2"]:
            assert found.collapse(threshold, total_bits=level["total_bits"]) == level[key]


@pytest.mark.parametrize("case", GOLDEN["cosine"])
def test_cosine_gives_the_published_figures(case: dict[str, Any]) -> None:
    a, b = np.array(case["a"], dtype=np.float64), np.array(case["b"], dtype=np.float64)
    assert qfh.legacy.cosine(a, b) == close(case["cos"])


@pytest.mark.parametrize("case", GOLDEN["match_paths"])
def test_path_similarity_gives_the_published_figures(case: dict[str, Any]) -> None:
    path = np.array(case["path"], dtype=np.float64)
    assert qfh.legacy.path_similarity(path) == close(case["similarity"])


def test_the_published_metrics_treat_up_and_down_differently() -> None:
    # All ones are one long rupture, all zeros are none: stability and coherence differ.
    ups = qfh.legacy.analyze(np.ones(64, dtype=np.uint8))
    downs = qfh.legacy.analyze(np.zeros(64, dtype=np.uint8))
    assert (ups.rupture_ratio, downs.rupture_ratio) == (1.0, 0.0)
    assert ups.coherence < downs.coherence


def test_the_published_lambda_is_half_the_local_entropy() -> None:
    # 0.30 h + 0.20 (1 - (1 - h)) = 0.5 h
    trajectory = qfh.legacy.trajectory(np.array([0, 0, 1, 1], dtype=np.uint8))
    assert trajectory.lambda_ == pytest.approx(0.5 * np.log2(3) / 1.585, abs=1e-6)
