"""Every preset is timed with a small index."""

from dynamicrag_cli.adapters.retrievers.calibration import calibrate
from dynamicrag_cli.core.presets import PRESETS


def test_every_preset_has_its_times() -> None:
    speeds = dict(calibrate(700, 16))
    assert list(speeds) == list(PRESETS)
    for speed in speeds.values():
        assert speed.n == 700
        assert speed.question_s > 0
        assert speed.build_s >= 0
        assert speed.codes_s >= 0
    assert {name for name, speed in speeds.items() if speed.refine_s or speed.codes_s} <= {"sq8", "ivfpq"}
