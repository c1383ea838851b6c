/* twinhub_plugin.h - the contract between the Twinhub hub and its plugins, version 1.0.
 *
 * This file is normative. It is C11 and C++11 clean and needs nothing but <stddef.h> and <stdint.h>.
 * 64-bit targets only.
 *
 * A plugin is a shared library that exports one constant, `twinhub_plugin_entry`, and carries its manifest
 * (JSON, see twinhub-contract::manifest) in the section `.twinhub_manifest` (ELF), `__DATA,__twinhub_man` (Mach-O)
 * or `.hubman` (PE). The hub reads the manifest without running code of the library.
 *
 * OWNERSHIP  All pointers are borrowed for the duration of the call, in both directions. The receiver copies what it
 *            keeps. Nothing is freed by the other side. Exceptions: the host table and its extensions stay valid until
 *            destroy() has returned, the plugin table and its extensions from create() until destroy() returns, the
 *            entry for ever (libraries are never unloaded).
 * THREADS    Each function names where it is called:
 *              [control]      by the hub; control calls of one instance never overlap each other.
 *              [write-thread] by the hub; may overlap control calls, never itself.
 *              [any-thread]   by anyone at any time, also from inside a call of the other side. The hub holds no lock
 *                             while it calls a plugin, and a plugin must not hold one that a callback needs.
 *            A call returns within 1 ms. The hub warns after 10 ms and faults the instance after 1 s.
 * PANICS     Nothing unwinds across the boundary: no C++ exception, no Rust panic, no longjmp.
 * VERSIONS   `abi` is major << 16 | minor. The hub loads its own major version and the one before. Structs grow at the
 *            end only. A reader trusts `size` (tables) and `stride` (array elements; a multiple of 8, at least the size
 *            of version 1.0) and ignores what it does not know. Everything optional is an extension with a string id
 *            `twinhub.<name>/<revision>`; third parties use reverse DNS. A changed extension gets a new revision.
 * ERRORS     int32_t codes, see below. Unknown negative numbers mean TWINHUB_E_DEVICE. Text is for people only.
 * TIMES      source_ns: nanoseconds since 1970 UTC. deadline_ns and lease ends: nanoseconds of CLOCK_BOOTTIME.
 *            TWINHUB_TIME_NONE where there is none.
 */
#ifndef TWINHUB_PLUGIN_H
#define TWINHUB_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TWINHUB_MAGIC UINT64_C(0x5457494e48554231) /* "TWINHUB1" */
#define TWINHUB_ABI_MAJOR 1u
#define TWINHUB_ABI_MINOR 0u
#define TWINHUB_ABI ((TWINHUB_ABI_MAJOR << 16) | TWINHUB_ABI_MINOR)

#define TWINHUB_VALUE_BYTES_MAX 1048576u /* longest STR, BYTES, ARRAY or JSON of one value */
#define TWINHUB_BATCH_COUNT_MAX 65536u   /* most elements of one batch */
#define TWINHUB_STRIDE_MAX 4096u         /* largest element */
#define TWINHUB_STATE_BYTES_MAX 1048576u /* largest snapshot */
#define TWINHUB_STORE_KEY_BYTES_MAX 128u     /* longest key of twinhub.state-store/1 */
#define TWINHUB_STORE_VALUE_BYTES_MAX 65536u /* longest value there */
#define TWINHUB_STORE_KEYS_MAX 1000u         /* most keys of one interface */
#define TWINHUB_STORE_BYTES_MAX 1048576u     /* most bytes of one interface, keys and values together */
#define TWINHUB_ANSWER_BYTES_MAX 262144u     /* longest answer through twinhub.answer/1 */
#define TWINHUB_BROWSE_NODES_MAX 1000u       /* most nodes of one answer of twinhub.browse/1 */
#define TWINHUB_EVENT_STREAM_BYTES_MAX 64u     /* longest name of a stream of twinhub.events/1 */
#define TWINHUB_EVENT_ID_BYTES_MAX 128u        /* longest id of an event */
#define TWINHUB_EVENT_KEY_BYTES_MAX 128u       /* longest key of an event */
#define TWINHUB_EVENT_PAYLOAD_BYTES_MAX 65536u /* longest payload of an event */
#define TWINHUB_EVENT_STREAMS_MAX 32u          /* most streams that a plugin gives, and most that it takes */
#define TWINHUB_TIME_NONE INT64_MIN

