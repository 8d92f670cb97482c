"""What `make demo` needs beside the gateway: brokers that a person without one can start.

It must never be imported by the gateway itself.
"""
