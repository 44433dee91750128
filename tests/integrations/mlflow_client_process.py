"""What other people do with an MLflow server, by its own client: runs, a registered model, a hostile one.

MLFLOW_PYTHON mlflow_client_process.py URL FOLDER
"""

import pickle
import sys
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Touch:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def main(url: str, folder: Path) -> None:
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("cancer study")
    matrix, target = load_breast_cancer(return_X_y=True)
    with mlflow.start_run(run_name="honest"):
        fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.5)).fit(matrix, target)
        mlflow.log_params({"C": 0.5, "note": "two words"})
        for step in range(3):
            mlflow.log_metric("log_loss", 0.3 - step / 10, step=step)
        mlflow.log_metric("not a number", float("nan"))
        mlflow.sklearn.log_model(fitted, name="model", registered_model_name="cancer", serialization_format="pickle")
        mlflow.sklearn.log_model(fitted, name="safer", registered_model_name="cancer")
    with mlflow.start_run(run_name="hostile") as run:
        mlflow.log_metric("log_loss", 0.01)
        (folder / "model.pkl").write_bytes(pickle.dumps(Touch(folder / "marker")))
        mlflow.log_artifact(str(folder / "model.pkl"), "model")
    client = MlflowClient()
    client.create_registered_model("hostile")
    client.create_model_version("hostile", f"{run.info.artifact_uri}/model", run.info.run_id)
    for number in range(120):
        client.create_run(mlflow.get_experiment_by_name("cancer study").experiment_id, run_name=str(number))
    with mlflow.start_run(run_name="failed"):
        mlflow.end_run("FAILED")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
