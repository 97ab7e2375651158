"""Parts of the scikit-learn estimator."""
