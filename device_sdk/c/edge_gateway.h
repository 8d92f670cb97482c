/* edge_gateway.h: a device of edge-gateway in C99. It makes the device's payloads and reads those for it.

   SPDX-License-Identifier: MIT

   One header. In one source file of the program:

       #define EDGE_GATEWAY_IMPLEMENTATION
       #include "edge_gateway.h"

   No allocation, no I/O, no global variables, no floating-point arithmetic, no recursion. It needs memcmp, memcpy,
   memset and strlen. MQTT, the clock, the random number and the storage are the caller's. One thread calls, or a lock
   is held.

   There are two levels. The *rules* (eg_device) decide what to send, and when, and what an ack means; most programs
   use them alone. The *codec* (eg_encode_..., eg_decode_...) makes and reads single payloads. The protocol is in
   ../PROTOCOL.md: topics are {root}/{fleet}/{device}/{channel}, with QoS 1, and `hello` alone is retained.

   Words that hold everywhere:
   - `now` is the device's clock: whole seconds that never go back, from boot or from any other moment.
   - A number of 32 bits that may be nil is nil where it is EG_NIL, an eg_span where its `at` is NULL.
   - What a decoder returns points into the payload: keep the payload as long as that is used. */

#ifndef EDGE_GATEWAY_H
#define EDGE_GATEWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Values ---- */

/* No time before 2106, no digest and no size of a file is as large. */
#define EG_NIL 0xFFFFFFFEu

/* Bytes, or text in UTF-8 without a NUL at its end: printf("%.*s", (int)span.size, (const char *)span.at). */
typedef struct {
    const void *at; /* NULL: nil */
    size_t size;
} eg_span;

/* The text of a C string; NULL: nil. */
static inline eg_span eg_text(const char *text)
{
    eg_span span = {text, text ? strlen(text) : 0};
    return span;
}

/* An enum of the API: one of the values below, nil, or the text of a value that version 1 of the protocol does not
   name. Make it with eg_value or eg_text, read it with eg_is. */
typedef eg_span eg_enum;

enum { EG_UNDEPLOY = 0, EG_DEPLOY = 1 };                /* state */
enum { EG_FAIL = 0, EG_SUCCESS = 1 };                   /* status of a model */
enum { EG_ROLLBACK_ON_FAILURE = 0, EG_DO_NOTHING = 1 }; /* policy of a deployment */

static inline eg_enum eg_value(uint32_t value)
{
    eg_enum made = {NULL, (size_t)value + 2};
    return made;
}

static inline bool eg_is(eg_enum one, uint32_t value)
{
    return !one.at && one.size == (size_t)value + 2;
}

/* ---- What a device measures ---- */

typedef struct {
    const char *dimension, *name; /* 1 to 1000 and 4 to 100 characters; PROTOCOL.md has the patterns */
    int8_t exponent;              /* -30 to 30: a sample n stands for n * 10^exponent */
} eg_metric;

typedef struct {
    const char *name, *version;
    const eg_metric *metrics;
    uint16_t metric_count;
} eg_model;

/* Constant: it may lie in flash. */
typedef struct {
    const char *agent_version;
    const eg_metric *metrics;
    uint16_t metric_count;
    const eg_model *models;
    uint16_t model_count;
} eg_layout;

/* A number that was measured. Make it with the functions below. */
typedef struct {
    uint64_t bits;
    uint32_t time;   /* of the device's clock */
    uint16_t metric; /* counted from 0 through the layout's own metrics and then those of each model */
    uint8_t kind;
    bool sent; /* the rules' own: it is in the last heartbeat */
} eg_sample;

enum { EG_FLOAT = 0xCA, EG_DOUBLE = 0xCB, EG_UINT = 0xCF, EG_INT = 0xD3 };

static inline eg_sample eg_int(uint16_t metric, uint32_t time, int64_t value)
{
    eg_sample sample = {(uint64_t)value, time, metric, EG_INT, false};
    return sample;
}

static inline eg_sample eg_uint(uint16_t metric, uint32_t time, uint64_t value)
{
    eg_sample sample = {value, time, metric, (uint8_t)(value >> 63 ? EG_UINT : EG_INT), false};
    return sample;
}

/* 5 bytes. An infinity or NaN becomes a sample without a kind, which eg_record refuses; do not encode it. */
static inline eg_sample eg_float(uint16_t metric, uint32_t time, float value)
{
    eg_sample sample = {0, time, metric, EG_FLOAT, false};
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    sample.bits = bits;
    if (bits << 1 >= 0xFF000000u)
        sample.kind = 0;
    return sample;
}

/* 9 bytes. As eg_float. */
static inline eg_sample eg_double(uint16_t metric, uint32_t time, double value)
{
    eg_sample sample = {0, time, metric, EG_DOUBLE, false};
    if (sizeof value < sizeof sample.bits) /* some 8-bit compilers */
        return eg_float(metric, time, (float)value);
    memcpy(&sample.bits, &value, sizeof value);
    if (sample.bits << 1 >= 0xFFE0000000000000u)
        sample.kind = 0;
    return sample;
}

/* When a model last got a sample, and when it last ran, by the device's clock; EG_NIL: not yet. */
typedef struct {
    uint32_t sampled, ran;
} eg_times;

/* ---- Results ---- */

typedef struct {
    eg_span handle, name, version; /* the plan's handle; ModelName and ModelVersion, or nil */
    eg_enum desired, state;        /* what the plan wanted, and how it is now */
    eg_enum status;
    eg_span reason, rollback_reason;
} eg_model_result;

/* What became of a deployment. */
typedef struct {
    eg_span name;    /* of the deployment */
    eg_span status;  /* eg_text("SUCCESS") or eg_text("FAIL") */
    eg_span message;
    const eg_model_result *models; /* NULL: nil */
    uint32_t model_count;
} eg_outcome;

/* The same, encoded, to be sent in heartbeats. eg_encode_result sets the first members, the caller the times. */
typedef struct {
    const uint8_t *bytes;
    uint32_t size, split, nils;
    uint32_t started, ended; /* by the device's clock */
} eg_result;

/* ---- Codec: encoders ----

   They write at most `size` bytes to `payload` and return the size of the whole payload, at least 1. A return greater
   than `size` means that it did not fit; the bytes are not usable then. */

typedef struct {
    uint16_t tag;
    const eg_layout *layout;
    uint32_t epoch;       /* Unix seconds */
    uint32_t max_payload; /* bytes */
    uint32_t flags;       /* EG_NO_URLS */
} eg_hello;

enum { EG_NO_URLS = 1 }; /* leave S3 URLs out of plans: the device reads models by `read` */

