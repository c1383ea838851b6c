/* A tap between hub and plugin: it offers the plugin's own entry and manifest, loads the plugin's library behind it, and
 * writes down every call that says something of roles, items, values and writes, in both directions. What passes is
 * changed in nothing. Built once for each library under test, with
 *
 *   TAP_LIBRARY        path of the library, a text
 *   TAP_MANIFEST       bytes of its manifest, as an initializer
 *
 * The environment variable TWINHUB_TAP names the file it appends to. A line is written with one system call, so that
 * SIGKILL leaves whole lines: nanoseconds of CLOCK_MONOTONIC, process, instance, a word, and what belongs to it.
 */
#define _GNU_SOURCE /* dlopen, CLOCK_MONOTONIC */
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "twinhub_plugin.h"

#define LINE_MAX_BYTES 2048
#define TEXT_MAX_BYTES 1024

__attribute__((section(".twinhub_manifest"), used)) static const char manifest[] = {TAP_MANIFEST};

typedef struct {
  twinhub_host host;     /* what the plugin is given; first, so that its table is the tap */
  twinhub_plugin plugin; /* what the hub is given */
  const twinhub_host *hub;
  const twinhub_plugin *behind;
  const twinhub_gate *gate;
  const twinhub_status *status;
  const twinhub_metrics *metrics;
  const twinhub_acceptance *acceptance;
  const twinhub_state *state;
  const twinhub_accepted *accepted;
  atomic_ulong calls;
  int file;
  char id[64];
} tap;

static tap *of_host(const twinhub_host *host) { return (tap *)host; }

static tap *of_plugin(const twinhub_plugin *plugin) { return (tap *)((char *)plugin - offsetof(tap, plugin)); }

