"""Keras files: a configuration, in which any object could be named, and weights in HDF5, which isn't read here."""

from __future__ import annotations

from typing import Any

from mcp_server.core.model_files.archive import Archive
from mcp_server.core.model_files.documents import read_json, walk
from mcp_server.core.model_files.report import FileReading, Unread, quoted

CONFIGURATION = "config.json"
METADATA = "metadata.json"
KERAS_NEXT = "The format of its weights, HDF5, isn't read here: export the model to ONNX or its weights to safetensors."

_MODULES = {
    *(None, "builtins", "keras", "keras.layers", "keras.initializers", "keras.optimizers", "keras.losses"),
    *("keras.metrics", "keras.regularizers", "keras.constraints", "keras.models"),
    *("keras.src.models.sequential", "keras.src.models.functional"),
}
_LISTED = """
Sequential Functional Model InputLayer Dense Dropout Activation BatchNormalization LayerNormalization Normalization
Flatten Reshape Concatenate Add Multiply Average Maximum Minimum Subtract Dot Embedding Conv1D Conv2D MaxPooling1D
MaxPooling2D AveragePooling1D AveragePooling2D GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D
GlobalMaxPooling2D LSTM GRU SimpleRNN Bidirectional TimeDistributed Masking ReLU LeakyReLU PReLU ELU Softmax
GaussianNoise GaussianDropout AlphaDropout SpatialDropout1D ZeroPadding1D ZeroPadding2D UpSampling1D UpSampling2D
Permute RepeatVector CategoryEncoding Discretization Hashing IntegerLookup Rescaling UnitNormalization GlorotUniform
GlorotNormal HeUniform HeNormal LecunUniform LecunNormal Zeros Ones Constant RandomNormal RandomUniform
TruncatedNormal Orthogonal Identity VarianceScaling OrthogonalInitializer L1 L2 L1L2 MaxNorm NonNeg UnitNorm
MinMaxNorm Adam AdamW SGD RMSprop Adagrad Adadelta Adamax Nadam DTypePolicy __tensor__ __keras_tensor__
BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy MeanSquaredError MeanAbsoluteError Huber
Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy AUC Precision Recall Mean
"""
_CLASSES = frozenset(_LISTED.split())


def is_keras(archive: Archive) -> bool:
    return CONFIGURATION in archive.members and METADATA in archive.members


def read_keras(archive: Archive, reading: FileReading) -> None:
    """Look through the configuration for objects outside the list.

    Raises:
        Unread: always in the end: its weights aren't read.
    """
    configuration = read_json(archive.read(CONFIGURATION), CONFIGURATION)
    for path, part in walk(configuration):
        if isinstance(part, dict) and {"class_name", "registered_name", "module"} & part.keys():
            _check(part, reading, f"{CONFIGURATION}{path}")
    raise Unread("uncheckable", KERAS_NEXT, "model.weights.h5")


def _check(part: dict[str, Any], reading: FileReading, at: str) -> None:
    name, module, registered = part.get("class_name"), part.get("module"), part.get("registered_name")
    reading.counts["layers"] += 1
    if not isinstance(name, str):
        raise Unread("damaged", "A layer has no name.", at)
    if name not in _CLASSES:
        reading.add("foreign_layer", f"It names {quoted(name)}, which isn't on the list.", at)
    elif not isinstance(module, str | None) or module not in _MODULES:
        reading.add("foreign_layer", f"It takes {quoted(name)} from {quoted(str(module))}.", at)
    elif registered is not None and registered != name:
        reading.add("foreign_layer", f"It names {quoted(str(registered))}, which somebody registered.", at)
    else:
        reading.hold(name)