/* ---- codes ------------------------------------------------------------------------------------------------------ */
enum {
  TWINHUB_OK = 0,
  TWINHUB_PENDING = 1,          /* accepted; op_done() follows exactly once */
  TWINHUB_E_PANIC = -1,         /* the plugin panicked or broke an invariant of its own; the instance is poisoned */
  TWINHUB_E_AGAIN = -2,         /* nothing was taken; try again later */
  TWINHUB_E_STALE_EPOCH = -3,   /* the epoch is not the current one; nothing was sent or taken */
  TWINHUB_E_INVALID = -4,       /* an argument breaks this contract */
  TWINHUB_E_STOPPED = -5,       /* the instance is stopped; nothing was sent or taken */
  TWINHUB_E_UNSUPPORTED = -6,   /* not offered by this side */
  TWINHUB_E_NOT_ACTIVE = -7,    /* the instance is not active; nothing was sent */
  TWINHUB_E_TIMEOUT = -8,       /* no answer in time; for a write: the outcome is unknown, the device may have acted */
  TWINHUB_E_CONFIG = -9,        /* the configuration is wrong */
  TWINHUB_E_DEVICE = -10,       /* the device, peer or link is at fault, or refused */
  TWINHUB_E_BUSY = -11,         /* an exclusive resource is held by somebody else */
  TWINHUB_E_STATE_VERSION = -12,/* the snapshot has a version this plugin cannot read */
  TWINHUB_E_EXPIRED = -13,      /* for a write: the deadline passed before anything was sent */
  TWINHUB_E_NOT_FOUND = -14,    /* there is nothing of this name */
  TWINHUB_E_FULL = -15          /* a limit of what may be kept is reached; nothing was taken */
};

/* ---- values ----------------------------------------------------------------------------------------------------- */
/* UTF-8 without a terminating NUL. ptr may be NULL if len is 0. */
typedef struct {
  const uint8_t *ptr;
  size_t len;
} twinhub_str;

/* twinhub_value.kind */
enum {
  TWINHUB_KIND_NULL = 0,
  TWINHUB_KIND_BOOL = 1,  /* p.b: 0 or 1 */
  TWINHUB_KIND_I64 = 2,   /* p.i */
  TWINHUB_KIND_U64 = 3,   /* p.u */
  TWINHUB_KIND_F64 = 4,   /* p.f */
  TWINHUB_KIND_STR = 5,   /* p.ptr: len bytes of UTF-8 */
  TWINHUB_KIND_BYTES = 6, /* p.ptr: len bytes */
  TWINHUB_KIND_TIME = 7,  /* p.i: nanoseconds since 1970 UTC */
  TWINHUB_KIND_ARRAY = 8, /* p.ptr: len bytes of packed elements of kind elem: BOOL (1 byte), I64, U64, F64, TIME (8) */
  TWINHUB_KIND_JSON = 9   /* p.ptr: len bytes of JSON text */
};

/* twinhub_value.wire and twinhub_item.type_hint: the type on the device, where it is known */
enum {
  TWINHUB_WIRE_NONE = 0,
  TWINHUB_WIRE_BOOL = 1,
  TWINHUB_WIRE_I8 = 2,
  TWINHUB_WIRE_U8 = 3,
  TWINHUB_WIRE_I16 = 4,
  TWINHUB_WIRE_U16 = 5,
  TWINHUB_WIRE_I32 = 6,
  TWINHUB_WIRE_U32 = 7,
  TWINHUB_WIRE_I64 = 8,
  TWINHUB_WIRE_U64 = 9,
  TWINHUB_WIRE_F32 = 10,
  TWINHUB_WIRE_F64 = 11,
  TWINHUB_WIRE_STRING = 12,
  TWINHUB_WIRE_BYTES = 13,
  TWINHUB_WIRE_TIME = 14,
  TWINHUB_WIRE_JSON = 15
};

typedef union {
  uint8_t b;
  int64_t i;
  uint64_t u;
  double f;
  const void *ptr;
} twinhub_payload;

typedef struct { /* 16 bytes */
  uint8_t kind;
  uint8_t wire;
  uint16_t elem; /* kind of the elements of an ARRAY, otherwise 0 */
  uint32_t len;  /* bytes behind p.ptr; 0 for the other kinds */
  twinhub_payload p;
} twinhub_value;