size_t eg_encode_hello(const eg_hello *hello, uint8_t *payload, size_t size);

/* The times of *out become nil. Nothing but `bytes` must be kept. */
size_t eg_encode_result(const eg_outcome *outcome, uint8_t *bytes, size_t size, eg_result *out);

typedef struct {
    uint32_t tag; /* of the retained hello */
    const eg_layout *layout;
    uint32_t time;            /* seconds since the hello's epoch; with the layout, Unix seconds */
    uint32_t now;             /* the same moment by the device's clock: ages are counted back from it */
    const eg_sample *samples; /* in ascending order of `metric` */
    size_t sample_count;
    const eg_times *models;  /* one of each model of the layout */
    uint32_t have;           /* digest of the plan that the device holds, 0: none; nil: do not compare */
    const eg_result *result; /* NULL: none */
    uint32_t seq;            /* asks for an ack */
} eg_heartbeat;

size_t eg_encode_heartbeat(const eg_heartbeat *heartbeat, uint8_t *payload, size_t size);

/* With the layout in the place of the tag: for a device that keeps no hello. */
size_t eg_encode_heartbeat_layout(const eg_heartbeat *heartbeat, uint8_t *payload, size_t size);

/* Asks the service for the plan. */
typedef struct {
    uint32_t have, seq; /* as in a heartbeat */
} eg_get;

size_t eg_encode_get(const eg_get *get, uint8_t *payload, size_t size);

/* Whether the device is there: on the topic `live`, retained. EG_GONE is for the last will, EG_NIL seconds. */
typedef enum { EG_GONE, EG_CONNECTED, EG_ASLEEP } eg_state;

static inline size_t eg_encode_live(eg_state state, uint32_t seconds, uint8_t *payload, size_t size)
{
    eg_get same = {(uint32_t)state, seconds}; /* two numbers, too */
    return eg_encode_get(&same, payload, size);
}

/* A request for `count` blocks of `length` bytes, one after another, from `offset` on. */
typedef struct {
    uint32_t digest, index; /* of the plan, and of the definition as in eg_definition */
    uint32_t offset, length;
    uint32_t count; /* EG_NIL: 1 */
} eg_read;

size_t eg_encode_read(const eg_read *read, uint8_t *payload, size_t size);

/* ---- Codec: decoders ----

   They take any bytes. False: the payload is not of the protocol's form, and *out must not be used. A number above
   32 bits is read as UINT32_MAX. */

typedef struct {
    uint32_t seq;  /* of the message that is answered */
    uint32_t code; /* EG_ACCEPTED ... */
    uint32_t time; /* Unix seconds now */
    eg_span detail;
} eg_ack;

enum {
    EG_ACCEPTED = 0,
    EG_MALFORMED = 1,
    EG_UNKNOWN_TAG = 2,
    EG_NOT_REGISTERED = 3,
    EG_REFUSED = 4,
    EG_NO_SUCH_PLAN = 5,
    EG_PLAN_TOO_LARGE = 6,
    EG_LATER = 7
};

bool eg_decode_ack(const uint8_t *payload, size_t size, eg_ack *out);

typedef struct {
    uint32_t digest, index, offset;
    uint32_t total; /* bytes of the whole file */
    eg_span data;
} eg_block;

bool eg_decode_block(const uint8_t *payload, size_t size, eg_block *out);

/* A plan and a position in it, which eg_next_deployment moves. A copy begins where it was copied. */
typedef struct {
    uint32_t digest;
    eg_span rest;      /* of the deployments: where the next one is, and how many come */
    uint32_t index;    /* of the next definition */
    const uint8_t *end;
} eg_plan;

typedef struct {
    eg_span name;
    eg_enum policy;
    eg_span rest; /* of the definitions: as in eg_plan */
    eg_span type; /* nil: "Model" */
    uint32_t index;
    const uint8_t *end;
} eg_deployment;

typedef struct {
    eg_span handle;
    eg_enum state;
    eg_span checksum;      /* the raw bytes, 20 of SHA-1; nil where there is none, or it is a text */
    eg_span checksum_text; /* a checksum that is not 40 hex digits */
    uint32_t size;         /* of the model file in bytes */
    eg_span url;
    eg_span checksum_type; /* nil: "SHA1" */
    uint32_t index;        /* counted from 0 through all deployments of the plan */
} eg_definition;

/* It checks the whole plan: what the next two functions read then is well-formed. */
bool eg_decode_plan(const uint8_t *payload, size_t size, eg_plan *out);

/* 1: the next one is in *out. 0: there is none. Negative: malformed, never in a plan that eg_decode_plan has accepted. */
int eg_next_deployment(eg_plan *plan, eg_deployment *out);
int eg_next_definition(eg_deployment *deployment, eg_definition *out);

/* ---- SHA-1, for a model file ---- */

typedef struct {
    uint32_t state[5];
    uint32_t size; /* bytes so far: less than 2^32 */
    uint8_t block[64];
} eg_sha1;

void eg_sha1_begin(eg_sha1 *sum);
void eg_sha1_add(eg_sha1 *sum, const void *data, size_t size);
void eg_sha1_end(eg_sha1 *sum, uint8_t digest[20]);

/* ---- Rules ----

   1. Set the members of eg_device that are called settings, and `saved` to what was stored; zero the others.
   2. eg_start, once. eg_record whenever something was measured; where a model ran, set its times in `models`.
   3. While connected: eg_poll. It returns a channel, and the payload is in `tx`: publish it with QoS 1, retained for
      EG_HELLO, and call eg_sent after the PUBACK. Until then eg_poll returns EG_NOTHING.
   4. Where the connection ends, call eg_lost: what was not confirmed is made again.
   5. eg_on_ack, eg_on_plan and eg_on_block take the payloads of those three channels. Any bytes may come there.
   6. After each call: where `changed` is true, store `saved` and set it to false. */

typedef enum { EG_NOTHING, EG_HELLO, EG_HB, EG_GET, EG_READ, EG_PLAN, EG_ACK, EG_BLOCK } eg_channel;

/* The last level of the topic: "hello", "hb", ... */
static inline const char *eg_channel_name(eg_channel channel)
{
    static const char names[][6] = {"", "hello", "hb", "get", "read", "plan", "ack", "block"};
    return names[channel];
}

/* What must survive a loss of power. No pointers: it can be stored as bytes. All zero: a new device. */
typedef struct {
    uint16_t tag;
    uint32_t hello; /* hash of the hello that the broker has; 0: none */
    uint32_t epoch; /* Unix seconds from which the device counts; 0: it has no clock */
    uint32_t wakes; /* seconds since the epoch at which the sleep of eg_sleep ends */
    uint32_t have;  /* digest of the plan that is carried out and reported; 0: none */
} eg_saved;

