"""What the tools call: train and test, predict, map, explain, repeat; one module for each."""
