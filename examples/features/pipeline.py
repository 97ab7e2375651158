"""Unlabelled rows in a scikit-learn pipeline and a search: python pipeline.py"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from ulfine_fast import LabelledKFold, ULFineClassifier

X, truth = load_digits(return_X_y=True)
X_train, X_test, y_test = X[:1300], X[1300:], truth[1300:]

# From 30 labelled zeros down to 3 labelled nines; -1 is unlabelled, as in sklearn.semi_supervised.
y_train = np.full(1300, -1)
for digit in range(10):
    y_train[np.flatnonzero(truth[:1300] == digit)[: 30 - 3 * digit]] = digit

# LabelledKFold leaves labelled rows out and trains on all others, so that unlabelled rows are in every fold.
search = GridSearchCV(
    make_pipeline(Normalizer(), ULFineClassifier()),
    {"ulfineclassifier__method": ["ulfine", "gda", "label-spreading"]},
    cv=LabelledKFold(3),
    scoring="balanced_accuracy",
)
search.fit(X_train, y_train)

for tried, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(f"{tried['ulfineclassifier__method']}: {score:.3f} on labelled rows that were left out")
print(f"the best on the test rows: {balanced_accuracy_score(y_test, search.predict(X_test)):.3f}")
