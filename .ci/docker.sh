# For .ci/run: a Docker engine, and the images that the tests build on. No registry is needed: what is not named is made
# of Debian's packages, and of this machine's own Mosquitto.

engine=
images=()

storage_driver() {
    local at
    mkdir -p /var/lib/docker
    at=$(mktemp -d -p /var/lib/docker)
    mkdir "$at"/{lower,upper,work,merged}
    if mount -t overlay overlay -o "lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work" "$at/merged" 2>/dev/null; then
        umount "$at/merged"
        echo overlay2
    else
        echo vfs
    fi
    rm -rf --one-file-system "$at"
}

start_engine() {
    docker info >/dev/null 2>&1 && return
    # vfs works everywhere, and copies the whole image at each step of a build.
    dockerd "--storage-driver=$(storage_driver)" >"$work/dockerd.log" 2>&1 &
    engine=$!
    for _ in $(seq 120); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.5
    done
    echo "dockerd did not come up. Its log ends:" >&2
    tail -n 30 "$work/dockerd.log" >&2
    return 1
}

# The command for the image that the tests of compose build: theirs is then made of the layers of this one, in seconds.
gateway_image() {
    echo "docker build --quiet --network host --build-arg BASE=$GATEWAY_TEST_BASE --tag gateway-test/edge-gateway:$$ ."
}

# Begins what makes the images.
begin_images() {
    if [ -z "${GATEWAY_TEST_MOSQUITTO_IMAGE:-}" ]; then
        export GATEWAY_TEST_MOSQUITTO_IMAGE="gateway-test/mosquitto:$$"
        images+=("$GATEWAY_TEST_MOSQUITTO_IMAGE")
        begin "full: image of Mosquitto" .ci/image "$GATEWAY_TEST_MOSQUITTO_IMAGE"
    fi
    if [ -z "${GATEWAY_TEST_POSTGRES_IMAGE:-}" ]; then
        export GATEWAY_TEST_POSTGRES_IMAGE="gateway-test/postgres:$$"
        images+=("$GATEWAY_TEST_POSTGRES_IMAGE")
        begin "full: image of PostgreSQL" .ci/postgres "$GATEWAY_TEST_POSTGRES_IMAGE"
    fi
    if [ -z "${GATEWAY_TEST_BASE:-}" ]; then
        export GATEWAY_TEST_BASE="gateway-test/base:$$"
        images+=("$GATEWAY_TEST_BASE")
        begin "full: image of Debian and the gateway" sh -c ".ci/base $GATEWAY_TEST_BASE && $(gateway_image)"
    else
        begin "full: image of the gateway" sh -c "$(gateway_image)"
    fi
    images=("gateway-test/edge-gateway:$$" "${images[@]}")
}

end_images() {
    local name
    for name in "${!jobs[@]}"; do
        [[ $name != "full: image"* ]] || end "$name" || true
    done
}

end_engine() {
    [ ${#images[@]} -eq 0 ] || docker rmi "${images[@]}" >/dev/null 2>&1 || true
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
    fi
}
