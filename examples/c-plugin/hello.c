/* A plugin in plain C11: every item is an echo. What is written to it comes back as its value, and each item publishes
 * a greeting when the instance becomes active. No threads: everything happens inside the calls of the hub.
 *
 *   cc -std=c11 -O2 -shared -fPIC -fvisibility=hidden -I../../sdk/contract/include -o libhello_c.so hello.c
 */
#define _GNU_SOURCE /* clock_gettime, CLOCK_BOOTTIME */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "twinhub_plugin.h"

#ifndef ABI_MAJOR
#define ABI_MAJOR TWINHUB_ABI_MAJOR
#endif
#define ABI (((uint32_t)ABI_MAJOR << 16) | TWINHUB_ABI_MINOR)
#define ITEMS_MAX 64

/* The hub reads this from the file, without running code. */
#define MANIFEST                                                                                                      \
  "{\"manifest\":1,\"id\":\"org.twinhub.hello-c\",\"name\":\"Hello C\",\"vendor\":\"Twinhub\",\"version\":\"0.1.0\"," \
  "\"license\":\"MIT OR Apache-2.0\",\"abi\":{\"min\":\"1.0\",\"max\":\"1.0\"},\"kind\":\"interface\","               \
  "\"protocols\":[{\"name\":\"none (example)\"}],\"config_schema\":{},"                                               \
  "\"item_address_schema\":{\"type\":\"object\"},\"mb\":{\"relevant\":true,\"possible\":\"yes\","                     \
  "\"modes\":[\"cold\"],\"default_standby\":\"cold\",\"takeover_target_ms\":{\"cold\":50},\"inactive\":{"             \
  "\"reads\":\"none\",\"publish\":\"drop\",\"writes\":\"reject\",\"outputs\":\"suppress\"},\"state\":\"none\","       \
  "\"fence\":\"none\",\"recovery\":\"none\",\"parallel_input\":false,\"loss_window\":\"what was written last\"},"     \
  "\"capabilities\":[{\"name\":\"echo\",\"mb\":\"by the active node\",\"inactive\":\"a write is refused\"}],"         \
  "\"hosting\":{\"allowed\":[\"inproc\",\"isolated\"],\"recommended\":\"isolated\"},\"runtime\":\"none\"}"
__attribute__((section(".twinhub_manifest"), used)) static const char manifest[sizeof MANIFEST - 1] = MANIFEST;

typedef struct {
  twinhub_plugin table; /* first, so that a table is an instance */
  const twinhub_host *host;
  const twinhub_gate *gate;
  const twinhub_status *status;
  uint64_t epoch;
  uint32_t role, count, seq;
  struct {
    uint32_t handle;
    int is_unsaid; /* its greeting found no room in the hub */
  } items[ITEMS_MAX];
} instance;