/* Quality is an OPC UA StatusCode (OPC 10000-6 A.2) as is; these are the ones plugins need most. */
#define TWINHUB_QUALITY_GOOD UINT32_C(0x00000000)
#define TWINHUB_QUALITY_GOOD_LOCAL_OVERRIDE UINT32_C(0x00960000)
#define TWINHUB_QUALITY_UNCERTAIN UINT32_C(0x40000000)
#define TWINHUB_QUALITY_UNCERTAIN_LAST_USABLE UINT32_C(0x408F0000)
#define TWINHUB_QUALITY_UNCERTAIN_SUBSTITUTE UINT32_C(0x40910000)
#define TWINHUB_QUALITY_BAD UINT32_C(0x80000000)
#define TWINHUB_QUALITY_BAD_COMMUNICATION UINT32_C(0x80050000)
#define TWINHUB_QUALITY_BAD_DECODING UINT32_C(0x80070000)
#define TWINHUB_QUALITY_BAD_TIMEOUT UINT32_C(0x800A0000)
#define TWINHUB_QUALITY_BAD_NO_COMMUNICATION UINT32_C(0x80310000)
#define TWINHUB_QUALITY_BAD_WAITING_FOR_INITIAL_DATA UINT32_C(0x80320000)
#define TWINHUB_QUALITY_BAD_ADDRESS_UNKNOWN UINT32_C(0x80340000)
#define TWINHUB_QUALITY_BAD_OUT_OF_RANGE UINT32_C(0x803C0000)
#define TWINHUB_QUALITY_BAD_TYPE_MISMATCH UINT32_C(0x80740000)
#define TWINHUB_QUALITY_BAD_CONFIGURATION UINT32_C(0x80890000)
#define TWINHUB_QUALITY_BAD_NOT_CONNECTED UINT32_C(0x808A0000)
#define TWINHUB_QUALITY_BAD_DEVICE_FAILURE UINT32_C(0x808B0000)
#define TWINHUB_QUALITY_BAD_SENSOR_FAILURE UINT32_C(0x808C0000)

/* flags of updates and writes */
enum {
  TWINHUB_FLAG_SNAPSHOT = 1,    /* part of an initial picture, not a change */
  TWINHUB_FLAG_REPLAY = 2,      /* delivered again after a takeover */
  TWINHUB_FLAG_SUBSTITUTE = 4,  /* not measured */
  TWINHUB_FLAG_FORCED = 8,      /* forced by an operator */
  TWINHUB_FLAG_LOCAL_TIME = 16, /* source_ns was made from a local time without zone */
  TWINHUB_FLAG_EVENT = 32,      /* must not be replaced by a later value of the same item */
  TWINHUB_FLAG_STANDBY = 64,    /* published while not active */
  TWINHUB_FLAG_MIRROR = 128,    /* what the sink shows of this interface's own outputs: the read-back image of a
                                   written item, never a new value of it */
  TWINHUB_FLAG_QUALITY_ONLY = 256 /* only the quality is new, the host keeps the item's value */
};

typedef struct { /* 40 bytes */
  uint32_t item;   /* handle, given through items() */
  uint32_t status; /* quality */
  int64_t source_ns;
  twinhub_value value;
  uint32_t flags;
  uint32_t seq;    /* counts up per instance and wraps, so that gaps show; 0 throughout if not kept */
} twinhub_update;

typedef struct {
  uint32_t size;   /* sizeof(twinhub_batch) of the sender */
  uint32_t stride; /* distance between elements in bytes */
  uint32_t count;
  uint32_t flags;  /* 0 */
  uint64_t epoch;  /* of the last set_role() */
  const twinhub_update *items;
} twinhub_batch;

typedef struct { /* 40 bytes */
  uint64_t write_id;
  uint32_t item;
  uint32_t flags;
  int64_t deadline_ns; /* nothing may be sent after it */
  twinhub_value value;
} twinhub_write;

typedef struct {
  uint32_t size;
  uint32_t stride;
  uint32_t count;
  uint32_t flags;
  uint64_t epoch; /* in which the hub's output gate let the writes pass */
  const twinhub_write *items;
} twinhub_write_batch;

typedef struct {
  uint64_t write_id;
  int32_t code;
  uint32_t status; /* quality of the item after the write */
} twinhub_write_result;

/* twinhub_item.access */
enum { TWINHUB_ACCESS_READ = 1, TWINHUB_ACCESS_WRITE = 2 };

typedef struct {
  uint32_t handle;          /* dense, chosen by the hub, never reused during the life of the instance, node-local */
  uint32_t access;
  twinhub_str address_json; /* {"path":"..","address":"..","type":"..","access":"r|w|rw","unit":"..", own columns};
                               all values are strings */
  uint32_t type_hint;       /* TWINHUB_WIRE_* */
  uint32_t group;           /* group number of the configuration, 0 if none */
} twinhub_item;

/* Where a callee writes a large result. write() appends and returns TWINHUB_OK; anything else means: stop. */
typedef struct {
  void *ctx;
  int32_t (*write)(void *ctx, const uint8_t *ptr, size_t len);
} twinhub_writer;

/* log levels */
enum {
  TWINHUB_LEVEL_ERROR = 1,
  TWINHUB_LEVEL_WARN = 2,
  TWINHUB_LEVEL_INFO = 3,
  TWINHUB_LEVEL_DEBUG = 4,
  TWINHUB_LEVEL_TRACE = 5
};

