"""Digit scenes with boxes and masks, both scored; see ``digits_detection.py``."""

_base_ = './digits_detection.py'

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