/* A download. Read `active` only: it ends with EG_WHOLE of eg_on_block, and where the gateway has refused the file three
   times (the ack has the reason as its detail), or the plan is no longer the newest. */
typedef struct {
    bool active, ask, resumed;
    uint8_t refusals;
    eg_read read;
    uint32_t end, began, asked, wait;
} eg_file;

enum { EG_TX_MIN = 128 };

typedef struct {
    /* To read. A member without a comment belongs to the rules. The order makes the code small: what is used often has an
       offset for which a Cortex-M has short instructions. */
    bool changed;            /* `saved` must be stored */
    bool get;
    eg_channel sending;
    eg_file file;            /* the download */
    eg_saved saved;          /* a setting: what was stored */
    uint32_t sample_count;   /* samples that wait, or whose heartbeat may still be refused */
    size_t tx_used;          /* bytes in `tx` */
    const eg_result *result; /* not accepted yet; NULL: none */

    uint32_t hello, digest, seq, shift, due, since;

    /* Settings. */
    const eg_layout *layout;
    eg_sample *samples;   /* room for samples that wait; when it is full, the oldest is dropped */
    uint8_t *tx;          /* for the payload that is sent */
    size_t tx_size;       /* bytes, at least EG_TX_MIN and 12 for each model; the hello must fit */
    eg_times *models;     /* one of each model of the layout: set its times whenever it has run */
    uint16_t sample_size; /* how many samples there is room for, at least 1 */
    bool plans;           /* whether the device takes plans; false: heartbeats only */
    uint32_t max_payload; /* bytes of the largest payload that the device can take, at least EG_TX_MIN */
    uint32_t interval;    /* seconds between heartbeats, at least 1; each is up to an eighth early, to spread a fleet */
    uint32_t flags;       /* EG_NO_URLS, or EG_NIL */
} eg_device;

/* unix_s: Unix seconds; 0: the device does not know them. random16: 16 random bits, others at each boot.
   woke: whether the device comes from the sleep that eg_sleep announced. False: a setting is wrong, or the hello does
   not fit `tx`. */
bool eg_start(eg_device *device, uint32_t now, uint32_t unix_s, uint16_t random16, bool woke);

/* Call it when the clock may have been set; unix_s 0 changes nothing. */
void eg_clock(eg_device *device, uint32_t now, uint32_t unix_s);

/* Keep a sample for the next heartbeat, in units of 10^exponent of its metric. False: the layout has no such metric, or
   the value is an infinity or NaN. */
bool eg_record(eg_device *device, eg_sample sample);

/* Makes the message that is due. It is in `tx`, `tx_used` bytes. */
eg_channel eg_poll(eg_device *device, uint32_t now);
void eg_sent(eg_device *device);
void eg_lost(eg_device *device);

/* Seconds until the next heartbeat; 0: do not sleep, a message or a download is under way or due. */
uint32_t eg_wait(const eg_device *device, uint32_t now);

/* Prepare `saved` for a sleep of so many seconds. */
void eg_sleep(eg_device *device, uint32_t now, uint32_t seconds);

/* False: malformed. *out is for a log; the rules have done what it means. */
bool eg_on_ack(eg_device *device, const uint8_t *payload, size_t size, uint32_t now, eg_ack *out);

/* True: it is a plan to carry out now. Keep the payload (*out points into it) until eg_plan_done. For each deployment:
   carry it out, eg_report, and wait until `result` is NULL; then eg_plan_done. A newer plan takes the place of this one.
   One that comes while a result waits is asked for again afterwards. If power fails before eg_plan_done, the plan comes
   again after the next start. */
bool eg_on_plan(eg_device *device, const uint8_t *payload, size_t size, eg_plan *out);

/* The result is repeated in heartbeats until it is accepted, or never will be: then `result` is NULL. It must stay
   unchanged until then. False: another one still waits. */
bool eg_report(eg_device *device, const eg_result *result, uint32_t now);
void eg_plan_done(eg_device *device);

/* Download the file of a definition of the plan of eg_on_plan. offset: bytes of it that are already stored. */
void eg_file_begin(eg_device *device, uint32_t index, uint32_t offset);

enum { EG_IGNORE = 0, EG_WRITE = 1, EG_WHOLE = 2 };

/* EG_WRITE: store out->data at out->offset, the end of what is stored. EG_WHOLE: do so, and then compare the checksum
   of all that is stored. EG_IGNORE: malformed, repeated, or of another file. To give up, set file.active to false. */
int eg_on_block(eg_device *device, const uint8_t *payload, size_t size, uint32_t now, eg_block *out);

/* Call it where the checksum is wrong. True: some of it was stored before eg_file_begin, and may be of another file:
   delete all of it, the download begins again at 0. False: the file is not what the plan says. */
bool eg_file_wrong(eg_device *device);

#ifdef __cplusplus
}
#endif
#endif /* EDGE_GATEWAY_H */

#ifdef EDGE_GATEWAY_IMPLEMENTATION
#ifndef EDGE_GATEWAY_IMPLEMENTED
#define EDGE_GATEWAY_IMPLEMENTED

/* Members that are read as an array of one type lie one after another, and a block begins as its request does. */
typedef char eg__layout_of_members[offsetof(eg_model_result, rollback_reason) == 7 * sizeof(eg_span) &&
                                           offsetof(eg_outcome, message) == 2 * sizeof(eg_span) &&
                                           offsetof(eg_hello, flags) == offsetof(eg_hello, epoch) + 8 &&
                                           offsetof(eg_read, count) == 16 && sizeof(eg_get) == 8 &&
                                           offsetof(eg_block, total) == offsetof(eg_read, length)
                                       ? 1
                                       : -1];

/* ---- Writing msgpack ---- */

typedef struct {
    size_t start;
    uint32_t nils, count;
} eg__array;

typedef struct {
    uint8_t *buf;
    size_t size, len; /* len goes on beyond size */
    uint32_t nils;    /* how many of the last elements are nil: those at the end of an array are left out */
    eg__array open[5], *last; /* the first is not used */
    const eg_heartbeat *h;
    const eg_sample *sample; /* the next one */
    unsigned metric;
} eg__writer;

static void eg__bytes(eg__writer *w, uint32_t n, unsigned size)
{
    while (size--) {
        if (w->len < w->size)
            w->buf[w->len] = (uint8_t)(n >> 8 * size);
        w->len++;
    }
}

