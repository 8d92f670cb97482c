"""The embedded Edge Manager: the `sagemaker-edge` API, and a model store, on one port of one machine.

    refusals        every answer that is not a success, in the dialect of its API
    model           botocore's service model -> checks of an input
    deployments     which deployments are in force; no I/O
    rollout         the one next step of a rollout; no I/O
    rules           what an operator types -> the rules of a rollout; no I/O
    heartbeats      a checked SendHeartbeat input -> what is kept of it; no I/O
    signatures      Signature Version 4, checked; no I/O
    ranges          S3's conditions and ranges; no I/O
    store           SQLite
    rollouts        rollouts in the store
    rolling         rollouts carried on
    objects         model files
    api             the three operations over the store
    http            aiohttp: `Config`, `make_app`, `running`
    reports         what is in the store, for people and programs
    answers         how an answer is dressed for HTTP
    schema          the tables
    config          the settings of one manager
    serving         `serve` as a process
    deploying       FILE and HANDLE -> model store and a rollout
    tables          what the commands print
    options         what the commands have in common
    rolloutcli      the commands about deployments
    cli             the `edge-gateway manager` commands

It imports nothing of the gateway but `gateway.errors`: whoever runs it could as well run it elsewhere.
"""