static int64_t now_ns(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int32_t publish(instance *self, uint32_t item, twinhub_value value) {
  twinhub_update update = {item, TWINHUB_QUALITY_GOOD, now_ns(CLOCK_REALTIME), value, 0, ++self->seq};
  twinhub_batch batch = {sizeof batch, sizeof update, 1, 0, self->epoch, &update};
  return self->host->publish(self->host, &batch);
}

/* Says what has to be said. Without a thread the next call of the hub is the next chance for what found no room. */
static void greet(instance *self) {
  static const char hello[] = "hello from C";
  const twinhub_value value = {TWINHUB_KIND_STR, 0, 0, sizeof hello - 1, {.ptr = hello}};
  for (uint32_t i = 0; self->role == TWINHUB_ROLE_ACTIVE && i < self->count; i++)
    if (self->items[i].is_unsaid)
      self->items[i].is_unsaid = publish(self, self->items[i].handle, value) == TWINHUB_E_AGAIN;
}

static int has_item(const instance *self, uint32_t handle) {
  for (uint32_t i = 0; i < self->count; i++)
    if (self->items[i].handle == handle) return 1;
  return 0;
}

/* Whether the value is of a kind that this version of the contract has. */
static int is_known(twinhub_value value) {
  return value.kind == TWINHUB_KIND_BOOL ? value.p.b <= 1 : value.kind <= TWINHUB_KIND_JSON;
}

/* Asked right before every effect: the hub's lease may have ended, or this process may have been frozen. */
static int is_permitted(const instance *self, uint64_t epoch) {
  return self->role == TWINHUB_ROLE_ACTIVE && self->epoch == epoch && self->gate != NULL &&
         self->gate->lease_end(self->host, epoch) > now_ns(CLOCK_BOOTTIME);
}

/* What status and health of the hub show. With a device: CONNECTING until it answers, FAULT or DEGRADED if it does not. */
static void tell(const instance *self, uint32_t state, const char *cause) {
  if (self->status != NULL)
    self->status->state(self->host, state, (twinhub_str){(const uint8_t *)cause, strlen(cause)});
}

static const void *get_extension(const twinhub_plugin *plugin, const char *id) {
  (void)plugin, (void)id;
  return NULL;
}

static int32_t start(const twinhub_plugin *plugin, uint64_t op) {
  (void)op;
  tell((instance *)plugin, TWINHUB_STATE_SUPPRESSED, "standby");
  return TWINHUB_OK;
}

static int32_t set_role(const twinhub_plugin *plugin, uint64_t op, uint32_t role, uint64_t epoch, int64_t deadline_ns) {
  instance *self = (instance *)plugin;
  (void)deadline_ns;
  if (role > TWINHUB_ROLE_ACTIVE) return TWINHUB_E_INVALID;
  if (epoch < self->epoch) return TWINHUB_E_STALE_EPOCH;
  self->role = role;
  self->epoch = epoch;
  for (uint32_t i = 0; i < self->count; i++) self->items[i].is_unsaid = 1;
  greet(self);
  tell(self, role == TWINHUB_ROLE_ACTIVE ? TWINHUB_STATE_OK : TWINHUB_STATE_SUPPRESSED,
       role == TWINHUB_ROLE_ACTIVE ? "echoing" : "standby");
  /* A call may be completed from inside itself. */
  self->host->op_done(self->host, op, TWINHUB_OK, (twinhub_str){NULL, 0});
  return TWINHUB_PENDING;
}

static int32_t items(const twinhub_plugin *plugin, uint64_t op, uint32_t what, const twinhub_item *first, uint32_t n,
                     uint32_t stride) {
  instance *self = (instance *)plugin;
  (void)op;
  if (what != TWINHUB_ITEMS_ADD && what != TWINHUB_ITEMS_REMOVE) return TWINHUB_E_INVALID;
  if (what == TWINHUB_ITEMS_ADD && n > ITEMS_MAX - self->count) return TWINHUB_E_CONFIG;
  for (uint32_t i = 0; i < n; i++) {
    const twinhub_item *item = (const twinhub_item *)((const char *)first + (size_t)i * stride);
    if (what == TWINHUB_ITEMS_ADD) {
      self->items[self->count].handle = item->handle;
      self->items[self->count++].is_unsaid = 1;
    } else {
      for (uint32_t k = 0; k < self->count; k++)
        if (self->items[k].handle == item->handle) self->items[k--] = self->items[--self->count];
    }
  }
  greet(self);
  return TWINHUB_OK;
}

static int32_t write_items(const twinhub_plugin *plugin, const twinhub_write_batch *batch) {
  instance *self = (instance *)plugin;
  if (batch->epoch != self->epoch) return TWINHUB_E_STALE_EPOCH;
  greet(self);
  for (uint32_t i = 0; i < batch->count; i++) {
    const twinhub_write *write = (const twinhub_write *)((const char *)batch->items + (size_t)i * batch->stride);
    twinhub_write_result result = {write->write_id, TWINHUB_E_NOT_ACTIVE, TWINHUB_QUALITY_BAD};
    if (write->deadline_ns != TWINHUB_TIME_NONE && write->deadline_ns <= now_ns(CLOCK_BOOTTIME)) {
      result.code = TWINHUB_E_EXPIRED;
    } else if (!has_item(self, write->item) || !is_known(write->value)) {
      result.code = TWINHUB_E_INVALID;
    } else if (is_permitted(self, batch->epoch)) {
      result.code = publish(self, write->item, write->value);
      result.status = TWINHUB_QUALITY_GOOD;
    }
    self->host->write_done(self->host, &result, 1);
  }
  return TWINHUB_OK;
}

static int32_t stop(const twinhub_plugin *plugin, uint64_t op) {
  (void)op;
  ((instance *)plugin)->role = TWINHUB_ROLE_COLD;
  tell((instance *)plugin, TWINHUB_STATE_STOPPED, "stopped");
  return TWINHUB_OK;
}

static void destroy(const twinhub_plugin *plugin) { free((void *)plugin); }

static int32_t create(const twinhub_host *host, twinhub_str id, twinhub_str config, const twinhub_plugin **out) {
  static const twinhub_plugin table = {sizeof table, ABI,   NULL,        get_extension, start,
                                       set_role,     items, write_items, stop,          destroy};
  instance *self = calloc(1, sizeof *self);
  (void)id, (void)config;
  if (self == NULL) return TWINHUB_E_AGAIN;
  self->table = table;
  self->host = host;
  self->gate = host->get_extension(host, TWINHUB_EXT_GATE);
  self->status = host->get_extension(host, TWINHUB_EXT_STATUS);
  *out = &self->table;
  return TWINHUB_OK;
}

__attribute__((visibility("default"))) const twinhub_entry twinhub_plugin_entry = {
    TWINHUB_MAGIC, sizeof(twinhub_entry), ABI, TWINHUB_BUILD_UNWIND, 0,
    {(const uint8_t *)manifest, sizeof manifest}, create};