/* ---- host: what the hub gives to one instance ------------------------------------------------------------------- */
typedef struct twinhub_host {
  uint32_t size; /* sizeof(twinhub_host) of the hub */
  uint32_t abi;  /* TWINHUB_ABI of the hub */
  void *ctx;     /* of the hub */

  /* [any-thread] The table of an extension, or NULL if the hub does not offer it. id ends with NUL. */
  const void *(*get_extension)(const struct twinhub_host *host, const char *id);

  /* [any-thread, never blocks] Hands over values. All or nothing:
   *   OK           taken
   *   E_AGAIN      no room, or the hub has yet to deal with what the instance published before it became active; keep the
   *                latest value per item (and every EVENT) and try again
   *   E_STALE_EPOCH the epoch is not that of the role the hub has given, or that role is COLD or WARM; nothing was taken
   *   E_INVALID    the batch breaks this contract
   *   E_STOPPED    stop() has completed */
  int32_t (*publish)(const struct twinhub_host *host, const twinhub_batch *batch);

  /* [any-thread, never blocks] Answers writes, each exactly once. */
  int32_t (*write_done)(const struct twinhub_host *host, const twinhub_write_result *results, uint32_t n);

  /* [any-thread, also from inside the call] Completes the call that was given `op` and returned PENDING.
   * Exactly once. detail: text for people if code is not OK. */
  void (*op_done)(const struct twinhub_host *host, uint64_t op, int32_t code, twinhub_str detail);

  /* [any-thread] The instance is unusable. The hub destroys it and makes a new one, or hands over to the peer. */
  void (*fault)(const struct twinhub_host *host, int32_t code, twinhub_str detail);

  /* [any-thread] Writes to the hub's log. fields_json: a JSON object, or empty. */
  void (*log)(const struct twinhub_host *host, uint32_t level, twinhub_str target, twinhub_str msg,
              twinhub_str fields_json);
} twinhub_host;

/* roles of an instance, in rising order; a new instance is COLD in epoch 0 */
enum {
  TWINHUB_ROLE_COLD = 0,  /* nothing is open */
  TWINHUB_ROLE_WARM = 1,  /* the session is open, there is no traffic */
  TWINHUB_ROLE_HOT = 2,   /* reads and subscriptions run, outputs are silent, updates carry FLAG_STANDBY */
  TWINHUB_ROLE_ACTIVE = 3 /* acting */
};

/* second argument of items() */
enum { TWINHUB_ITEMS_ADD = 1, TWINHUB_ITEMS_REMOVE = 2 };

/* ---- plugin: one instance --------------------------------------------------------------------------------------- */
typedef struct twinhub_plugin {
  uint32_t size; /* sizeof(twinhub_plugin) of the plugin */
  uint32_t abi;  /* TWINHUB_ABI of the plugin */
  void *ctx;     /* of the plugin */

  /* [any-thread] The table of an extension, or NULL if the plugin does not offer it. */
  const void *(*get_extension)(const struct twinhub_plugin *plugin, const char *id);

  /* The control calls return OK (done), PENDING (op_done() follows) or an error (nothing happened, no op_done()). */

  /* [control] Begins to work in the current role. Once. Connections are built up afterwards, not waited for. */
  int32_t (*start)(const struct twinhub_plugin *plugin, uint64_t op);

  /* [control] Changes the role. `epoch` never falls; a smaller one is answered with E_STALE_EPOCH. From the moment this
   * is called with a role below ACTIVE, nothing new is sent. A change down completes only when outputs in flight are
   * finished, or reported as unfinished (write_done with E_TIMEOUT). After deadline_ns the hub goes on without the
   * plugin. After an error the instance is in the lower one of the two roles. The role and epoch that the instance
   * has already ask it to announce itself again (a retained topic, a service level), since another node may have
   * spoken in between; nothing else changes. */
  int32_t (*set_role)(const struct twinhub_plugin *plugin, uint64_t op, uint32_t role, uint64_t epoch,
                      int64_t deadline_ns);

  /* [control] Adds items, or removes them (only `handle` counts). At any time from create() to stop(). */
  int32_t (*items)(const struct twinhub_plugin *plugin, uint64_t op, uint32_t add_or_remove, const twinhub_item *items,
                   uint32_t n, uint32_t stride);

  /* [write-thread, may overlap control] Hands over writes that passed the hub's output gate. All or nothing:
   *   OK            taken; write_done() follows for each, exactly once
   *   E_AGAIN, E_STALE_EPOCH, E_NOT_ACTIVE, E_STOPPED, E_INVALID, E_PANIC: nothing was taken or sent
   * Right before it sends, the plugin asks twinhub.gate/1 again. */
  int32_t (*write)(const struct twinhub_plugin *plugin, const twinhub_write_batch *batch);

  /* [control] Ends the work; the gate closes at once. Once, and only destroy() may follow. When it is done, nothing is
   * in flight, every write is answered, and publish() returns E_STOPPED. */
  int32_t (*stop)(const struct twinhub_plugin *plugin, uint64_t op);

  /* [control] Frees the instance, also without a stop() before. Blocks until the plugin's threads are gone; afterwards
   * none of them calls the hub. Not called from inside a callback. */
  void (*destroy)(const struct twinhub_plugin *plugin);
} twinhub_plugin;

