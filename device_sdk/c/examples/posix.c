/* A device on a machine with POSIX sockets: it sends its uptime, and keeps the model files of its plans.

   cc -std=c99 -I device_sdk/c device_sdk/c/examples/posix.c -o device
   ./device HOST PORT FLEET DEVICE [PASSWORD]

   Its state and its models are files of the current folder. It has the smallest MQTT 3.1.1 client that does, without TLS;
   take a library for a product. */

#define _POSIX_C_SOURCE 200809L

#define EDGE_GATEWAY_IMPLEMENTATION
#include "edge_gateway.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { UPTIME, LATENCY };
enum { KEEPALIVE = 60, MOST = 1024, MODELS = 8, PATH = 80 };

#ifndef INTERVAL
#define INTERVAL 60 /* seconds between heartbeats */
#endif

static const eg_metric METRICS[] = {{"sys", "uptime", 0}};
static const eg_metric MODEL_METRICS[] = {{"sys", "latency-ms", 0}};
static const eg_model MODEL[] = {{"wake-word", "1.0", MODEL_METRICS, 1}};
static const eg_layout LAYOUT = {"1.0.0", METRICS, 1, MODEL, 1};

static eg_sample samples[16];
static eg_times times[1];
static uint8_t payload[512];
static eg_device device = {.layout = &LAYOUT,
                           .samples = samples,
                           .sample_size = 16,
                           .models = times,
                           .tx = payload,
                           .tx_size = sizeof payload,
                           .max_payload = MOST,
                           .interval = INTERVAL,
                           .flags = EG_NO_URLS,
                           .plans = true};

static void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

static uint32_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)now.tv_sec;
}

static uint16_t random16(void)
{
    uint16_t bits = 0;
    FILE *file = fopen("/dev/urandom", "rb");
    if (!file || fread(&bits, sizeof bits, 1, file) != 1)
        exit(1);
    fclose(file);
    return bits;
}

/* ---- State ---- */

static void load(void)
{
    FILE *file = fopen("device.state", "rb");
    eg_saved saved;
    if (file && fread(&saved, sizeof saved, 1, file) == 1)
        device.saved = saved;
    if (file)
        fclose(file);
}

static void store(void)
{
    FILE *file;
    if (!device.changed)
        return;
    file = fopen("device.state.new", "wb"); /* after a power cut there is the old or the new state */
    if (file && fwrite(&device.saved, sizeof device.saved, 1, file) == 1 && !fflush(file) && !fsync(fileno(file)) &&
        !rename("device.state.new", "device.state"))
        device.changed = false;
    else
        say("the state cannot be stored: %s", strerror(errno));
    if (file)
        fclose(file);
}

/* ---- MQTT ---- */

static const char *user, *password;
static char root[160]; /* what every topic of the device begins with */
static int connection = -1;
static uint8_t in[MOST + 256];
static size_t in_used, in_skip; /* in_skip: bytes of a packet that is too large, still to come */
static uint32_t last_sent, last_received;
static uint16_t packet_id;
static bool is_open;
static unsigned wait; /* seconds at most before the next attempt to connect */

static void disconnect(const char *why)
{
    if (connection >= 0) {
        say("disconnected: %s", why);
        close(connection);
    }
    connection = -1;
    is_open = false;
    eg_lost(&device);
}

static void write_all(const uint8_t *data, size_t size)
{
    while (size && connection >= 0) {
        ssize_t sent = send(connection, data, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            disconnect(strerror(errno));
            return;
        }
        data += sent;
        size -= (size_t)sent;
    }
    last_sent = seconds();
}

/* A packet is written at once: parts would wait for each other's TCP acknowledgements. */
typedef struct {
    uint8_t data[800];
    size_t used;
} packet;

static void put(packet *p, const void *data, size_t size)
{
    if (p->used + size > sizeof p->data)
        exit(1);
    memcpy(p->data + p->used, data, size);
    p->used += size;
}

static void put16(packet *p, size_t number)
{
    uint8_t bytes[2];
    bytes[0] = (uint8_t)(number >> 8);
    bytes[1] = (uint8_t)number;
    put(p, bytes, 2);
}

static void put_text(packet *p, const char *first, const char *second)
{
    put16(p, strlen(first) + strlen(second));
    put(p, first, strlen(first));
    put(p, second, strlen(second));
}

static void send_packet(unsigned type, const packet *body)
{
    packet whole = {{0}, 0};
    uint8_t head[3];
    size_t size = 0;
    head[size++] = (uint8_t)type;
    if (body->used > 127) {
        head[size++] = (uint8_t)(body->used | 128);
        head[size++] = (uint8_t)(body->used >> 7);
    } else {
        head[size++] = (uint8_t)body->used;
    }
    put(&whole, head, size);
    put(&whole, body->data, body->used);
    write_all(whole.data, whole.used);
}

