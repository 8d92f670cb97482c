"""The tables of the manager's database, and nothing else. Times are Unix seconds.

A deployment is a row for each device that has it. `in_force` only spares GetDeployments the reading of what was
superseded long ago: gateway.manager.deployments holds the rule. AUTOINCREMENT: a number, and so a name made of it,
never comes twice.
"""

VERSION = 1

SCHEMA = (
    """CREATE TABLE devices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        fleet TEXT NOT NULL,
        device TEXT NOT NULL,
        registered REAL NOT NULL,
        UNIQUE (fleet, device)
    )""",
    """CREATE TABLE deployments (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        policy TEXT NOT NULL,
        definitions TEXT NOT NULL,
        created REAL NOT NULL,
        in_force INTEGER NOT NULL DEFAULT 1,
        UNIQUE (device, name)
    )""",
    "CREATE INDEX deployments_in_force ON deployments (device, id) WHERE in_force",
    """CREATE TABLE heartbeats (
        device INTEGER PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
        agent_version TEXT NOT NULL,
        accepted INTEGER NOT NULL,
        newest REAL NOT NULL
    )""",
    """CREATE TABLE metrics (
        device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
        model TEXT NOT NULL,
        version TEXT NOT NULL,
        dimension TEXT NOT NULL,
        name TEXT NOT NULL,
        value REAL NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (device, model, version, dimension, name)
    ) WITHOUT ROWID""",
    """CREATE TABLE models (
        device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        sample REAL,
        inference REAL,
        PRIMARY KEY (device, name, version)
    ) WITHOUT ROWID""",
    """CREATE TABLE results (
        device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
        deployment TEXT NOT NULL,
        result TEXT NOT NULL,
        received REAL NOT NULL,
        told INTEGER NOT NULL,
        PRIMARY KEY (device, deployment)
    ) WITHOUT ROWID""",
)