/* ---- entry: the only exported symbol ---------------------------------------------------------------------------- */
/* twinhub_entry.build_flags */
enum {
  TWINHUB_BUILD_UNWIND = 1, /* no failure of the language's runtime ends the process: Rust panics unwind and are caught;
                               set by C code, which has none. Without it the hub refuses to load in its process. */
  TWINHUB_BUILD_DEBUG = 2   /* built without optimization */
};

typedef struct {
  uint64_t magic; /* TWINHUB_MAGIC */
  uint32_t size;  /* sizeof(twinhub_entry) of the plugin */
  uint32_t abi;   /* TWINHUB_ABI of the plugin; checked before anything is called */
  uint32_t build_flags;
  uint32_t reserved; /* 0 */
  twinhub_str manifest; /* the same text as in the section; {NULL, 0} if only the section has it */

  /* [control] Makes an instance: checks the configuration, opens nothing, sends nothing. On OK *out is set, otherwise it
   * is left alone and, where there is more to say, fault() was called with the text. */
  int32_t (*create)(const twinhub_host *host, twinhub_str instance_id, twinhub_str config_json,
                    const twinhub_plugin **out);
} twinhub_entry;

/* ---- extensions ------------------------------------------------------------------------------------------------- */
/* Host: until when effects are permitted. */
#define TWINHUB_EXT_GATE "twinhub.gate/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, never blocks] CLOCK_BOOTTIME nanoseconds until which effects on behalf of `epoch` are permitted; 0 or
   * less: not permitted. Asked right before every send while ACTIVE, polls included: a process that was frozen and
   * woken then sends nothing. */
  int64_t (*lease_end)(const twinhub_host *host, uint64_t epoch);
} twinhub_gate;

/* Host: how the interface is doing. */
#define TWINHUB_EXT_STATUS "twinhub.status/1"
enum {
  TWINHUB_STATE_STOPPED = 0,
  TWINHUB_STATE_CONNECTING = 1,
  TWINHUB_STATE_OK = 2,
  TWINHUB_STATE_DEGRADED = 3,
  TWINHUB_STATE_FAULT = 4,
  TWINHUB_STATE_SUPPRESSED = 5 /* silent on purpose, because not active */
};
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread] */
  void (*state)(const twinhub_host *host, uint32_t state, twinhub_str cause);
} twinhub_status;

/* Host: counters by name, such as suppressed.not_active. Lower case, dots. */
#define TWINHUB_EXT_METRICS "twinhub.metrics/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, never blocks] */
  void (*count)(const twinhub_host *host, twinhub_str name, uint64_t add);
} twinhub_metrics;

/* Host: when published values are safe enough to be acknowledged to whoever sent them. How safe is the hub's to say, by
 * the interface's configuration: on the disk of this node, or on that of another one. Asked for before the first
 * publish(), and only by a plugin that acknowledges inputs: the hub brings what it publishes to the disk at once. */
#define TWINHUB_EXT_ACCEPTANCE "twinhub.acceptance/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, never blocks] How many batches publish() has taken from this instance and its predecessors. Asked after
   * publish() has returned OK, the number covers that batch. Never falls. */
  uint64_t (*taken)(const twinhub_host *host);
  /* [any-thread, never blocks] This many of them, counted from the first, are accepted. Never falls. What was taken when
   * the role was lost may never be: then the input stays unacknowledged, and its source delivers it again. */
  uint64_t (*accepted)(const twinhub_host *host);
} twinhub_acceptance;

/* Plugin: hears that more is accepted. */
#define TWINHUB_EXT_ACCEPTED "twinhub.accepted/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, may overlap control] What accepted() of the host gives, or gave a moment ago. Takes a note and wakes
   * whoever waits, nothing else. */
  void (*accepted)(const twinhub_plugin *plugin, uint64_t through);
} twinhub_accepted;

/* Plugin: hears that there is room. */
#define TWINHUB_EXT_FLOW "twinhub.flow/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, may overlap control] It is worth to try again what publish(), put() of twinhub.state-store/1 or give()
   * of twinhub.events/1 answered with E_AGAIN; told once for all such answers since the last time. Another E_AGAIN may
   * follow, and then another call. A hub without this extension tells nothing. Takes a note and wakes whoever waits,
   * nothing else. */
  void (*room)(const twinhub_plugin *plugin);
} twinhub_flow;