static void connect_to(const char *host, const char *port)
{
    struct addrinfo hints, *found = NULL, *each;
    struct timeval limit = {10, 0};
    packet body = {{0}, 0};
    char client_id[160];
    int on = 1;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    if (getaddrinfo(host, port, &hints, &found))
        say("%s has no address", host);
    for (each = found; each && connection < 0; each = each->ai_next) {
        connection = socket(each->ai_family, each->ai_socktype, each->ai_protocol);
        if (connection < 0)
            continue;
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(connection, each->ai_addr, each->ai_addrlen)) {
            say("%s:%s: %s", host, port, strerror(errno));
            close(connection);
            connection = -1;
        }
    }
    if (found)
        freeaddrinfo(found);
    if (connection < 0)
        return;
    in_used = in_skip = 0;
    last_received = seconds();
    snprintf(client_id, sizeof client_id, "%s", user);
    *strchr(client_id, '/') = '.';
    put_text(&body, "MQTT", "");
    put(&body, password ? "\x04\xC0" : "\x04\x80", 2); /* a session that stays; user, and password */
    put16(&body, KEEPALIVE);
    put_text(&body, client_id, "");
    put_text(&body, user, "");
    if (password)
        put_text(&body, password, "");
    send_packet(0x10, &body);
}

static void subscribe(void)
{
    packet body = {{0}, 0};
    eg_channel channel;
    put16(&body, 65535);
    for (channel = EG_PLAN; channel <= EG_BLOCK; channel++) {
        put_text(&body, root, eg_channel_name(channel));
        put(&body, "\x01", 1);
    }
    send_packet(0x82, &body);
}

static void publish(eg_channel channel)
{
    packet body = {{0}, 0};
    packet_id = (uint16_t)(packet_id % 65534 + 1);
    put_text(&body, root, eg_channel_name(channel));
    put16(&body, packet_id);
    put(&body, device.tx, device.tx_used);
    send_packet(channel == EG_HELLO ? 0x33 : 0x32, &body);
}

/* ---- Plans and model files ---- */

static uint8_t plan_payload[MOST];
static eg_plan plan;
static bool planned;               /* whether a plan is carried out */
static eg_deployment deployment;
static eg_definition definitions[MODELS];
static eg_model_result results[MODELS];
static char reasons[MODELS][PATH];
static size_t count, at;           /* definitions of the deployment; the one that is next */
static uint32_t started;
static bool whole;                 /* whether the last block has come */
static FILE *file;
static char refusal[PATH] = "refused"; /* why a download ended: detail of the last ack with a code, or an error */
static eg_result result;
static uint8_t result_bytes[400];

