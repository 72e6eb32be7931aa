"""What the tests of models share: what was logged."""

import logging

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def log(caplog, request):
    """Give the messages that were logged so far."""
    caplog.set_level(logging.INFO)
    name = request.module.__name__
    logger = MMLogger.get_instance(name, log_level='INFO')
    MMLogger._instance_dict.move_to_end(name)  # the current one
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)