/* ---- what is written down --------------------------------------------------------------------------------------- */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((format(printf, 2, 3))) static void note(const tap *self, const char *format, ...) {
  char line[LINE_MAX_BYTES];
  int head = snprintf(line, sizeof line, "%" PRIu64 " %d %s ", now_ns(), (int)getpid(), self->id);
  va_list rest;
  va_start(rest, format);
  int tail = vsnprintf(line + head, sizeof line - (size_t)head - 1, format, rest);
  va_end(rest);
  size_t length = (size_t)(head + tail);
  if (length > sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  /* A file that takes nothing would make the judge blind: then the run is none. */
  if (write(self->file, line, length) != (ssize_t)length) abort();
}

/* On one line, and not longer than fits. */
static const char *plain(twinhub_str text, char *space) {
  size_t length = text.len < TEXT_MAX_BYTES - 1 ? text.len : TEXT_MAX_BYTES - 1;
  for (size_t i = 0; i < length; i++) space[i] = text.ptr[i] < ' ' ? ' ' : (char)text.ptr[i];
  space[length] = 0;
  return space;
}

static const char *said(twinhub_value value, char *space) {
  switch (value.kind) {
    case TWINHUB_KIND_BOOL: return value.p.b ? "true" : "false";
    case TWINHUB_KIND_I64: snprintf(space, TEXT_MAX_BYTES, "%" PRId64, value.p.i); return space;
    case TWINHUB_KIND_U64: snprintf(space, TEXT_MAX_BYTES, "%" PRIu64, value.p.u); return space;
    case TWINHUB_KIND_F64: snprintf(space, TEXT_MAX_BYTES, "%.17g", value.p.f); return space;
    case TWINHUB_KIND_STR: return plain((twinhub_str){value.p.ptr, value.len}, space);
    default: return "";
  }
}

/* ---- from the plugin to the hub --------------------------------------------------------------------------------- */

static int32_t publish(const twinhub_host *host, const twinhub_batch *batch) {
  tap *self = of_host(host);
  char space[TEXT_MAX_BYTES];
  unsigned long call = atomic_fetch_add(&self->calls, 1);
  for (uint32_t i = 0; i < batch->count; i++) {
    const twinhub_update *update = (const twinhub_update *)((const char *)batch->items + (size_t)i * batch->stride);
    note(self, "give %lu %" PRIu64 " %" PRIu32 " %" PRIu32 " %s", call, batch->epoch, update->item, update->flags,
         said(update->value, space));
  }
  int32_t code = self->hub->publish(self->hub, batch);
  note(self, "given %lu %" PRId32, call, code);
  return code;
}

static int32_t write_done(const twinhub_host *host, const twinhub_write_result *results, uint32_t n) {
  tap *self = of_host(host);
  for (uint32_t i = 0; i < n; i++) note(self, "written %" PRIu64 " %" PRId32, results[i].write_id, results[i].code);
  return self->hub->write_done(self->hub, results, n);
}

static void op_done(const twinhub_host *host, uint64_t op, int32_t code, twinhub_str detail) {
  tap *self = of_host(host);
  note(self, "done %" PRIu64 " %" PRId32, op, code);
  self->hub->op_done(self->hub, op, code, detail);
}

static void fault(const twinhub_host *host, int32_t code, twinhub_str detail) {
  char space[TEXT_MAX_BYTES];
  note(of_host(host), "fault %" PRId32 " %s", code, plain(detail, space));
  of_host(host)->hub->fault(of_host(host)->hub, code, detail);
}

static void log_line(const twinhub_host *host, uint32_t level, twinhub_str target, twinhub_str text, twinhub_str fields) {
  of_host(host)->hub->log(of_host(host)->hub, level, target, text, fields);
}

static int64_t lease_end(const twinhub_host *host, uint64_t epoch) {
  return of_host(host)->gate->lease_end(of_host(host)->hub, epoch);
}

static void status_of(const twinhub_host *host, uint32_t state, twinhub_str cause) {
  of_host(host)->status->state(of_host(host)->hub, state, cause);
}

static void count(const twinhub_host *host, twinhub_str name, uint64_t add) {
  of_host(host)->metrics->count(of_host(host)->hub, name, add);
}

static uint64_t taken(const twinhub_host *host) { return of_host(host)->acceptance->taken(of_host(host)->hub); }

static uint64_t accepted(const twinhub_host *host) { return of_host(host)->acceptance->accepted(of_host(host)->hub); }

/* What the tap does not know it does not offer: it could not pass it on. */
static const void *extension_of_hub(const twinhub_host *host, const char *id) {
  static const twinhub_gate gate = {sizeof gate, 0, lease_end};
  static const twinhub_status status = {sizeof status, 0, status_of};
  static const twinhub_metrics metrics = {sizeof metrics, 0, count};
  static const twinhub_acceptance acceptance = {sizeof acceptance, 0, taken, accepted};
  tap *self = of_host(host);
  const void *found = self->hub->get_extension(self->hub, id);
  if (found == NULL) return NULL;
  if (strcmp(id, TWINHUB_EXT_GATE) == 0) return self->gate = found, &gate;
  if (strcmp(id, TWINHUB_EXT_STATUS) == 0) return self->status = found, &status;
  if (strcmp(id, TWINHUB_EXT_METRICS) == 0) return self->metrics = found, &metrics;
  if (strcmp(id, TWINHUB_EXT_ACCEPTANCE) == 0) return self->acceptance = found, &acceptance;
  return NULL;
}

/* ---- from the hub to the plugin --------------------------------------------------------------------------------- */

static int32_t start(const twinhub_plugin *plugin, uint64_t op) {
  return of_plugin(plugin)->behind->start(of_plugin(plugin)->behind, op);
}

static int32_t set_role(const twinhub_plugin *plugin, uint64_t op, uint32_t role, uint64_t epoch, int64_t deadline_ns) {
  tap *self = of_plugin(plugin);
  note(self, "role %" PRIu64 " %" PRIu32 " %" PRIu64, op, role, epoch);
  int32_t code = self->behind->set_role(self->behind, op, role, epoch, deadline_ns);
  if (code != TWINHUB_PENDING) note(self, "done %" PRIu64 " %" PRId32, op, code);
  return code;
}

static int32_t items(const twinhub_plugin *plugin, uint64_t op, uint32_t what, const twinhub_item *first, uint32_t n,
                     uint32_t stride) {
  tap *self = of_plugin(plugin);
  char space[TEXT_MAX_BYTES];
  for (uint32_t i = 0; what == TWINHUB_ITEMS_ADD && i < n; i++) {
    const twinhub_item *item = (const twinhub_item *)((const char *)first + (size_t)i * stride);
    note(self, "item %" PRIu32 " %s", item->handle, plain(item->address_json, space));
  }
  return self->behind->items(self->behind, op, what, first, n, stride);
}

static int32_t write_items(const twinhub_plugin *plugin, const twinhub_write_batch *batch) {
  tap *self = of_plugin(plugin);
  char space[TEXT_MAX_BYTES];
  for (uint32_t i = 0; i < batch->count; i++) {
    const twinhub_write *write = (const twinhub_write *)((const char *)batch->items + (size_t)i * batch->stride);
    note(self, "write %" PRIu64 " %" PRIu64 " %" PRIu32 " %s", write->write_id, batch->epoch, write->item,
         said(write->value, space));
  }
  return self->behind->write(self->behind, batch);
}

static int32_t stop(const twinhub_plugin *plugin, uint64_t op) {
  tap *self = of_plugin(plugin);
  note(self, "role %" PRIu64 " %d 0", op, TWINHUB_ROLE_COLD);
  int32_t code = self->behind->stop(self->behind, op);
  if (code != TWINHUB_PENDING) note(self, "done %" PRIu64 " %" PRId32, op, code);
  return code;
}

/* The tap itself stays: whoever calls late finds it. */
static void destroy(const twinhub_plugin *plugin) {
  tap *self = of_plugin(plugin);
  self->behind->destroy(self->behind);
  note(self, "destroyed");
}

static int32_t snapshot(const twinhub_plugin *plugin, uint32_t *version, const twinhub_writer *out) {
  return of_plugin(plugin)->state->snapshot(of_plugin(plugin)->behind, version, out);
}

static int32_t apply(const twinhub_plugin *plugin, uint32_t version, const uint8_t *ptr, size_t len) {
  return of_plugin(plugin)->state->apply(of_plugin(plugin)->behind, version, ptr, len);
}

static void accepted_through(const twinhub_plugin *plugin, uint64_t through) {
  of_plugin(plugin)->accepted->accepted(of_plugin(plugin)->behind, through);
}

static const void *extension_of_plugin(const twinhub_plugin *plugin, const char *id) {
  static const twinhub_state state = {sizeof state, 0, snapshot, apply};
  static const twinhub_accepted heard = {sizeof heard, 0, accepted_through};
  tap *self = of_plugin(plugin);
  const void *found = self->behind->get_extension(self->behind, id);
  if (found == NULL) return NULL;
  if (strcmp(id, TWINHUB_EXT_STATE) == 0) return self->state = found, &state;
  if (strcmp(id, TWINHUB_EXT_ACCEPTED) == 0) return self->accepted = found, &heard;
  return NULL;
}

/* ---- entry ------------------------------------------------------------------------------------------------------ */

static int32_t refuse(const twinhub_host *host, const char *why) {
  host->fault(host, TWINHUB_E_CONFIG, (twinhub_str){(const uint8_t *)why, strlen(why)});
  return TWINHUB_E_CONFIG;
}

static int32_t create(const twinhub_host *host, twinhub_str id, twinhub_str config, const twinhub_plugin **out) {
  const char *path = getenv("TWINHUB_TAP");
  if (path == NULL) return refuse(host, "the tap does not know its file: TWINHUB_TAP is not set");
  void *library = dlopen(TAP_LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == NULL) return refuse(host, dlerror());
  const twinhub_entry *entry = dlsym(library, "twinhub_plugin_entry");
  if (entry == NULL || entry->magic != TWINHUB_MAGIC || entry->abi != TWINHUB_ABI)
    return refuse(host, "what is behind the tap is no plugin of this contract");
  tap *self = calloc(1, sizeof *self);
  if (self == NULL) return TWINHUB_E_AGAIN;
  self->file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (self->file < 0) return refuse(host, "the tap cannot write its file");
  size_t length = id.len < sizeof self->id - 1 ? id.len : sizeof self->id - 1;
  memcpy(self->id, id.ptr, length);
  self->hub = host;
  self->host = (twinhub_host){sizeof self->host, host->abi, NULL,  extension_of_hub, publish,
                              write_done,        op_done,   fault, log_line};
  note(self, "create %s", TAP_LIBRARY);
  int32_t code = entry->create(&self->host, id, config, &self->behind);
  if (code != TWINHUB_OK) return code;
  self->plugin = (twinhub_plugin){sizeof self->plugin, self->behind->abi, NULL,        extension_of_plugin, start,
                                  set_role,            items,             write_items, stop,                destroy};
  *out = &self->plugin;
  return TWINHUB_OK;
}

__attribute__((visibility("default"))) const twinhub_entry twinhub_plugin_entry = {
    TWINHUB_MAGIC, sizeof(twinhub_entry), TWINHUB_ABI, TWINHUB_BUILD_UNWIND, 0, {NULL, 0}, create};
