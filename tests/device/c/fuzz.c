/* Any bytes into the decoders, and any order of events into the rules. The sanitizers judge, and a few asserts.

   `fuzz COUNT FILE...` mutates the files, deterministically. With clang it is a target of libFuzzer:
   clang -g -O1 -fsanitize=fuzzer,address,undefined -DLIBFUZZER -I device_sdk/c tests/device/c/fuzz.c */

#define EDGE_GATEWAY_IMPLEMENTATION
#include "edge_gateway.h"

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { TX_SIZE = 140, SAMPLES = 4 };

static const eg_metric METRICS[] = {{"sys", "free-heap", 0}, {"sys", "temperature", -1}};
static const eg_model MODELS[] = {{"keyword-spotting", "1.0", METRICS, 2}};
static const eg_layout LAYOUT = {"1.0.0", METRICS, 2, MODELS, 1};

static volatile uint8_t sink;

/* Reads every byte that a span says to have: it must be of the payload. */
static void touch(eg_span span, const uint8_t *payload, size_t size)
{
    const uint8_t *at = (const uint8_t *)span.at;
    size_t i;
    if (!at)
        return;
    assert(at >= payload && at + span.size <= payload + size);
    for (i = 0; i < span.size; i++)
        sink = at[i];
}

static void read_plan(eg_plan plan, const uint8_t *payload, size_t size)
{
    eg_deployment deployment;
    eg_definition definition;
    uint32_t index = 0;
    int more;
    while ((more = eg_next_deployment(&plan, &deployment)) > 0) {
        touch(deployment.name, payload, size);
        touch(deployment.policy, payload, size);
        touch(deployment.type, payload, size);
        while ((more = eg_next_definition(&deployment, &definition)) > 0) {
            assert(definition.index == index++);
            touch(definition.handle, payload, size);
            touch(definition.state, payload, size);
            touch(definition.checksum, payload, size);
            touch(definition.checksum_text, payload, size);
            touch(definition.url, payload, size);
            touch(definition.checksum_type, payload, size);
        }
        assert(!more);
    }
    assert(!more);
}

static void decode(const uint8_t *payload, size_t size)
{
    eg_plan plan;
    eg_ack ack;
    eg_block block;
    if (eg_decode_plan(payload, size, &plan))
        read_plan(plan, payload, size);
    if (eg_decode_ack(payload, size, &ack))
        touch(ack.detail, payload, size);
    if (eg_decode_block(payload, size, &block))
        touch(block.data, payload, size);
}