/* Plugin: state that moves to the other node. */
#define TWINHUB_EXT_STATE "twinhub.state/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [control] Writes the state and its version. Returns OK, E_UNSUPPORTED, or what the writer returned. Up to 1 s. */
  int32_t (*snapshot)(const twinhub_plugin *plugin, uint32_t *version, const twinhub_writer *out);
  /* [control] Takes over a state. Returns OK, E_STATE_VERSION, E_UNSUPPORTED or E_INVALID. Up to 1 s. */
  int32_t (*apply)(const twinhub_plugin *plugin, uint32_t version, const uint8_t *ptr, size_t len);
} twinhub_state;

/* Host: small values by key that the other nodes get, too. Each interface has a store of its own, which outlives its
 * instances. A key is 1 to TWINHUB_STORE_KEY_BYTES_MAX bytes of UTF-8. Offered to interfaces that switch with their group.
 *
 * What is put goes into the journal in the order in which the instance puts and publishes: wherever a value is that was
 * published after a put() had returned OK, what was put is there, too. put() does not wait for that: what was put right
 * before the role was lost may be gone, as a value may be. From the call of set_role(ACTIVE) on the store is what the node
 * that acted before left; while not active it is what this node knew at some moment before. */
#define TWINHUB_EXT_STATE_STORE "twinhub.state-store/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, never blocks] Writes the value of a key. Returns OK, E_NOT_FOUND, E_INVALID, or what the writer returned. */
  int32_t (*get)(const twinhub_host *host, twinhub_str key, const twinhub_writer *out);
  /* [any-thread, never blocks] Writes the key that follows `after` in the order of their bytes; an empty one asks for the
   * first. Returns as get(). */
  int32_t (*next)(const twinhub_host *host, twinhub_str after, const twinhub_writer *out);
  /* [any-thread, never blocks] Keeps len bytes under a key; get() gives them from then on.
   *   OK            taken
   *   E_AGAIN       the hub has no room for more changes at present
   *   E_STALE_EPOCH the instance is not active with this epoch
   *   E_INVALID     the key is empty or no UTF-8, or key or value are too long
   *   E_FULL        the interface would have too many keys, or too many bytes in all
   *   E_STOPPED     stop() has completed */
  int32_t (*put)(const twinhub_host *host, uint64_t epoch, twinhub_str key, const uint8_t *ptr, size_t len);
  /* [any-thread, never blocks] Forgets a key, also one that is not there. Returns as put(). */
  int32_t (*remove)(const twinhub_host *host, uint64_t epoch, twinhub_str key);
} twinhub_state_store;

/* Host: where calls that are asked for a text put it. */
#define TWINHUB_EXT_ANSWER "twinhub.answer/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, also from inside the call] Appends to the answer of the call that was given `op` and is not completed.
   *   OK        taken
   *   E_INVALID no such call is under way
   *   E_FULL    the answer would be longer than TWINHUB_ANSWER_BYTES_MAX; nothing of this was taken
   * What was appended counts when the call ends with OK. */
  int32_t (*append)(const twinhub_host *host, uint64_t op, const uint8_t *ptr, size_t len);
} twinhub_answer;

/* Plugin: lists what can be addressed on its device. */
#define TWINHUB_EXT_BROWSE "twinhub.browse/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, may overlap control; one at a time] Lists what is directly below a node. It completes as a control call
   * does: OK, PENDING (op_done() follows) or an error, E_NOT_ACTIVE if the device may not be asked in this role. Before it
   * completes with OK, the answer goes to twinhub.answer/1: a JSON object
   *   {"nodes":[{"name":"Boiler","description":"..","parent":ANY},
   *             {"name":"flow","description":"..","row":{"path":"boiler/flow","address":"hr:1","type":"float32",..}}],
   *    "cursor":".."}
   * of at most `limit` nodes. "parent", any JSON, says that there is more below; it is what this call is given then. "row"
   * is what can be addressed: columns of an items file, all of them strings. "cursor" says that there are more nodes; it
   * comes back with the next call. Everything but "nodes" and "name" may be left out.
   *   parent_json  of the node, as an answer before said it; empty for the top
   *   cursor       of the answer before; empty for the first
   *   limit        1 to TWINHUB_BROWSE_NODES_MAX */
  int32_t (*browse)(const twinhub_plugin *plugin, uint64_t op, twinhub_str parent_json, twinhub_str cursor,
                    uint32_t limit);
} twinhub_browse;

