/* A device on ESP-IDF 5, with its esp-mqtt: heartbeats with the free heap, acks, and a state in NVS.

   Wi-Fi is connected before (wifi_connect is yours), and nvs_flash_init was called. posix.c shows plans and model files;
   they go the same way here, by `plan` and `block` of receive(). */

#define EDGE_GATEWAY_IMPLEMENTATION
#include "edge_gateway.h"

#include <stdio.h>
#include <time.h>

#include "esp_log.h"
#include "esp_random.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/queue.h"
#include "mqtt_client.h"
#include "nvs.h"

#define BROKER "mqtts://broker.local:8883"
#define FLEET "fleet-a"
#define DEVICE "dev-1"
#define ROOT "edge/" FLEET "/" DEVICE "/"

enum { MOST = 1024, INTERVAL = 60, WAITING = 4 };

extern const char site_ca_pem[]; /* the certificate of the site's authority */
extern const char password[];
extern void wifi_connect(void);

static const char *const TAG = "edge";
static const eg_metric METRICS[] = {{"sys", "free-heap", 0}};
static const eg_layout LAYOUT = {"1.0.0", METRICS, 1, NULL, 0};

static eg_sample samples[8];
static uint8_t tx[256];
static eg_device device = {.layout = &LAYOUT,
                           .samples = samples,
                           .sample_size = 8,
                           .tx = tx,
                           .tx_size = sizeof tx,
                           .max_payload = MOST,
                           .interval = INTERVAL,
                           .flags = EG_NO_URLS};

/* The task of esp-mqtt says what happened; app_main alone calls the client. */
typedef struct {
    eg_channel channel;
    size_t size;
    uint8_t data[MOST];
} message;

static QueueHandle_t messages;
static volatile bool is_connected;
static volatile int confirmed = -1; /* message id of the last PUBACK */

static void on_event(void *argument, esp_event_base_t base, int32_t id, void *data)
{
    static message one; /* of this task */
    const esp_mqtt_event_handle_t event = (esp_mqtt_event_handle_t)data;
    (void)argument;
    (void)base;
    if (id == MQTT_EVENT_CONNECTED) {
        esp_mqtt_client_subscribe(event->client, ROOT "ack", 1);
        is_connected = true;
    } else if (id == MQTT_EVENT_DISCONNECTED) {
        is_connected = false;
    } else if (id == MQTT_EVENT_PUBLISHED) {
        confirmed = event->msg_id;
    } else if (id == MQTT_EVENT_DATA && event->data_len == event->total_data_len && event->data_len <= MOST) {
        one.channel = EG_ACK;
        one.size = (size_t)event->data_len;
        memcpy(one.data, event->data, one.size);
        xQueueSend(messages, &one, 0); /* a full queue drops it: this task must not wait for app_main, which waits for it */
    }
}

static esp_mqtt_client_handle_t start_mqtt(void)
{
    esp_mqtt_client_config_t config;
    esp_mqtt_client_handle_t client;
    memset(&config, 0, sizeof config);
    config.broker.address.uri = BROKER;
    config.broker.verification.certificate = site_ca_pem;
    config.credentials.username = FLEET "/" DEVICE;
    config.credentials.client_id = FLEET "." DEVICE;
    config.credentials.authentication.password = password;
    config.session.disable_clean_session = true;
    client = esp_mqtt_client_init(&config);
    esp_mqtt_client_register_event(client, ESP_EVENT_ANY_ID, on_event, NULL);
    esp_mqtt_client_start(client);
    return client;
}

static uint32_t seconds(void)
{
    return (uint32_t)(esp_timer_get_time() / 1000000);
}

/* 0 until SNTP has set the clock. */
static uint32_t unix_seconds(void)
{
    time_t now = time(NULL);
    return now > 1735689600 ? (uint32_t)now : 0;
}

static void receive(const message *one)
{
    eg_ack ack;
    if (one->channel == EG_ACK && eg_on_ack(&device, one->data, one->size, seconds(), &ack))
        ESP_LOGI(TAG, "ack: code %u %.*s", (unsigned)ack.code, (int)ack.detail.size,
                 ack.detail.at ? (const char *)ack.detail.at : "");
}

void app_main(void)
{
    static message one; /* too large for a stack */
    esp_mqtt_client_handle_t client;
    nvs_handle_t nvs;
    size_t size = sizeof device.saved;
    uint32_t measured = 0;
    int sent = -1;
    wifi_connect();
    if (nvs_open("edge", NVS_READWRITE, &nvs) != ESP_OK)
        return;
    if (nvs_get_blob(nvs, "saved", &device.saved, &size) != ESP_OK || size != sizeof device.saved)
        memset(&device.saved, 0, sizeof device.saved);
    if (!eg_start(&device, seconds(), unix_seconds(), (uint16_t)esp_random(), false)) {
        ESP_LOGE(TAG, "a setting of the device is wrong");
        return;
    }
    messages = xQueueCreate(WAITING, sizeof one);
    client = start_mqtt();
    for (;;) {
        eg_channel channel;
        char topic[64];
        if (seconds() - measured >= INTERVAL) {
            measured = seconds();
            eg_record(&device, eg_uint(0, measured, esp_get_free_heap_size()));
        }
        eg_clock(&device, seconds(), unix_seconds());
        if (!is_connected) {
            eg_lost(&device);
        } else if (sent >= 0 && confirmed == sent) {
            eg_sent(&device);
            sent = -1;
        }
        channel = is_connected ? eg_poll(&device, seconds()) : EG_NOTHING;
        if (channel) {
            snprintf(topic, sizeof topic, ROOT "%s", eg_channel_name(channel));
            sent = esp_mqtt_client_publish(client, topic, (const char *)tx, (int)device.tx_used, 1, channel == EG_HELLO);
            if (sent < 0)
                eg_lost(&device);
        }
        if (device.changed && nvs_set_blob(nvs, "saved", &device.saved, sizeof device.saved) == ESP_OK &&
            nvs_commit(nvs) == ESP_OK)
            device.changed = false;
        if (xQueueReceive(messages, &one, pdMS_TO_TICKS(200)))
            receive(&one);
    }
}
