"""Messages of devices and gateway, their topics and bytes, and calls to the Edge Manager. Performs no I/O."""