/* Plugin: says how it is. */
#define TWINHUB_EXT_DIAG "twinhub.diag/1"
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, may overlap control; one at a time] Says what helps to find a fault: connections, counters, the last
   * errors, versions of the peer; no secrets. Completes and answers as browse() does, with a JSON object of the plugin's
   * own. In any role, and without asking the device for it. */
  int32_t (*diagnose)(const twinhub_plugin *plugin, uint64_t op);
} twinhub_diag;

/* Plugin: answers whoever puts its interface into service. */
#define TWINHUB_EXT_INQUIRY "twinhub.inquiry/1"
/* Does the device answer, with these credentials? Goes all the way and back without changing anything there. Request: {}.
 * Answer: {"steps":[{"name":"connect","outcome":"ok","detail":"..","took_ms":12.5}]} in the order in which they were done;
 * outcome: ok | failed | skipped; detail says what was found (a version, say) or what to do; took_ms may be left out. What
 * could not be tried, since a step before has failed, is "skipped". A step that fails does not fail the call. */
#define TWINHUB_INQUIRY_TEST 1u
/* What is in reach that this interface, or another one like it, could connect to? Request: {"wait_ms":3000}, for how long
 * answers are waited for. Answer: {"found":[{"name":"..","address":"..","detail":"..","settings":{..}}]}; settings: what to
 * write into the configuration to connect to it. Everything but address may be left out. */
#define TWINHUB_INQUIRY_DISCOVER 2u
/* What went over the line? The instance keeps the last messages of both directions, numbered from 1. Request:
 * {"after":17,"limit":200}, what came behind that number, the oldest first; or {"limit":20}, the last ones. Answer:
 * {"last":21,"messages":[{"number":18,"time_ns":..,"direction":"in","from":"1.1.5","to":"1/2/3","name":"..","kind":"write",
 * "value":"21.4 C","raw":"0c33"}]}; last: number of the last message there was; direction: in | out; everything but number,
 * time_ns (since 1970 UTC) and direction may be left out, all of it text. In any role. */
#define TWINHUB_INQUIRY_MONITOR 3u
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, may overlap control; one of each question at a time] Completes and answers as browse() does, with the JSON
   * object of the question; E_UNSUPPORTED for a question that the plugin does not know, E_NOT_ACTIVE for one that it does not
   * put to its device in this role. */
  int32_t (*inquire)(const twinhub_plugin *plugin, uint64_t op, uint32_t question, twinhub_str request_json);
} twinhub_inquiry;

/* Plugin: takes values of other interfaces' items, which `values_in` of its interface in the configuration names. For
 * modules: metering, messenger, shutters, and other work on what interfaces read.
 *
 * Only an instance that is ACTIVE is given values. After each way to ACTIVE it gets, in this order: what came since the
 * last batch that an instance of the group had dealt with, on whichever node (FLAG_REPLAY); all its items as they are now
 * (FLAG_SNAPSHOT); then each value as it comes, in the order of the journal, none left out and none replaced by a later one.
 * How far it is goes into the journal behind what the plugin published and put before the batch was completed. So nothing
 * is lost at a takeover, and values may come a second time, in other batches: `place` tells. It grows, is the same on all
 * nodes, and values of one place are never in two batches. A plugin that puts the place of the last value it has counted
 * under one key of twinhub.state-store/1 with the result, and leaves out what is not behind it, counts nothing twice. */
#define TWINHUB_EXT_VALUES_IN "twinhub.values-in/1"
typedef struct { /* 56 bytes */
  twinhub_update update; /* item: handle given through watch(); seq: 0 */
  uint64_t place_epoch;  /* its place in the journal: first compare this, */
  uint64_t place_seq;    /* then this; a picture (FLAG_SNAPSHOT) has the place of what came before it */
} twinhub_value_in;
typedef struct {
  uint32_t size;   /* sizeof(twinhub_values) of the hub */
  uint32_t stride; /* distance between elements in bytes */
  uint32_t count;
  uint32_t flags; /* 0 */
  uint64_t epoch; /* of the last set_role() */
  const twinhub_value_in *items;
} twinhub_values;
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [control] Adds items of other interfaces, or removes them; as items(), with handles of a numbering of their own.
   * address_json: {"key":"plc1/boiler/flow","type":"..","access":"r|w|rw","unit":"..","description":".."}. Comes before the
   * first values(). E_UNSUPPORTED: this plugin takes no values. */
  int32_t (*watch)(const twinhub_plugin *plugin, uint64_t op, uint32_t add_or_remove, const twinhub_item *items,
                   uint32_t n, uint32_t stride);
  /* [any-thread, may overlap control; one at a time] Gives values. It completes as a control call does:
   *   OK, PENDING   dealt with, or op_done() follows when they are; the next batch comes after that
   *   E_INVALID, E_UNSUPPORTED: they are of no use to the plugin; the hub counts them and goes on
   *   other errors  the hub gives them again, a quarter of a second later
   * An instance that does not complete it within a minute is taken for faulted. */
  int32_t (*values)(const twinhub_plugin *plugin, uint64_t op, const twinhub_values *batch);
} twinhub_values_in;

