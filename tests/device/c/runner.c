/* Runs device_sdk/c/edge_gateway.h for the tests: a command a line on standard input, an answer a line on standard output.

   Every payload and buffer is on the heap in its exact size, so that the sanitizers see each byte too many. */

#define EDGE_GATEWAY_IMPLEMENTATION
#include "edge_gateway.h"

#include <stdio.h>
#include <stdlib.h>

static const eg_metric METRICS[] = {{"sys", "free-heap", 0}, {"sys", "rssi", 0}, {"sys", "temperature", -1}};
static const eg_metric MODEL_METRICS[] = {{"sys", "latency-ms", 0}, {"sys", "confidence", -2}};
static const eg_model MODELS[] = {{"keyword-spotting", "1.0", MODEL_METRICS, 2}};
static eg_layout layout = {"1.0.0", METRICS, 3, MODELS, 1};

static eg_device device;
static eg_result result;
static uint8_t *result_bytes;

static uint8_t *payload_of(const char *hex, size_t *size)
{
    size_t i;
    uint8_t *payload;
    *size = strlen(hex) / 2;
    payload = (uint8_t *)malloc(*size);
    for (i = 0; i < *size; i++) {
        unsigned byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
            abort();
        payload[i] = (uint8_t)byte;
    }
    return payload;
}

static void print_hex(const void *from, size_t size)
{
    const uint8_t *at = (const uint8_t *)from;
    while (size--)
        printf("%02x", *at++);
}

/* As JSON: text and bytes as {"str": hex} and {"bin": hex}. */
static void print_span(eg_span span, const char *kind)
{
    if (!span.at) {
        printf("null");
        return;
    }
    printf("{\"%s\": \"", kind);
    print_hex(span.at, span.size);
    printf("\"}");
}

static void print_enum(eg_enum value)
{
    if (value.at)
        print_span(value, "str");
    else
        printf("%s", eg_is(value, 0) ? "0" : eg_is(value, 1) ? "1" : "null");
}

static void print_number(uint32_t number)
{
    if (number == EG_NIL)
        printf("null");
    else
        printf("%lu", (unsigned long)number);
}

static void print_plan(eg_plan plan)
{
    eg_deployment deployment;
    eg_definition definition;
    uint32_t index = 0;
    const char *comma = "";
    printf("[%lu, [", (unsigned long)plan.digest);
    while (eg_next_deployment(&plan, &deployment) > 0) {
        printf("%s[", comma);
        print_span(deployment.name, "str");
        printf(", ");
        print_enum(deployment.policy);
        printf(deployment.rest.at ? ", [" : ", null");
        comma = "";
        while (eg_next_definition(&deployment, &definition) > 0) {
            if (definition.index != index++)
                abort();
            printf("%s[", comma);
            print_span(definition.handle, "str");
            printf(", ");
            print_enum(definition.state);
            printf(", ");
            if (definition.checksum.at)
                print_span(definition.checksum, "bin");
            else
                print_span(definition.checksum_text, "str");
            printf(", ");
            print_number(definition.size);
            printf(", ");
            print_span(definition.url, "str");
            printf(", ");
            print_span(definition.checksum_type, "str");
            printf("]");
            comma = ", ";
        }
        printf(deployment.rest.at ? "], " : ", ");
        print_span(deployment.type, "str");
        printf("]");
        comma = ", ";
    }
    printf("]]");
}

static void print_ack(const eg_ack *ack)
{
    printf("[");
    print_number(ack->seq);
    printf(", %lu, %lu, ", (unsigned long)ack->code, (unsigned long)ack->time);
    print_span(ack->detail, "str");
    printf("]");
}

static void print_block(const eg_block *block)
{
    printf("[%lu, %lu, %lu, %lu, ", (unsigned long)block->digest, (unsigned long)block->index,
           (unsigned long)block->offset, (unsigned long)block->total);
    print_span(block->data, "bin");
    printf("]");
}

static void decode(const char *channel, const char *hex)
{
    size_t size;
    uint8_t *payload = payload_of(hex, &size);
    eg_plan plan;
    eg_ack ack;
    eg_block block;
    if (!strcmp(channel, "plan") && eg_decode_plan(payload, size, &plan))
        print_plan(plan);
    else if (!strcmp(channel, "ack") && eg_decode_ack(payload, size, &ack))
        print_ack(&ack);
    else if (!strcmp(channel, "block") && eg_decode_block(payload, size, &block))
        print_block(&block);
    else
        printf("null");
    free(payload);
}

static void start(const char *line)
{
    unsigned long now, unix_s, random16, woke, interval, tx_size, sample_size, plans;
    eg_saved saved = device.saved;
    if (sscanf(line, "start %lu %lu %lu %lu %lu %lu %lu %lu", &now, &unix_s, &random16, &woke, &interval, &tx_size,
               &sample_size, &plans) != 8)
        abort();
    free(device.samples);
    free(device.models);
    free(device.tx);
    memset(&device, 0, sizeof device);
    device.layout = &layout;
    device.samples = (eg_sample *)malloc(sample_size * sizeof *device.samples);
    device.sample_size = (uint16_t)sample_size;
    device.models = (eg_times *)malloc(sizeof *device.models);
    device.models[0].sampled = device.models[0].ran = EG_NIL;
    device.tx = (uint8_t *)malloc(tx_size);
    device.tx_size = tx_size;
    device.max_payload = 512;
    device.interval = (uint32_t)interval;
    device.flags = EG_NO_URLS;
    device.plans = plans;
    device.saved = saved;
    printf("%d", eg_start(&device, (uint32_t)now, (uint32_t)unix_s, (uint16_t)random16, woke));
}