static void eg__code(eg__writer *w, uint32_t code)
{
    w->nils = 0;
    eg__bytes(w, code, 1);
}

/* The code, and n in one, two or four bytes, as `bits` needs them; of more bytes the code is one or two higher. */
static void eg__sized(eg__writer *w, uint32_t code, uint32_t n, uint32_t bits)
{
    unsigned size = bits > 0xFFFF ? 4 : bits > 0xFF ? 2 : 1;
    eg__code(w, code + size / 2);
    eg__bytes(w, n, size);
}

static void eg__nil(eg__writer *w)
{
    w->nils++;
    eg__bytes(w, 0xC0, 1);
}

/* sign: 0, or UINT32_MAX for the negative number of which n is the low half. */
static void eg__int(eg__writer *w, uint32_t n, uint32_t sign)
{
    uint32_t bits = n ^ sign;
    bits += bits & sign; /* one more, for the sign */
    if (bits < 128 - (sign & 64))
        eg__code(w, n);
    else
        eg__sized(w, 0xCC + (sign & 4), n, bits);
}

static void eg__optional(eg__writer *w, uint32_t n)
{
    if (n == EG_NIL)
        eg__nil(w);
    else
        eg__int(w, n, 0);
}

static void eg__value(eg__writer *w, const eg_sample *sample)
{
    uint32_t high = (uint32_t)(sample->bits >> 32), low = (uint32_t)sample->bits;
    uint32_t sign = 0 - (high >> 31);
    if (sample->kind == EG_INT && high == sign && (low | ~sign) >> 31) {
        eg__int(w, low, sign);
        return;
    }
    eg__code(w, sample->kind);
    eg__bytes(w, high, sample->kind == EG_FLOAT ? 0 : 4);
    eg__bytes(w, low, 4);
}

/* The head of an array: of more than 15 elements in three bytes, the count in its low 16 bits. */
static void eg__head(eg__writer *w, uint32_t count)
{
    if (count > 15)
        eg__sized(w, 0xDB, count, 0x100);
    else
        eg__code(w, 0x90 | count);
}

/* Begins an array. At its end, nils at its end are left out; one of nils alone becomes nil. */
static void eg__open(eg__writer *w, uint32_t count)
{
    w->last++;
    w->last->start = w->len;
    w->last->nils = w->nils;
    w->last->count = count;
    eg__head(w, count);
}

static void eg__close(eg__writer *w)
{
    eg__array *array = w->last--;
    size_t end = w->len - w->nils;
    uint32_t count = array->count - w->nils;
    w->len = array->start;
    w->nils = array->nils;
    if (!count) {
        eg__nil(w);
        return;
    }
    if (array->count > 15)
        count |= 0x10000; /* a head of the same size */
    eg__head(w, count);
    w->len = end;
}

static void eg__raw(eg__writer *w, const void *from, size_t size)
{
    const uint8_t *at = (const uint8_t *)from;
    while (size--)
        eg__bytes(w, *at++, 1);
}

static void eg__age(eg__writer *w, uint32_t time)
{
    if (time != EG_NIL)
        time = time < w->h->now ? w->h->now - time : 0;
    eg__optional(w, time);
}

/* The samples of the next metrics, below `end`. */
static void eg__row(eg__writer *w, unsigned end)
{
    const eg_sample *all = w->h->samples + w->h->sample_count;
    eg__open(w, end - w->metric);
    for (; w->metric < end; w->metric++) {
        const eg_sample *first = w->sample;
        uint32_t count;
        bool alone;
        while (w->sample < all && w->sample->metric <= w->metric)
            w->sample++;
        count = (uint32_t)(w->sample - first);
        alone = count == 1 && first->time >= w->h->now;
        if (!count)
            eg__nil(w);
        else if (!alone)
            eg__head(w, 2 * count);
        for (; count--; first++) {
            eg__value(w, first);
            if (!alone)
                eg__age(w, first->time);
        }
    }
    eg__close(w);
}

static void eg__models(eg__writer *w)
{
    const eg_model *model = w->h->layout->models;
    const eg_times *times = w->h->models;
    uint32_t left = w->h->layout->model_count;
    eg__open(w, left);
    for (; left--; model++, times++) {
        eg__open(w, 3);
        eg__age(w, times->sampled);
        eg__age(w, times->ran);
        eg__row(w, w->metric + model->metric_count);
        eg__close(w);
    }
    eg__close(w);
}

static void eg__result(eg__writer *w, const eg_result *r)
{
    eg__open(w, 6);
    eg__raw(w, r->bytes, r->split);
    w->nils = r->nils;
    eg__age(w, r->started);
    eg__age(w, r->ended);
    if (r->size > r->split) {
        w->nils = 0;
        eg__raw(w, r->bytes + r->split, r->size - r->split);
    } else {
        eg__nil(w);
    }
    eg__close(w);
}

static void eg__begin(eg__writer *w, uint8_t *payload, size_t size, uint32_t count)
{
    w->buf = payload;
    w->size = size;
    w->len = 0;
    w->nils = 0;
    w->last = w->open;
    eg__open(w, count);
}

static size_t eg__heartbeat(eg__writer *w, const eg_heartbeat *h)
{
    w->h = h;
    w->sample = h->samples;
    w->metric = 0;
    eg__optional(w, h->time);
    eg__row(w, h->layout->metric_count);
    eg__models(w);
    eg__optional(w, h->have);
    if (h->result)
        eg__result(w, h->result);
    else
        eg__nil(w);
    eg__optional(w, h->seq);
    eg__close(w);
    return w->len;
}

size_t eg_encode_heartbeat(const eg_heartbeat *h, uint8_t *payload, size_t size)
{
    eg__writer w;
    eg__begin(&w, payload, size, 7);
    eg__optional(&w, h->tag);
    return eg__heartbeat(&w, h);
}

static void eg__spans(eg__writer *w, const eg_span *span, size_t count)
{
    for (; count--; span++) {
        const void *at = span->at;
        size_t left = span->size;
        if (!at) {
            eg__optional(w, (uint32_t)left + EG_NIL);
            continue;
        }
        if (left < 32)
            eg__code(w, 0xA0 | (uint32_t)left);
        else
            eg__sized(w, 0xD9, (uint32_t)left, (uint32_t)left);
        eg__raw(w, at, left);
    }
}

