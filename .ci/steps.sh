# For .ci/run: steps with their times, and the end of all that was started.

work=$(mktemp -d -p "${TMPDIR:-/var/tmp}") # gigabytes: /tmp may be memory
declare -A jobs=()                         # name -> process group that runs
table=()                                   # a line for each step that came to its end
failed=0

# Start a command under a name, in a process group of its own: it can be ended as one, and gets SIGINT as it would in a
# terminal.
begin() {
    local name=$1
    shift
    set -m
    "$@" &
    set +m
    jobs[$name]=$!
}

# Wait for a command that was begun, and note for how long: since SECOND, or since now. Fails where it failed: the caller
# chooses whether the next step follows. Usage: end NAME [SECOND]
end() {
    local name=$1 since=${2:-$SECONDS} status=0 outcome=
    wait "${jobs[$name]}" || status=$?
    unset "jobs[$name]"
    if [ "$status" -ne 0 ]; then
        failed=1
        outcome="FAILED ($status)"
        printf '%s: %s\n' "$name" "$outcome"
    fi
    table+=("$(printf '%-36s %5d s  %s' "$name" $((SECONDS - since)) "$outcome")")
    return "$status"
}

# Run a command to its end. Another step may follow where it fails.
step() {
    local since=$SECONDS
    printf '\n=== %s\n' "$1"
    begin "$@"
    end "$1" "$since" || true
}

print_table() {
    printf '\n'
    printf '%s\n' "${table[@]}"
    printf '%-36s %5d s  %s\n' all "$SECONDS" "$([ "$failed" -eq 0 ] || echo FAILED)"
}

end_jobs() {
    local job
    for job in "${jobs[@]}"; do
        kill -TERM -- "-$job" 2>/dev/null || true
    done
    for job in "${jobs[@]}"; do
        is_gone "$job" || kill -KILL -- "-$job" 2>/dev/null || true
        wait "$job" 2>/dev/null || true
    done
}

# Wait 20 s for the end of a process group.
is_gone() {
    for _ in $(seq 200); do
        kill -0 -- "-$1" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}
