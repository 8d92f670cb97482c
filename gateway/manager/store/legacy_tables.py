"""The tables of SQLite files of the formats 1 to 3. Times are Unix seconds.

A deployment is a row for each device that has it. `in_force` only spares GetDeployments reading what was superseded
long ago: `gateway.manager.api.deployments` has the rule. AUTOINCREMENT: a number, and so a name made of it, never comes
twice. Triggers keep `rollout_counts` equal to `rollout_devices`. `results.told`: how often the device reported the
result. `liveness.heartbeats`: how many heartbeats were accepted before it. The state 'given' of `rollout_devices` is
called assigned in the code.

Stored data depend on these statements: they must never change. Newer formats are revisions of `migrations`.
"""


def _count(row: str, change: str) -> str:
    """A trigger's statement: a row of rollout_devices was inserted or deleted."""
    return f"""INSERT INTO rollout_counts (rollout, state, devices) VALUES ({row}.rollout, {row}.state, 0 {change})
        ON CONFLICT DO UPDATE SET devices = devices {change};"""


_FORMAT_1 = (
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

_FORMAT_2 = (
    """CREATE TABLE rollouts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        fleet TEXT NOT NULL,
        name TEXT NOT NULL,
        policy TEXT NOT NULL,
        definitions TEXT NOT NULL,
        created REAL NOT NULL,
        rules TEXT NOT NULL,
        undoes TEXT,
        state TEXT NOT NULL DEFAULT 'running',
        reason TEXT NOT NULL DEFAULT '',
        stage INTEGER NOT NULL DEFAULT 0,
        since REAL NOT NULL
    )""",
    "CREATE INDEX rollouts_by_name ON rollouts (fleet, name)",
    """CREATE TABLE rollout_devices (
        rollout INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
        device INTEGER NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
        place INTEGER NOT NULL,
        state TEXT NOT NULL DEFAULT 'waiting',
        PRIMARY KEY (device, rollout)
    ) WITHOUT ROWID""",
    "CREATE INDEX rollout_devices_next ON rollout_devices (rollout, state, place)",
    """CREATE TABLE rollout_counts (
        rollout INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
        state TEXT NOT NULL,
        devices INTEGER NOT NULL,
        PRIMARY KEY (rollout, state)
    ) WITHOUT ROWID""",
    f"CREATE TRIGGER rollout_device_added AFTER INSERT ON rollout_devices BEGIN {_count('NEW', '+ 1')} END",
    f"CREATE TRIGGER rollout_device_gone AFTER DELETE ON rollout_devices BEGIN {_count('OLD', '- 1')} END",
    f"""CREATE TRIGGER rollout_device_changed AFTER UPDATE OF state ON rollout_devices
        BEGIN {_count("OLD", "- 1")} {_count("NEW", "+ 1")} END""",
    """INSERT INTO rollouts (fleet, name, policy, definitions, created, rules, since)
        SELECT fleet, name, policy, definitions, created, '{}', created
        FROM deployments JOIN devices ON devices.id = deployments.device
        GROUP BY fleet, name, policy, definitions, created ORDER BY min(deployments.id)""",
    """INSERT INTO rollout_devices (rollout, device, place, state)
        SELECT rollouts.id, devices.id, deployments.id,
            CASE json_extract(result, '$.DeploymentStatus')
                WHEN 'SUCCESS' THEN 'succeeded' WHEN 'FAIL' THEN 'failed' ELSE iif(in_force, 'fetched', 'superseded')
            END
        FROM deployments JOIN devices ON devices.id = deployments.device
            JOIN rollouts USING (fleet, name, policy, definitions, created)
            LEFT JOIN results ON results.device = devices.id AND results.deployment = deployments.name""",
    """INSERT INTO sqlite_sequence (name, seq)
        SELECT 'rollouts', seq FROM sqlite_sequence WHERE name = 'deployments'
            AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'rollouts')""",
    """UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'deployments')
        WHERE name = 'rollouts' AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'deployments')""",
)

_FORMAT_3 = (
    """CREATE TABLE liveness (
        device INTEGER PRIMARY KEY REFERENCES devices (id) ON DELETE CASCADE,
        state INTEGER NOT NULL,
        seconds REAL,
        at REAL NOT NULL,
        heartbeats INTEGER NOT NULL
    )""",
    # What an earlier version took for metrics of the agent: they would be shown for ever, and never change.
    """DELETE FROM metrics
        WHERE model = '' AND version = '' AND dimension = 'liveness' AND name IN ('state', 'seconds')""",
)

FORMATS = (_FORMAT_1, _FORMAT_2, _FORMAT_3)
"""The statements that change each format into the next one; the first is for an empty file."""