size_t eg_encode_result(const eg_outcome *outcome, uint8_t *bytes, size_t size, eg_result *out)
{
    const eg_model_result *model = outcome->models;
    uint32_t left = outcome->model_count;
    eg__writer w;
    eg__begin(&w, bytes, size, 0);
    w.len = 0;
    eg__spans(&w, &outcome->name, 3);
    out->bytes = bytes;
    out->split = (uint32_t)w.len;
    out->nils = w.nils;
    out->started = out->ended = EG_NIL;
    if (model)
        eg__head(&w, left);
    for (; left--; model++) {
        eg__open(&w, 8);
        eg__spans(&w, &model->handle, 8);
        eg__close(&w);
    }
    return out->size = (uint32_t)w.len;
}

static void eg__string(eg__writer *w, const char *text)
{
    eg_span span;
    span.at = text;
    span.size = strlen(text);
    eg__spans(w, &span, 1);
}

static void eg__metrics(eg__writer *w, const eg_metric *metric, uint32_t count)
{
    for (eg__head(w, count); count--; metric++) {
        int exponent = metric->exponent;
        eg__head(w, exponent ? 3 : 2);
        eg__string(w, metric->dimension);
        eg__string(w, metric->name);
        if (exponent)
            eg__int(w, (uint32_t)exponent, exponent < 0 ? UINT32_MAX : 0);
    }
}

static void eg__layout(eg__writer *w, const eg_layout *layout)
{
    const eg_model *model = layout->models;
    uint32_t left = layout->model_count;
    eg__head(w, 3);
    eg__string(w, layout->agent_version);
    eg__metrics(w, layout->metrics, layout->metric_count);
    for (eg__head(w, left); left--; model++) {
        eg__head(w, 3);
        eg__string(w, model->name);
        eg__string(w, model->version);
        eg__metrics(w, model->metrics, model->metric_count);
    }
}

size_t eg_encode_heartbeat_layout(const eg_heartbeat *h, uint8_t *payload, size_t size)
{
    eg__writer w;
    eg__begin(&w, payload, size, 7);
    eg__layout(&w, h->layout);
    return eg__heartbeat(&w, h);
}

/* Ends the payload with numbers that may be nil. */
static size_t eg__numbers(eg__writer *w, const uint32_t *number, uint32_t count)
{
    while (count--)
        eg__optional(w, *number++);
    eg__close(w);
    return w->len;
}

size_t eg_encode_hello(const eg_hello *hello, uint8_t *payload, size_t size)
{
    eg__writer w;
    eg__begin(&w, payload, size, 5);
    eg__optional(&w, hello->tag);
    eg__layout(&w, hello->layout);
    return eg__numbers(&w, &hello->epoch, 3);
}

size_t eg_encode_read(const eg_read *read, uint8_t *payload, size_t size)
{
    eg__writer w;
    eg__begin(&w, payload, size, 5);
    return eg__numbers(&w, &read->digest, 5);
}

size_t eg_encode_get(const eg_get *get, uint8_t *payload, size_t size)
{
    eg__writer w;
    eg__begin(&w, payload, size, 2);
    eg__numbers(&w, &get->have, 2);
    if (w.nils && size) /* neither of them */
        *payload = 0x90;
    return w.len;
}

/* ---- Reading msgpack ---- */

typedef struct {
    const uint8_t *at, *end;
} eg__cursor;

enum { EG__NIL = 1, EG__UINT = 2, EG__STR = 4, EG__BIN = 8, EG__ARRAY = 16, EG__MAP = 32, EG__OTHER = 64 };

typedef struct {
    uint32_t n;        /* a number, a size in bytes, or how many objects follow */
    const uint8_t *at; /* of bytes or text, or where the objects begin; else NULL */
} eg__item;

static bool eg__is_utf8(const uint8_t *at, size_t size)
{
    while (size--) {
        uint32_t point = *at++;
        unsigned more = point < 0x80 ? 0 : point < 0xE0 ? 1 : point < 0xF0 ? 2 : 3, i;
        if (more > size || (more && (point < 0xC2 || point > 0xF4)))
            return false;
        size -= more;
        for (i = more; i; i--) {
            unsigned byte = *at++ ^ 0x80u;
            if (byte > 0x3F)
                return false;
            point = point << 6 | byte;
        }
        /* What is left of the first byte stands above the character: 0xE0 << 12 and so on. */
        if (more == 2 && (point - 0xE0800u > 0xF7FF || point >> 11 == 0x1C0 + 0x1B))
            return false;
        if (more == 3 && point - 0x3C10000u > 0xFFFFF)
            return false;
    }
    return true;
}

/* The next object, of an array or a map its head. Returns its kind, 0 for what is no msgpack. */
static unsigned eg__next(eg__cursor *c, eg__item *item)
{
    /* Of the codes from 0xC4 on: the low bits are the size of the number that follows, the high bits its meaning:
       0 bytes of a bin, 1 of an extension, 2 a float, 3 a uint, 4 an int, 5 bytes of a str, 6 elements, 7 pairs. */
    static const uint8_t forms[] = {0x01, 0x02, 0x04, 0x11, 0x12, 0x14, 0x24, 0x28, 0x31, 0x32, 0x34, 0x38, 0x41, 0x42,
                                    0x44, 0x48, 0x10, 0x10, 0x10, 0x10, 0x10, 0x51, 0x52, 0x54, 0x62, 0x64, 0x72, 0x74};
    static const uint8_t kinds[] = {EG__BIN,  EG__OTHER, EG__OTHER, EG__UINT,
                                    EG__UINT, EG__STR,   EG__ARRAY, EG__MAP};
    unsigned code, form, size = 0;
    uint32_t n;
    item->at = NULL;
    item->n = 0;
    if (c->at == c->end)
        return 0;
    code = *c->at++;
    if (code < 0x80) {
        form = 3;
        n = code;
    } else if (code < 0xC0) {
        form = 7 - (code >> 4 & 3);
        form += form == 4;
        n = code & (form == 5 ? 31 : 15);
    } else if (code < 0xC4) {
        return code == 0xC0 ? EG__NIL : code == 0xC1 ? 0 : EG__OTHER;
    } else if (code >= 0xE0) {
        return EG__OTHER; /* a negative number: no element has one */
    } else {
        form = forms[code - 0xC4];
        size = form & 15;
        form >>= 4;
        if (size > (size_t)(c->end - c->at))
            return 0;
        n = size ? 0 : 1u << (code - 0xD4);
        if (form == 4 && *c->at >> 7)
            form = 2;
        while (size--) {
            unsigned byte = *c->at++;
            n = n >> 24 ? UINT32_MAX : n << 8 | byte;
        }
    }
    item->n = n;
    if (form >= 2 && form < 5)
        return kinds[form];
    item->at = c->at;
    if (n > (size_t)(c->end - c->at)) /* more bytes, or objects, than there are */
        return 0;
    if (form < 6)
        c->at += n;
    if (form == 1) { /* an extension has its type, too */
        if (c->at == c->end)
            return 0;
        c->at++;
    }
    return form == 5 && !eg__is_utf8(item->at, n) ? 0 : kinds[form];
}

