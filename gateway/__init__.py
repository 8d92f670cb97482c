"""Microcontrollers under Amazon SageMaker Edge Manager: the gateway between MQTT and the `sagemaker-edge` API."""