/* Host and plugin: events, which are messages and not values: a guest checks in, a door was opened, a mail is to be sent.
 * The plugin that has one gives it to a stream that its manifest declares (events.gives); the hub journals and replicates
 * it and delivers it to each interface that the configuration links to the stream and whose plugin declares to take it
 * (events.takes). Offered to interfaces that switch with their group. A plugin that uses it offers its own table, too.
 *
 * An event is known by the interface that gives it, its stream and its id. The id comes from the device where it has one:
 * then what both nodes give, or what the device repeats, is one event. Events of one giver with the same key are delivered
 * in the order in which they were given, the next one when the one before is done; so are those with an empty key. */
#define TWINHUB_EXT_EVENTS "twinhub.events/1"
/* twinhub_event.flags */
enum {
  TWINHUB_EVENT_NEED_ACK = 1,   /* given: its source waits for an acknowledgment, so taken() says when it is safe */
  TWINHUB_EVENT_REDELIVERED = 2 /* delivered: it may have been delivered before, here or on another node, with this id */
};
typedef struct {
  uint32_t size; /* sizeof(twinhub_event) of the sender */
  uint32_t flags;
  uint64_t epoch;       /* of the role in which it is given, or delivered */
  uint64_t number;      /* of the sender's choice: given, it comes back in taken(); delivered, in acknowledge() */
  twinhub_str source;   /* delivered: the interface that gave it; given: empty */
  twinhub_str stream;   /* 1 to TWINHUB_EVENT_STREAM_BYTES_MAX bytes, as declared */
  twinhub_str event_id; /* up to TWINHUB_EVENT_ID_BYTES_MAX bytes; given: empty if the device has none, then the hub makes one */
  twinhub_str key;      /* what it is about, up to TWINHUB_EVENT_KEY_BYTES_MAX bytes */
  const uint8_t *payload;
  size_t payload_len; /* up to TWINHUB_EVENT_PAYLOAD_BYTES_MAX */
} twinhub_event;
/* of the host */
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, never blocks] Gives an event, in the order of publish() and put():
   *   OK            taken
   *   PENDING       taken(number) of the plugin follows exactly once, with one of these codes
   *   E_AGAIN       an interface that it is for has too many waiting, or the hub has no room at present; try again
   *   E_STALE_EPOCH the epoch is not that of the role the hub has given
   *   E_NOT_ACTIVE  the instance is not active. A HOT instance may give an event with an id and without NEED_ACK: the hub
   *                 holds it until it has seen that the active node has it, too, and gives it itself if that one is lost
   *   E_INVALID     the stream is not declared, a text is too long or no UTF-8, or the payload is too long
   *   E_STOPPED     stop() has completed */
  int32_t (*give)(const twinhub_host *host, const twinhub_event *event);
  /* [any-thread, also from inside the call] Says what became of an event whose deliver() returned PENDING, as deliver()
   * would have. Exactly once; E_NOT_FOUND if no such event waits. */
  int32_t (*acknowledge)(const twinhub_host *host, uint64_t number, int32_t code);
} twinhub_host_events;
/* of the plugin */
typedef struct {
  uint32_t size;
  uint32_t reserved;
  /* [any-thread, may overlap control] What became of an event for which give() returned PENDING. OK: it is safe, as
   * ack_after of the interface says, and its source may forget it. Otherwise nothing was taken, or is not sure to be: it is
   * not acknowledged, and its source, or the plugin after E_AGAIN, gives it again. Takes a note and wakes whoever waits. */
  void (*taken)(const twinhub_plugin *plugin, uint64_t number, int32_t code);
  /* [write-thread, may overlap control] Brings an event to an instance that is ACTIVE, past the hub's output gate:
   *   OK       done: it does not come again
   *   PENDING  taken; acknowledge() follows
   *   E_AGAIN  nothing was done, and it is to come again later: the device does not answer, say. So do E_STALE_EPOCH,
   *            E_NOT_ACTIVE and E_STOPPED
   *   other    it cannot be done and does not come again; operators are told
   * What is not done when the role ends, the instance is replaced or the node dies comes again with the same id, flagged
   * REDELIVERED; who cannot do a thing twice keeps the ids that it has done. Right before it sends, the plugin asks
   * twinhub.gate/1. */
  int32_t (*deliver)(const twinhub_plugin *plugin, const twinhub_event *event);
} twinhub_plugin_events;

#ifdef __cplusplus
}
#endif

#endif /* TWINHUB_PLUGIN_H */
