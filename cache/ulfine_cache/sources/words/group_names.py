"""What images have in common: a camera, a site, a batch. Any word will do."""


def group_name(value: object) -> str:
    """Read what a cell says of a group: numbers as they are written, "" where nothing is said.

    Example:
        >>> group_name(7.0), group_name(" B12 "), group_name(float("nan")), group_name(None)
        ('7', 'B12', '', '')
    """
    # NaN is what is left of an empty cell in a column of numbers, which are whole ones with a ".0" then.
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()
