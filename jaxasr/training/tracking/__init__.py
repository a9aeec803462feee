"""Trackers of metrics: TensorBoard, W&B and trackio."""