/* Each event is a byte, and the size of the bytes that it takes. */
static void run(const uint8_t *data, size_t size)
{
    static eg_device device;
    eg_result result;
    eg_outcome outcome;
    uint8_t bytes[64];
    uint32_t now = 0;
    memset(&device, 0, sizeof device);
    memset(&outcome, 0, sizeof outcome);
    device.layout = &LAYOUT;
    device.samples = (eg_sample *)malloc(SAMPLES * sizeof *device.samples);
    device.sample_size = SAMPLES;
    device.models = (eg_times *)malloc(sizeof *device.models);
    device.tx = (uint8_t *)malloc(TX_SIZE);
    device.tx_size = TX_SIZE;
    device.max_payload = 200;
    device.interval = 9;
    device.plans = true;
    assert(eg_start(&device, 0, size & 1 ? 1795458600 : 0, 7, false));
    while (size >= 2) {
        size_t left = data[1] < size - 2 ? data[1] : size - 2;
        uint8_t *payload = (uint8_t *)malloc(left);
        unsigned event = data[0];
        eg_plan plan;
        eg_ack ack;
        eg_block block;
        eg_sample sample;
        uint32_t number = 0;
        size_t i;
        if (left)
            memcpy(payload, data + 2, left);
        for (i = 0; i < left && i < 4; i++)
            number = number << 8 | payload[i];
        data += 2 + left;
        size -= 2 + left;
        switch (event % 14) {
        case 0:
            eg_on_ack(&device, payload, left, now, &ack);
            break;
        case 1:
            if (eg_on_plan(&device, payload, left, &plan))
                read_plan(plan, payload, left);
            break;
        case 2:
            if (eg_on_block(&device, payload, left, now, &block))
                touch(block.data, payload, left);
            break;
        case 3:
        case 4:
            eg_poll(&device, now);
            assert(device.tx_used <= TX_SIZE);
            break;
        case 5:
            eg_sent(&device);
            break;
        case 6:
            eg_lost(&device);
            break;
        case 7:
        case 8:
            memset(&sample, 0, sizeof sample);
            memcpy(&sample, payload, left < sizeof sample - 2 ? left : sizeof sample - 2);
            sample.kind = (uint8_t[]){EG_INT, EG_UINT, EG_FLOAT, EG_DOUBLE, 0}[event % 5];
            sample.metric &= 7;
            eg_record(&device, sample);
            break;
        case 9:
            if (!device.result) {
                outcome.name.at = outcome.message.at = payload;
                outcome.name.size = outcome.message.size = left < 20 ? left : 20;
                if (eg_encode_result(&outcome, bytes, sizeof bytes, &result) <= sizeof bytes)
                    eg_report(&device, &result, now);
            }
            break;
        case 10:
            eg_file_begin(&device, number & 3, number >> 2);
            break;
        case 11:
            eg_clock(&device, now, number);
            break;
        case 12:
            eg_file_wrong(&device);
            eg_plan_done(&device);
            break;
        default:
            now += event;
            device.models[0].ran = device.models[0].sampled = now;
            (void)eg_wait(&device, now);
            break;
        }
        free(payload);
    }
    free(device.samples);
    free(device.models);
    free(device.tx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    if (!size)
        return 0;
    copy = (uint8_t *)malloc(size - 1);
    if (size > 1)
        memcpy(copy, data + 1, size - 1);
    if (data[0] & 1)
        run(copy, size - 1);
    else
        decode(copy, size - 1);
    free(copy);
    return 0;
}

#ifndef LIBFUZZER

enum { MOST = 4096 };

static uint32_t state = 1;

/* xorshift32 */
static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % below;
}

static size_t mutate(uint8_t *data, size_t size)
{
    static const uint8_t codes[] = {0x80, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC3, 0xC4, 0xC6, 0xC9, 0xCB, 0xCC,
                                    0xCF, 0xD0, 0xD3, 0xD4, 0xD8, 0xD9, 0xDB, 0xDC, 0xDD, 0xDF, 0xE0, 0xFF, 0x7F};
    uint32_t rounds = 1 + draw(4);
    while (rounds--) {
        size_t at = draw((uint32_t)size);
        switch (draw(6)) {
        case 0:
            data[at] = (uint8_t)draw(256);
            break;
        case 1:
            data[at] = codes[draw(sizeof codes)];
            break;
        case 2:
            data[at] = (uint8_t)(data[at] + draw(3) - 1);
            break;
        case 3: /* cut */
            size = at ? at : 1;
            break;
        case 4: /* remove */
            memmove(data + at, data + at + 1, size - at - 1);
            size = size > 1 ? size - 1 : 1;
            break;
        default: /* repeat a part */
            if (size * 2 < MOST) {
                memmove(data + size, data + at, size - at);
                size += size - at;
            }
        }
    }
    return size;
}

int main(int count, char **arguments)
{
    static uint8_t data[MOST];
    long rounds;
    int i;
    if (count < 3)
        return 2;
    for (rounds = 0; rounds < atol(arguments[1]); rounds++)
        for (i = 2; i < count; i++) {
            FILE *file = fopen(arguments[i], "rb");
            size_t size = file ? fread(data, 1, MOST / 2, file) : 0;
            if (!size)
                return 1;
            fclose(file);
            if (rounds)
                size = mutate(data, size);
            LLVMFuzzerTestOneInput(data, size);
        }
    return 0;
}

#endif
