"""Where training stops, and what its conditions say."""

from __future__ import annotations

import pytest

from spark_keras.early_stopping import AllOf, Condition, MaxEpochs, MaxSeconds, Progress, TargetScore
from spark_keras.early_stopping.conditions import from_json, to_json


class ThreeAlike(Condition):
    def __init__(self, within=0.1):
        self.within = within

    def check(self, progress):
        last = list(progress.scores.values())[-3:]
        return "three scores alike" if len(last) == 3 and max(last) - min(last) < self.within else None

    def get_config(self):
        return {"within": self.within}


def test_conditions_are_saved_by_name_and_config():
    condition = ThreeAlike(0.3) & (MaxSeconds(5) | MaxEpochs(7))
    assert from_json(to_json(condition)) == condition
    assert condition.everyRound and not (ThreeAlike() & MaxEpochs(1)).everyRound
    with pytest.raises(ValueError, match="is not a Condition"):
        from_json({"condition": "os:getcwd", "config": {}})


def test_time_is_over_only_when_it_is():
    progress = Progress(3, 9.9, {}, False, None, None)
    assert MaxSeconds(10).check(progress) is None
    assert "the limit is 10 s" in MaxSeconds(10).check(progress._replace(seconds=10.0))
    assert AllOf([MaxSeconds(1), TargetScore(0)]).check(progress) is None