/* Over so many objects with all that is in them. */
static bool eg__skip(eg__cursor *c, size_t count)
{
    while (count--) {
        eg__item item;
        unsigned kind = eg__next(c, &item);
        if (kind & (EG__ARRAY | EG__MAP))
            count += item.n;
        if (kind & EG__MAP)
            count += item.n;
        if (!kind || count > (size_t)(c->end - c->at)) /* an object has a byte at least */
            return false;
    }
    return true;
}

/* An array whose first elements are these, as pairs of what they may be and where they go in *out: an EG__UINT or
   EG__NIL alone to an uint32_t, others to an eg_span. What follows is skipped. */
static bool eg__members(eg__cursor *c, const uint8_t (*member)[2], unsigned count, void *out)
{
    eg__item item;
    size_t left;
    if (eg__next(c, &item) != EG__ARRAY)
        return false;
    left = item.n;
    for (; count--; member++) {
        unsigned kinds = (*member)[0], kind = EG__NIL;
        void *to = (char *)out + (*member)[1];
        item.n = 0;
        item.at = NULL;
        if (left) {
            left--;
            kind = eg__next(c, &item);
        }
        if (!(kind & kinds))
            return false;
        if (kinds <= (EG__NIL | EG__UINT)) {
            *(uint32_t *)to = kind == EG__NIL ? EG_NIL : item.n;
        } else {
            eg_span *span = (eg_span *)to;
            if (kind == EG__UINT) { /* an enum */
                if (item.n > 1)
                    return false;
                item.n += 2;
            }
            if (kind == EG__STR && kinds & EG__BIN) /* a checksum */
                span++;
            span->at = item.at;
            span->size = item.n;
            if (kind == EG__ARRAY && !eg__skip(c, item.n))
                return false;
        }
    }
    return eg__skip(c, left);
}

static bool eg__payload(const uint8_t *payload, size_t size, const uint8_t (*member)[2], unsigned count, void *out)
{
    eg__cursor c;
    c.at = payload;
    c.end = payload + size;
    return eg__members(&c, member, count, out) && c.at == c.end;
}

bool eg_decode_ack(const uint8_t *payload, size_t size, eg_ack *out)
{
    static const uint8_t members[][2] = {{EG__UINT | EG__NIL, offsetof(eg_ack, seq)},
                                         {EG__UINT, offsetof(eg_ack, code)},
                                         {EG__UINT, offsetof(eg_ack, time)},
                                         {EG__STR | EG__NIL, offsetof(eg_ack, detail)}};
    return eg__payload(payload, size, members, 4, out);
}

bool eg_decode_block(const uint8_t *payload, size_t size, eg_block *out)
{
    static const uint8_t members[][2] = {{EG__UINT, offsetof(eg_block, digest)},
                                         {EG__UINT, offsetof(eg_block, index)},
                                         {EG__UINT, offsetof(eg_block, offset)},
                                         {EG__UINT, offsetof(eg_block, total)},
                                         {EG__BIN, offsetof(eg_block, data)}};
    return eg__payload(payload, size, members, 5, out);
}

static int eg__step(eg_span *rest, const uint8_t *end, const uint8_t (*member)[2], unsigned count, void *out)
{
    eg__cursor c;
    bool good;
    if (!rest->size)
        return 0;
    rest->size--;
    c.at = (const uint8_t *)rest->at;
    c.end = end;
    good = eg__members(&c, member, count, out);
    rest->at = c.at;
    return good ? 1 : -1;
}

int eg_next_deployment(eg_plan *plan, eg_deployment *out)
{
    static const uint8_t members[][2] = {{EG__STR | EG__NIL, offsetof(eg_deployment, name)},
                                         {EG__UINT | EG__STR | EG__NIL, offsetof(eg_deployment, policy)},
                                         {EG__ARRAY | EG__NIL, offsetof(eg_deployment, rest)},
                                         {EG__STR | EG__NIL, offsetof(eg_deployment, type)}};
    int found = eg__step(&plan->rest, plan->end, members, 4, out);
    if (found > 0) {
        out->end = plan->end;
        out->index = plan->index;
        plan->index += (uint32_t)out->rest.size;
    }
    return found;
}

int eg_next_definition(eg_deployment *deployment, eg_definition *out)
{
    static const uint8_t members[][2] = {{EG__STR | EG__NIL, offsetof(eg_definition, handle)},
                                         {EG__UINT | EG__STR | EG__NIL, offsetof(eg_definition, state)},
                                         {EG__BIN | EG__STR | EG__NIL, offsetof(eg_definition, checksum)},
                                         {EG__UINT | EG__NIL, offsetof(eg_definition, size)},
                                         {EG__STR | EG__NIL, offsetof(eg_definition, url)},
                                         {EG__STR | EG__NIL, offsetof(eg_definition, checksum_type)}};
    memset(out, 0, sizeof *out);
    out->index = deployment->index++;
    return eg__step(&deployment->rest, deployment->end, members, 6, out);
}

bool eg_decode_plan(const uint8_t *payload, size_t size, eg_plan *out)
{
    static const uint8_t members[][2] = {{EG__UINT, offsetof(eg_plan, digest)}, {EG__ARRAY, offsetof(eg_plan, rest)}};
    eg_plan plan;
    eg_deployment deployment;
    eg_definition definition;
    int more;
    if (!eg__payload(payload, size, members, 2, &plan) || plan.digest >> 30)
        return false;
    plan.index = 0;
    plan.end = payload + size;
    *out = plan;
    while ((more = eg_next_deployment(&plan, &deployment)) > 0) {
        do
            more = eg_next_definition(&deployment, &definition);
        while (more > 0);
        if (more < 0)
            break;
    }
    return !more;
}

/* ---- SHA-1 (FIPS 180-4) ---- */

