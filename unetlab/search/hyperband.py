"""Hyperband whose promotions are not lost to trials that failed."""

from typing import Any

import keras_tuner


class Hyperband(keras_tuner.oracles.HyperbandOracle):
    """KerasTuner's, but for what a failed trial counts as: one of those that are thrown out.

    KerasTuner promotes the best of a round once more trials are judged than are to be thrown out, and counts failed
    ones as not judged yet: with each of them one promotion less is made, and a bracket in which many fail trains none
    in full. And it ends where a small space has no point left for a round, without the promotions of those it has.
    Where neither happens, it proposes what KerasTuner proposes.
    """

    all_tried = False
    """Whether the space has no point left that was not tried."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """As an oracle answers."""
        found = self._promoted(trial_id) or super().populate_space(trial_id)
        if found["status"] == "STOPPED" and not self.all_tried:
            self.all_tried = True
            return self._promoted(trial_id) or found
        return found

    def _promoted(self, trial_id: str) -> dict[str, Any] | None:
        self._remove_completed_brackets()
        for bracket in self._brackets:
            number, rounds = bracket["bracket_num"], bracket["rounds"]
            if len(rounds[0]) < self._get_size(number, 0) and not self.all_tried:
                return None  # which begins another trial
            for later in range(1, len(rounds)):
                taken = {info["past_id"] for info in rounds[later]}
                left = [self.trials[info["id"]] for info in rounds[later - 1] if info["id"] not in taken]
                judged = [trial for trial in left if trial.status == "COMPLETED"]
                out = self._get_size(number, later - 1) - self._get_size(number, later)
                if judged and len(judged) + self._lost(bracket, later - 1) > out:
                    best = max(judged, key=lambda trial: trial.score)
                    rounds[later].append({"past_id": best.trial_id, "id": trial_id})
                    told = {"trial_id": best.trial_id, "bracket": number, "round": later}
                    told |= {"epochs": self._get_epochs(number, later)}
                    told |= {"initial_epoch": self._get_epochs(number, later - 1)}
                    own = {f"tuner/{name}": value for name, value in told.items()}
                    return {"status": "RUNNING", "values": {**best.hyperparameters.values, **own}}
        return None

    def _lost(self, bracket: dict[str, Any], place: int) -> int:
        """Trials of a round that failed, and those that it will never have: too many failed, or no point is left."""
        there = bracket["rounds"][place]
        failed = sum(self.trials[info["id"]].status not in ("RUNNING", "COMPLETED") for info in there)
        if place == 0:
            return failed + (self._get_size(bracket["bracket_num"], 0) - len(there) if self.all_tried else 0)
        size, before = (self._get_size(bracket["bracket_num"], each) for each in (place, place - 1))
        return failed + max(0, size - (before - self._lost(bracket, place - 1)))
