# For .ci/run: steps with their times, and the end of all that was started. The caller sets traps.

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}") # gigabytes: /tmp may be memory
jobs=()   # process groups that run
table=()  # a line for each step that came to its end
failed=0

# Start a command in a process group of its own: it can be ended as one, and hears SIGINT as it would in a terminal.
start() {
    set -m
    "$@" &
    set +m
    jobs+=($!)
}

# Wait for all that was started. Fails where one of them did.
wait_all() {
    local job status=0
    for job in "${jobs[@]}"; do
        wait "$job" || status=$?
    done
    jobs=()
    return "$status"
}

# Run a command to its end, and note its time under a name. A failure is noted too, and the next step may follow.
step() {
    local name=$1 began=$SECONDS status=0
    shift
    printf '\n=== %s\n' "$name"
    start "$@"
    wait_all || status=$?
    note "$name" "$began" "$status"
}

note() {
    local outcome=
    if [ "$3" -ne 0 ]; then
        failed=1
        outcome="FAILED ($3)"
        printf '%s: %s\n' "$1" "$outcome"
    fi
    table+=("$(printf '%-36s %5d s  %s' "$1" $((SECONDS - $2)) "$outcome")")
}

print_table() {
    printf '\n'
    printf '%s\n' "${table[@]}"
    printf '%-36s %5d s\n' all "$SECONDS"
}

end_jobs() {
    local job
    for job in "${jobs[@]}"; do
        kill -TERM -- "-$job" 2>/dev/null || true
    done
    for job in "${jobs[@]}"; do
        await_end "$job" || kill -KILL -- "-$job" 2>/dev/null || true
    done
    wait "${jobs[@]}" 2>/dev/null || true
}

# Wait 20 s for a process group to end.
await_end() {
    for _ in $(seq 200); do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}
