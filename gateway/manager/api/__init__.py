"""The operations of the API: what each call means for the database. Reads no bytes of HTTP."""