static uint32_t eg__rotate(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

void eg_sha1_begin(eg_sha1 *sum)
{
    static const uint32_t first[] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    memcpy(sum->state, first, sizeof first);
    sum->size = 0;
}

static void eg__sha1_block(eg_sha1 *sum)
{
    static const uint32_t constants[] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t w[16], s[5];
    unsigned i;
    memcpy(s, sum->state, sizeof s);
    for (i = 0; i < 80; i++) {
        uint32_t f, word;
        const uint8_t *at = sum->block + i * 4;
        if (i < 16)
            word = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        else
            word = eg__rotate(w[(i + 13) & 15] ^ w[(i + 8) & 15] ^ w[(i + 2) & 15] ^ w[i & 15], 1);
        w[i & 15] = word;
        if (i < 20)
            f = s[3] ^ (s[1] & (s[2] ^ s[3]));
        else if (i / 20 == 2)
            f = (s[1] & s[2]) | (s[3] & (s[1] | s[2]));
        else
            f = s[1] ^ s[2] ^ s[3];
        word += eg__rotate(s[0], 5) + f + s[4] + constants[i / 20];
        s[4] = s[3];
        s[3] = s[2];
        s[2] = eg__rotate(s[1], 30);
        s[1] = s[0];
        s[0] = word;
    }
    for (i = 0; i < 5; i++)
        sum->state[i] += s[i];
}

void eg_sha1_add(eg_sha1 *sum, const void *data, size_t size)
{
    const uint8_t *at = (const uint8_t *)data;
    while (size--) {
        sum->block[sum->size++ & 63] = *at++;
        if (!(sum->size & 63))
            eg__sha1_block(sum);
    }
}

void eg_sha1_end(eg_sha1 *sum, uint8_t digest[20])
{
    uint32_t size = sum->size;
    uint8_t tail[8] = {0x80};
    unsigned i;
    do {
        eg_sha1_add(sum, tail, 1);
        tail[0] = 0;
    } while ((sum->size & 63) != 56);
    for (i = 3; i < 8; i++)
        tail[i] = (uint8_t)(i > 3 ? size << 3 >> (56 - 8 * i) : size >> 29);
    eg_sha1_add(sum, tail, 8);
    for (i = 0; i < 20; i++)
        digest[i] = (uint8_t)(sum->state[i / 4] >> (24 - i % 4 * 8));
}

/* ---- Rules ---- */

static bool eg__reached(uint32_t now, uint32_t moment)
{
    return (int32_t)(now - moment) >= 0;
}

static size_t eg__hello(const eg_device *d, uint16_t tag, uint32_t epoch)
{
    eg_hello hello;
    hello.tag = tag;
    hello.layout = d->layout;
    hello.epoch = epoch;
    hello.max_payload = d->max_payload;
    hello.flags = d->flags;
    return eg_encode_hello(&hello, d->tx, d->tx_size);
}

enum { EG__SENT = 2 }; /* the hello is under way: no hash, since these are odd */

/* The hello must be published. */
static void eg__announce(eg_device *d)
{
    d->saved.hello = 0;
    d->changed = true;
}

bool eg_start(eg_device *d, uint32_t now, uint32_t unix_s, uint16_t random16, bool woke)
{
    size_t size = eg__hello(d, 0, EG_NIL), i;
    uint32_t hash = 2166136261u, last = d->saved.tag; /* FNV-1a of the hello, but for its tag and epoch */
    if (!d->interval || !d->sample_size || d->max_payload < EG_TX_MIN || d->tx_size < size + 6 ||
        d->tx_size < EG_TX_MIN + 12u * d->layout->model_count)
        return false;
    for (i = 0; i < size; i++)
        hash = (hash ^ d->tx[i]) * 16777619u;
    d->hello = hash | 1;
    for (i = 0; i < d->layout->model_count; i++)
        d->models[i].sampled = d->models[i].ran = EG_NIL;
    d->due = now;
    d->digest = d->saved.have;
    d->seq = (uint32_t)random16 << 16; /* new at each boot: an ack of an earlier message confirms nothing */
    d->shift = (woke && d->saved.wakes ? d->saved.wakes : UINT32_MAX) - now;
    d->saved.wakes = 0;
    eg_clock(d, now, unix_s);
    if (d->saved.hello != d->hello) {
        d->saved.tag = (uint16_t)(random16 ^ (random16 == last));
        eg__announce(d);
    }
    return true;
}

void eg_clock(eg_device *d, uint32_t now, uint32_t unix_s)
{
    uint32_t time = now + d->shift; /* since the epoch */
    if (unix_s && d->saved.epoch) {
        time = unix_s - d->saved.epoch;
    } else if (unix_s && time <= INT32_MAX) { /* a new epoch in place of nil is no other one: the tag stays */
        d->saved.epoch = unix_s - time;
        eg__announce(d);
    }
    if (time > INT32_MAX) { /* another epoch: the clock was set back, or it is another boot, without a clock */
        time = 0;
        d->saved.epoch = unix_s;
        d->saved.tag++;
        eg__announce(d);
    }
    d->shift = time - now;
}

bool eg_record(eg_device *d, eg_sample sample)
{
    eg_sample *each, *end = d->samples + d->sample_count;
    eg_sample *to = d->samples; /* where there is room: the oldest one's, or at the end */
    uint32_t count = d->layout->metric_count, i;
    for (i = 0; i < d->layout->model_count; i++)
        count += d->layout->models[i].metric_count;
    if (sample.metric >= count || !sample.kind)
        return false;
    for (each = to; each < end; each++)
        if (!eg__reached(each->time, to->time))
            to = each;
    if (d->sample_count < d->sample_size)
        to = d->samples + d->sample_count++;
    for (; to > d->samples && to[-1].metric > sample.metric; to--)
        *to = to[-1];
    for (; to + 1 < end && to[1].metric <= sample.metric; to++)
        *to = to[1];
    *to = sample;
    return true;
}

/* What the last heartbeat carried is sent again. */
static void eg__again(eg_device *d)
{
    uint32_t i;
    for (i = 0; i < d->sample_count; i++)
        d->samples[i].sent = false;
    d->since = 0;
}

static size_t eg__beat(eg_device *d, uint32_t now)
{
    eg_sample *to = d->samples;
    eg_heartbeat h;
    size_t size;
    uint32_t i;
    for (i = 0; i < d->sample_count; i++) /* the last heartbeat arrived, or nothing of it is marked */
        if (!d->samples[i].sent)
            *to++ = d->samples[i];
    d->sample_count = (uint32_t)(to - d->samples);
    for (i = 0; i < d->layout->model_count; i++)
        if (d->models[i].ran < d->since)
            d->models[i].ran = d->models[i].sampled = EG_NIL;
    h.tag = d->saved.tag;
    h.layout = d->layout;
    h.time = now + d->shift;
    h.now = now;
    h.samples = d->samples;
    h.sample_count = d->sample_count;
    h.models = d->models;
    h.have = d->plans ? d->digest : EG_NIL;
    h.result = d->result;
    h.seq = d->result ? d->seq : EG_NIL;
    if (!d->result && !d->saved.epoch)
        h.seq = ++d->seq; /* a new one: a late ack of another heartbeat would set a wrong clock */
    while ((size = eg_encode_heartbeat(&h, d->tx, d->tx_size)) > d->tx_size)
        h.sample_count /= 2;
    for (i = 0; i < h.sample_count; i++)
        d->samples[i].sent = true;
    d->since = d->due = now;
    if (i == d->sample_count) /* else the others follow at once */
        d->due += d->interval - ((d->saved.tag ^ now) * 40503u >> 8) % (d->interval / 8 + 1);
    return size;
}

static size_t eg__request(eg_device *d, uint32_t now)
{
    eg_file *f = &d->file;
    if (!f->ask) { /* nothing came: a shorter request, and more patience */
        f->read.count = 1;
        if (f->wait < 64)
            f->wait *= 2;
    }
    f->ask = false;
    f->began = f->asked = now;
    f->end = f->read.offset + f->read.count * f->read.length;
    return eg_encode_read(&f->read, d->tx, d->tx_size);
}

eg_channel eg_poll(eg_device *d, uint32_t now)
{
    eg_get get;
    if (d->sending)
        return EG_NOTHING;
    if (d->saved.hello != d->hello) {
        d->tx_used = eg__hello(d, d->saved.tag, d->saved.epoch ? d->saved.epoch : EG_NIL);
        d->sending = EG_HELLO;
        d->saved.hello = EG__SENT;
    } else if (d->get) {
        get.have = d->digest;
        get.seq = EG_NIL;
        d->tx_used = eg_encode_get(&get, d->tx, d->tx_size);
        d->sending = EG_GET;
    } else if (eg__reached(now, d->due)) {
        d->tx_used = eg__beat(d, now);
        d->sending = EG_HB;
    } else if (d->file.active && (d->file.ask || now - d->file.asked >= d->file.wait)) {
        d->tx_used = eg__request(d, now);
        d->sending = EG_READ;
    }
    return d->sending;
}

void eg_sent(eg_device *d)
{
    if (d->saved.hello == EG__SENT) { /* and there is no other one by now */
        d->saved.hello = d->hello;
        d->changed = true;
    }
    if (d->sending == EG_GET)
        d->get = false;
    d->sending = EG_NOTHING;
}

void eg_lost(eg_device *d)
{
    if (d->sending == EG_HB) {
        d->due = d->since;
        eg__again(d);
    }
    d->file.ask = true;
    d->sending = EG_NOTHING;
}

uint32_t eg_wait(const eg_device *d, uint32_t now)
{
    uint32_t left = d->due - now;
    if (d->sending || d->get || d->file.active || d->saved.hello != d->hello || left > INT32_MAX)
        left = 0;
    return left;
}

void eg_sleep(eg_device *d, uint32_t now, uint32_t seconds)
{
    d->saved.wakes = now + d->shift + seconds;
    d->changed = true;
}

bool eg_on_ack(eg_device *d, const uint8_t *payload, size_t size, uint32_t now, eg_ack *out)
{
    bool mine;
    if (!eg_decode_ack(payload, size, out))
        return false;
    mine = out->seq == d->seq;
    if (mine && !d->result && !d->saved.epoch && now - d->since <= 10)
        eg_clock(d, now, out->time);
    switch (out->code) {
    case EG_ACCEPTED:
    case EG_MALFORMED:
    case EG_REFUSED:
        if (mine && d->result) {
            d->result = NULL;
            d->seq++; /* the same ack once more must not set the clock */
        }
        return true;
    case EG_NO_SUCH_PLAN:
        d->get = d->plans;
        if (d->file.active && ++d->file.refusals > 2)
            d->file.active = false;
        return true;
    case EG_UNKNOWN_TAG:
        eg__announce(d);
        break;
    case EG_NOT_REGISTERED:
        d->due = now + (d->interval < 60 ? 60 : d->interval); /* the gateway remembers it for so long */
        break;
    case EG_LATER:
        if (!d->file.active) /* else it may be about that */
            break;
        return true;
    default:
        return true;
    }
    eg__again(d);
    return true;
}

bool eg_on_plan(eg_device *d, const uint8_t *payload, size_t size, eg_plan *out)
{
    if (!d->plans || !eg_decode_plan(payload, size, out) || out->digest == d->digest)
        return false;
    d->digest = out->digest;
    d->file.active = false;
    d->saved.have = 0; /* what the last one names will not be there as a whole any more */
    d->changed = true;
    return true;
}

bool eg_report(eg_device *d, const eg_result *result, uint32_t now)
{
    if (d->result || result->size + EG_TX_MIN / 2 + 12u * d->layout->model_count > d->tx_size)
        return false;
    d->result = result;
    d->seq++;
    d->due = now;
    return true;
}

void eg_plan_done(eg_device *d)
{
    d->saved.have = d->digest;
    d->changed = true;
}

void eg_file_begin(eg_device *d, uint32_t index, uint32_t offset)
{
    eg_file *f = &d->file;
    f->read.digest = d->digest;
    f->read.index = index;
    f->read.offset = offset;
    f->read.length = (d->max_payload < 4096 ? d->max_payload : 4096) - 32;
    f->read.count = 1;
    f->wait = 8;
    f->refusals = 0;
    f->resumed = offset > 0;
    f->active = f->ask = true;
}

int eg_on_block(eg_device *d, const uint8_t *payload, size_t size, uint32_t now, eg_block *out)
{
    eg_file *f = &d->file;
    uint32_t took = now - f->began, gap = now - f->asked, end, total;
    if (!f->active || !eg_decode_block(payload, size, out) || memcmp(out, &f->read, offsetof(eg_read, length)))
        return EG_IGNORE;
    end = out->offset + (uint32_t)out->data.size;
    total = out->offset > out->total ? out->offset : out->total; /* more may be stored than the file has */
    if (end > total || end < out->offset || (end < total && !out->data.size))
        return EG_IGNORE;
    f->read.offset = end;
    f->wait = gap < 60 ? 8 + 2 * gap : 128;
    f->asked = now;
    if (end == total) {
        f->active = false;
        return EG_WHOLE;
    }
    if (end >= f->end) { /* the next request is larger on a fast link, smaller on a slow one */
        f->ask = true;
        if (took < 2 && f->read.count < 64)
            f->read.count *= 2;
        if (took > 4)
            f->read.count = (f->read.count + 1) / 2;
    }
    return EG_WRITE;
}

bool eg_file_wrong(eg_device *d)
{
    bool resumed = d->file.resumed;
    if (resumed)
        eg_file_begin(d, d->file.read.index, 0);
    return resumed;
}

#endif /* EDGE_GATEWAY_IMPLEMENTED */
#endif /* EDGE_GATEWAY_IMPLEMENTATION */
