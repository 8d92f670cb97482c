"""HTTP of the Edge Manager: signatures, requests, answers. Decides nothing about devices."""
