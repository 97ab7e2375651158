"""fp16 and int8: to add a precision, read `comparison.py` and `half_precision.py`."""