static void report(uint32_t now, const char *name, const char *message)
{
    eg_model_result model;
    eg_outcome outcome;
    memset(&model, 0, sizeof model);
    memset(&outcome, 0, sizeof outcome);
    model.handle = eg_text("kws");
    model.desired = model.state = eg_value(EG_DEPLOY);
    model.status = eg_value(*message == '-' ? EG_SUCCESS : EG_FAIL);
    outcome.name = eg_text(name);
    outcome.status = eg_text(*message == '-' ? "SUCCESS" : "FAIL");
    outcome.message = eg_text(*message == '-' ? NULL : message);
    outcome.models = &model;
    outcome.model_count = 1;
    if (!device.result) {
        free(result_bytes);
        result_bytes = (uint8_t *)malloc(300);
        if (eg_encode_result(&outcome, result_bytes, 300, &result) > 300)
            abort();
        result.started = now - 9;
        result.ended = now - 2;
    }
    printf("%d", eg_report(&device, &result, now));
}

/* The commands that bring a payload. */
static void receive(const char *channel, uint32_t now, const char *hex)
{
    size_t size;
    uint8_t *payload = payload_of(hex, &size);
    eg_plan plan;
    eg_ack ack;
    eg_block block;
    if (!strcmp(channel, "plan"))
        printf("%d", eg_on_plan(&device, payload, size, &plan));
    else if (!strcmp(channel, "ack"))
        printf("%d", eg_on_ack(&device, payload, size, now, &ack));
    else
        printf("%d", eg_on_block(&device, payload, size, now, &block));
    free(payload);
}

static void sum(const char *hex)
{
    size_t size, i;
    uint8_t *data = payload_of(hex, &size), digest[20];
    eg_sha1 sha1;
    eg_sha1_begin(&sha1);
    for (i = 0; i < size; i += 7)
        eg_sha1_add(&sha1, data + i, size - i < 7 ? size - i : 7);
    eg_sha1_end(&sha1, digest);
    print_hex(digest, 20);
    free(data);
}

static void answer(const char *line)
{
    static char word[1 << 16], text[1 << 16], version[1 << 16];
    unsigned long a = 0, b = 0;
    double number = 0;
    eg_channel channel;
    if (sscanf(line, "decode %7s %65535s", word, text) >= 1) {
        decode(word, text);
        text[0] = 0;
    } else if (!strncmp(line, "start ", 6)) {
        start(line);
    } else if (sscanf(line, "int %lu %lu %lf", &a, &b, &number) == 3) {
        printf("%d", eg_record(&device, eg_int((uint16_t)a, (uint32_t)b, (int64_t)number)));
    } else if (sscanf(line, "double %lu %lu %lf", &a, &b, &number) == 3) {
        printf("%d", eg_record(&device, eg_double((uint16_t)a, (uint32_t)b, number)));
    } else if (sscanf(line, "float %lu %lu %lf", &a, &b, &number) == 3) {
        printf("%d", eg_record(&device, eg_float((uint16_t)a, (uint32_t)b, (float)number)));
    } else if (sscanf(line, "ran %lu %lu", &a, &b) == 2) {
        device.models[0].sampled = (uint32_t)a;
        device.models[0].ran = (uint32_t)b;
    } else if (sscanf(line, "poll %lu", &a) == 1) {
        channel = eg_poll(&device, (uint32_t)a);
        printf("%s ", eg_channel_name(channel));
        if (channel)
            print_hex(device.tx, device.tx_used);
    } else if (!strcmp(line, "sent")) {
        eg_sent(&device);
    } else if (!strcmp(line, "lost")) {
        eg_lost(&device);
    } else if (sscanf(line, "wait %lu", &a) == 1) {
        printf("%lu", (unsigned long)eg_wait(&device, (uint32_t)a));
    } else if (sscanf(line, "clock %lu %lu", &a, &b) == 2) {
        eg_clock(&device, (uint32_t)a, (uint32_t)b);
    } else if (sscanf(line, "sleep %lu %lu", &a, &b) == 2) {
        eg_sleep(&device, (uint32_t)a, (uint32_t)b);
    } else if (sscanf(line, "receive %7s %lu %65535s", word, &a, text) >= 2) {
        receive(word, (uint32_t)a, text);
        text[0] = 0;
    } else if (sscanf(line, "report %lu %65535s %65535s", &a, word, text) == 3) {
        report((uint32_t)a, word, text);
        text[0] = 0;
    } else if (!strcmp(line, "done")) {
        eg_plan_done(&device);
    } else if (sscanf(line, "file %lu %lu", &a, &b) == 2) {
        eg_file_begin(&device, (uint32_t)a, (uint32_t)b);
    } else if (!strcmp(line, "wrong")) {
        printf("%d", eg_file_wrong(&device));
    } else if (!strncmp(line, "sha1", 4)) {
        sum(line + (line[4] == ' ' ? 5 : 4));
    } else if (sscanf(line, "version %65535s", version) == 1) {
        layout.agent_version = version;
    } else if (!strcmp(line, "state")) {
        printf("{\"changed\": %d, \"hello\": %lu, \"epoch\": %lu, \"have\": %lu, \"tag\": %u, \"samples\": %u, "
               "\"result\": %d, \"active\": %d}",
               device.changed, (unsigned long)device.saved.hello, (unsigned long)device.saved.epoch,
               (unsigned long)device.saved.have, device.saved.tag, device.sample_count, device.result != NULL,
               device.file.active);
        device.changed = false;
    } else {
        abort();
    }
}

int main(void)
{
    static char line[1 << 17];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        answer(line);
        printf("\n");
        fflush(stdout);
    }
    free(device.samples);
    free(device.models);
    free(device.tx);
    free(result_bytes);
    return 0;
}
