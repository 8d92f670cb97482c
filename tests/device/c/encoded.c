/* The beginning of a program that test_vectors.py writes: it prints what the encoders make, a line `name hex` each. */

#define EDGE_GATEWAY_IMPLEMENTATION
#include "edge_gateway.h"

#include <stdio.h>
#include <stdlib.h>

/* `encode` uses `payload` and `size`. It is called with buffers of every smaller size, too: it must say the same, and
   write nothing beyond. */
#define PRINT(name, encode)                                   \
    do {                                                      \
        size_t size = 16384, whole, i;                         \
        uint8_t *payload = (uint8_t *)malloc(size);           \
        whole = encode;                                       \
        printf("%s ", name);                                  \
        for (i = 0; i < whole; i++)                           \
            printf("%02x", payload[i]);                       \
        printf("\n");                                         \
        free(payload);                                        \
        for (size = 0; size < whole; size++) {                \
            payload = (uint8_t *)malloc(size);                \
            if (encode != whole)                              \
                abort();                                      \
            free(payload);                                    \
        }                                                     \
    } while (0)
