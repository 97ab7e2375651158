"""From features that were made elsewhere to an exported classifier: python own_features.py

Scikit-learn's digits stand in for the features of photographs: 64 numbers an image, 10 classes, a long tail of labels.
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from ulfine_cache.import_features import import_features
from ulfine_exports import OnnxClassifier, export_onnx
from ulfine_fast import fit

names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
features, truth = load_digits(return_X_y=True)
features = features - features[:1300].mean(axis=0)  # only directions count
train = np.arange(len(truth)) < 1300

# From 30 labelled zeros down to 3 labelled nines; -1 is unlabelled. Test rows keep their labels.
labels = np.where(train, -1, truth)
for digit in range(10):
    chosen = np.flatnonzero(train & (truth == digit))[: 30 - 3 * digit]
    labels[chosen] = digit

# What other programs hand over: arrays under these names. `text_features` (C, D) may be among them.
np.savez("digits.npz", features=features, labels=labels, class_names=names, split=np.where(train, "train", "test"))

import_features(file=Path("digits.npz"), out=Path("cache"), index="none")
run = fit(cache=Path("cache"), out=Path("run"))
print(f"macro accuracy {run.metrics['macro_accuracy']:.3f}, tail {run.metrics['tail_accuracy']:.3f}")

# The file takes features of any length, and needs neither torch nor this cache.
export_onnx(run=Path("run"), onnx=Path("digits.onnx"))
classifier = OnnxClassifier(Path("digits.onnx"))
probabilities = classifier.predict_proba(features[~train].astype(np.float32))
answers = np.array(classifier.class_names)[probabilities.argmax(axis=1)]
print(f"onnxruntime is right on {np.mean(answers == np.array(names)[truth[~train]]):.3f} of the test rows")
