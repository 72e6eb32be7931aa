"""The error of all data sets and checks."""


class DataError(ValueError):
    """Data that cannot be trained on; names the file or folder and how to repair it."""
