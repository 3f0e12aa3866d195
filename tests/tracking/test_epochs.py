"""An epoch's metrics are written once, those of a training that goes on in another run too."""

import pandas as pd
from mlflow.tracking import MlflowClient

from unetlab.tracking.epochs import EpochLogger


def test_epochs_that_were_trained_before_the_run_began_are_written_when_it_ends(store):
    client = MlflowClient()
    run_id = client.create_run(client.get_experiment_by_name("unetlab").experiment_id).info.run_id
    logger = EpochLogger(run_id)
    logger.on_epoch_end(2, {"loss": 0.25})  # the first epoch that this run saw, the third of the training
    logger.complete(pd.DataFrame({"epoch": [1, 2, 3], "loss": [1.0, 0.5, 0.25], "val_loss": [1.0, float("nan"), 0.3]}))
    logger.close()
    found = {point.step: point.value for point in client.get_metric_history(run_id, "epoch/loss")}
    assert found == {1: 1.0, 2: 0.5, 3: 0.25}
    assert [point.step for point in client.get_metric_history(run_id, "epoch/val_loss")] == [1]