static bool is_name(eg_span handle)
{
    const char *text = (const char *)handle.at;
    size_t i;
    for (i = 0; i < handle.size; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", text[i]) || !text[i])
            return false;
    return handle.size > 0 && handle.size < PATH - 8;
}

static const char *path_of(const eg_definition *definition, const char *suffix)
{
    static char path[PATH];
    snprintf(path, sizeof path, "%.*s%s", (int)definition->handle.size, (const char *)definition->handle.at, suffix);
    return path;
}

static bool is_right(const eg_definition *definition, const char *suffix)
{
    FILE *stored = fopen(path_of(definition, suffix), "rb");
    uint8_t data[512], digest[20];
    eg_sha1 sum;
    size_t size;
    if (!stored)
        return false;
    eg_sha1_begin(&sum);
    while ((size = fread(data, 1, sizeof data, stored)) > 0)
        eg_sha1_add(&sum, data, size);
    fclose(stored);
    eg_sha1_end(&sum, digest);
    if (!definition->checksum.at) /* a download counts as it came; what was there before may be another file */
        return *suffix;
    return definition->checksum.size == sizeof digest && !memcmp(digest, definition->checksum.at, sizeof digest);
}

static void fail(size_t index, const char *reason)
{
    snprintf(reasons[index], PATH, "%s", reason);
    say("%s: %s", path_of(&definitions[index], ""), reason);
}

/* The files of a deployment are there, or some of them will not come. */
static void finish(void)
{
    eg_outcome outcome;
    const char *message = NULL;
    size_t i;
    bool undo;
    memset(&outcome, 0, sizeof outcome);
    for (i = 0; i < count && !message; i++)
        if (reasons[i][0])
            message = reasons[i];
    undo = message && !eg_is(deployment.policy, EG_DO_NOTHING); /* nothing has taken an old file's place yet */
    for (i = 0; i < count; i++) {
        const eg_definition *definition = &definitions[i];
        bool deploy = eg_is(definition->state, EG_DEPLOY), done = !undo && !reasons[i][0];
        char new_path[PATH];
        if (undo && !reasons[i][0])
            snprintf(reasons[i], PATH, "undone");
        snprintf(new_path, PATH, "%s", path_of(definition, ".new"));
        if (done && deploy && !is_right(definition, "") && rename(new_path, path_of(definition, ""))) {
            fail(i, strerror(errno));
            message = reasons[i];
            done = false;
        }
        if (done && !deploy)
            remove(path_of(definition, ""));
        results[i].handle = definition->handle;
        results[i].desired = definition->state;
        results[i].state = done ? definition->state : eg_value(deploy ? EG_UNDEPLOY : EG_DEPLOY);
        results[i].status = eg_value(done ? EG_SUCCESS : EG_FAIL);
        results[i].reason = eg_text(reasons[i][0] ? reasons[i] : NULL);
    }
    outcome.name = deployment.name;
    outcome.status = eg_text(message ? "FAIL" : "SUCCESS");
    outcome.message = eg_text(message);
    outcome.models = results;
    outcome.model_count = (uint32_t)count;
    if (eg_encode_result(&outcome, result_bytes, sizeof result_bytes, &result) > sizeof result_bytes) {
        outcome.model_count = 0;
        eg_encode_result(&outcome, result_bytes, sizeof result_bytes, &result);
    }
    result.started = started;
    result.ended = seconds();
    say("%.*s: %s", (int)deployment.name.size, (const char *)deployment.name.at, message ? "FAIL" : "SUCCESS");
    if (!eg_report(&device, &result, seconds()))
        say("the result is too large, and is not reported");
}

/* Opens the file of a definition, and goes on with what is stored of it. */
static void begin_file(const eg_definition *definition)
{
    long stored;
    file = fopen(path_of(definition, ".new"), "ab+");
    stored = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
    if (stored < 0) {
        fail(at++, strerror(errno));
        return;
    }
    whole = false;
    say("%s: from byte %ld on", path_of(definition, ".new"), stored);
    eg_file_begin(&device, definition->index, (uint32_t)stored);
}

static void end_file(const eg_definition *definition)
{
    fclose(file);
    file = NULL;
    if (whole && is_right(definition, ".new")) {
        say("%s: verified", path_of(definition, ".new"));
        at++;
        return;
    }
    remove(path_of(definition, ".new"));
    if (whole && eg_file_wrong(&device)) {
        whole = false;
        file = fopen(path_of(definition, ".new"), "ab+");
        if (file)
            return;
    }
    fail(at++, whole ? "checksum" : refusal);
}

/* Does what can be done of the plan now. */
static void work(void)
{
    while (planned && !device.result) {
        const eg_definition *definition = &definitions[at];
        if (!count && !started) { /* the next deployment */
            if (eg_next_deployment(&plan, &deployment) <= 0) {
                planned = false;
                eg_plan_done(&device);
                say("plan %lu is carried out", (unsigned long)plan.digest);
                return;
            }
            memset(reasons, 0, sizeof reasons);
            memset(results, 0, sizeof results);
            while (count < MODELS && eg_next_definition(&deployment, &definitions[count]) > 0)
                count++;
            at = 0;
            started = seconds();
            if (deployment.rest.size)
                say("more than %d models: the others are left out", MODELS);
        } else if (at == count) {
            finish();
            count = started = 0;
        } else if (file) {
            if (device.file.active)
                return;
            end_file(definition);
        } else if (!is_name(definition->handle)) {
            fail(at++, "no name for a file");
        } else if (definition->checksum_text.at || definition->checksum_type.at) {
            fail(at++, "a checksum of another type");
        } else if (!eg_is(definition->state, EG_DEPLOY) || is_right(definition, "")) {
            at++;
        } else {
            begin_file(definition);
        }
    }
}

/* ---- What comes ---- */

static void on_plan(const uint8_t *data, size_t size)
{
    if (size > sizeof plan_payload || !eg_on_plan(&device, data, size, &plan))
        return;
    memcpy(plan_payload, data, size);
    eg_decode_plan(plan_payload, size, &plan); /* now it points into the copy */
    say("plan %lu", (unsigned long)plan.digest);
    if (file)
        fclose(file);
    file = NULL;
    count = started = 0;
    planned = true;
}

static void on_message(const char *channel, const uint8_t *data, size_t size)
{
    eg_ack ack;
    eg_block block;
    if (!strcmp(channel, "plan")) {
        on_plan(data, size);
    } else if (!strcmp(channel, "ack") && eg_on_ack(&device, data, size, seconds(), &ack)) {
        say("ack: code %lu %.*s", (unsigned long)ack.code, (int)ack.detail.size,
            ack.detail.at ? (const char *)ack.detail.at : "");
        if (ack.code && ack.detail.size)
            snprintf(refusal, PATH, "%.*s", (int)ack.detail.size, (const char *)ack.detail.at);
    } else if (!strcmp(channel, "block")) {
        int what = eg_on_block(&device, data, size, seconds(), &block);
        if (what == EG_IGNORE || !file)
            return;
        if (fwrite(block.data.at, 1, block.data.size, file) != block.data.size || fflush(file)) {
            snprintf(refusal, PATH, "%s", strerror(errno));
            device.file.active = false;
            return;
        }
        whole = what == EG_WHOLE;
    }
}

/* One packet: its first byte, and its body. */
static void on_packet(unsigned head, uint8_t *body, size_t size)
{
    size_t topic;
    uint8_t ack[4] = {0x40, 2, 0, 0};
    char name[200];
    const char *channel;
    switch (head >> 4) {
    case 2:
        if (size < 2 || body[1]) {
            say("the broker refuses the connection: code %d", size < 2 ? -1 : body[1]);
            disconnect("refused");
            return;
        }
        say("connected");
        is_open = true;
        subscribe();
        return;
    case 3:
        topic = size < 2 ? size : (size_t)(body[0] << 8 | body[1]);
        if (topic + (head & 2 ? 4 : 2) > size || topic >= sizeof name) {
            disconnect("a packet that is no MQTT");
            return;
        }
        memcpy(name, body + 2, topic);
        name[topic] = 0;
        body += 2 + topic;
        size -= 2 + topic;
        if (head & 2) {
            memcpy(ack + 2, body, 2);
            body += 2;
            size -= 2;
        }
        channel = strrchr(name, '/');
        if (channel)
            on_message(channel + 1, body, size);
        if (head & 2)
            write_all(ack, sizeof ack);
        return;
    case 4:
        if (size >= 2 && (body[0] << 8 | body[1]) == packet_id)
            eg_sent(&device);
        wait = 0;
        return;
    default:
        return;
    }
}

/* Handles each packet that is whole. A larger one than the buffer is skipped. */
static void on_bytes(void)
{
    while (in_used) {
        size_t used = 1, size = 0, skipped = in_skip < in_used ? in_skip : in_used;
        unsigned shift = 0;
        if (skipped) {
            in_skip -= skipped;
            in_used -= skipped;
            memmove(in, in + skipped, in_used);
            continue;
        }
        do {
            if (used == in_used)
                return;
            size |= (size_t)(in[used] & 127) << shift;
            shift += 7;
        } while (in[used++] & 128 && shift < 28);
        if (used + size > sizeof in) {
            in_skip = used + size;
            continue;
        }
        if (used + size > in_used)
            return;
        on_packet(in[0], in + used, size);
        if (connection < 0)
            return;
        in_used -= used + size;
        memmove(in, in + used + size, in_used);
    }
}

static void receive(void)
{
    ssize_t size = recv(connection, in + in_used, sizeof in - in_used, 0);
    if (size <= 0) {
        disconnect(size ? strerror(errno) : "the broker ended the connection");
        return;
    }
    in_used += (size_t)size;
    last_received = seconds();
    on_bytes();
}

int main(int arguments, char **argument)
{
    static const uint8_t ping[] = {0xC0, 0};
    static char login[140];
    uint32_t measured = 0;
    if (arguments < 5 || arguments > 6) {
        fprintf(stderr, "usage: %s HOST PORT FLEET DEVICE [PASSWORD]\n", argument[0]);
        return 2;
    }
    snprintf(login, sizeof login, "%s/%s", argument[3], argument[4]);
    snprintf(root, sizeof root, "edge/%s/", login);
    user = login;
    password = argument[5];
    load();
    if (!eg_start(&device, seconds(), (uint32_t)time(NULL), random16(), false)) {
        fprintf(stderr, "a setting of the device is wrong\n");
        return 1;
    }
    for (;;) {
        struct pollfd socket_of_broker = {0, POLLIN, 0};
        uint32_t now = seconds();
        eg_channel channel;
        if (now - measured >= INTERVAL) {
            eg_record(&device, eg_uint(UPTIME, now, now));
            measured = now;
        }
        eg_clock(&device, now, (uint32_t)time(NULL));
        store();
        if (connection < 0) {
            if (wait)
                sleep(random16() % wait + 1); /* a fleet must not reconnect at the same moment */
            wait = wait < 32 ? wait * 2 + 1 : 60;
            connect_to(argument[1], argument[2]);
        }
        work();
        if (is_open) {
            channel = eg_poll(&device, seconds());
            if (channel)
                publish(channel);
        }
        now = seconds();
        if (is_open && now - last_sent > KEEPALIVE / 2)
            write_all(ping, sizeof ping);
        if (connection >= 0 && now - last_received > KEEPALIVE + KEEPALIVE / 2)
            disconnect("no packet for too long");
        store();
        socket_of_broker.fd = connection;
        if (connection >= 0 && poll(&socket_of_broker, 1, 200) > 0)
            receive();
    }
}
