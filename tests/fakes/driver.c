/* A CUDA driver without a GPU, so that the real Python packages can be called: one device whose memory is the host's.

   Work is done at once, or recorded while a stream captures. Like the real driver it refuses work in a thread without
   a context (201), freed and unknown memory (1), more memory than there is (2), any use in the children of a process
   that started it (3), and ends the process with status 99 if memory, streams or graphs were not freed before
   the context was released, or if it was not released. The call that SIMULATED_FAILURE names fails.

   The same library contains NVML, because a library may have two names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>

#define TOTAL ((size_t)64 << 20)
#define MAX 256
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, INVALID_CONTEXT = 201, INVALIDATED = 901 };

typedef struct { void *at; size_t bytes; int pinned; } Block;
typedef struct { void *to; const void *from; size_t bytes; } Copy;
typedef struct { int capturing, broken, count; Copy copies[MAX]; } Stream;

static Block blocks[MAX];
static size_t used;
static int references, objects;
static __thread void *current;
static int context;

#define NEED_CONTEXT if (!current) return INVALID_CONTEXT

static Block *find(const void *at, size_t bytes) {
    for (int i = 0; i < MAX; i++)
        if (blocks[i].at && (char *)at >= (char *)blocks[i].at &&
            (char *)at + bytes <= (char *)blocks[i].at + blocks[i].bytes) return &blocks[i];
    return 0;
}
static int take(void **at, size_t bytes, int pinned) {
    NEED_CONTEXT;
    if (!pinned && used + bytes > TOTAL) return OUT_OF_MEMORY;
    for (int i = 0; i < MAX; i++)
        if (!blocks[i].at) {
            *at = aligned_alloc(256, (bytes + 255) / 256 * 256);
            memset(*at, 0xAB, bytes);
            blocks[i] = (Block){*at, bytes, pinned};
            used += pinned ? 0 : bytes;
            return OK;
        }
    return OUT_OF_MEMORY;
}
static int give(void *at, int pinned) {
    NEED_CONTEXT;
    Block *block = find(at, 1);
    if (!block || block->at != at || block->pinned != pinned) return INVALID_VALUE;
    used -= pinned ? 0 : block->bytes;
    free(at);
    block->at = 0;
    return OK;
}
static int copy(void *to, const void *from, size_t bytes, Stream *stream, int to_device) {
    NEED_CONTEXT;
    Block *target = find(to, bytes), *source = find(from, bytes);
    if (!target || !source || target->pinned == to_device || source->pinned != to_device) return INVALID_VALUE;
    if (stream->capturing) stream->copies[stream->count++] = (Copy){to, from, bytes};
    else memcpy(to, from, bytes);
    return OK;
}

static pid_t started_by;
static void require_released(void) { if (references > 0) _exit(99); }

int cuInit(unsigned flags) {
    if (started_by && started_by != getpid()) return NOT_INITIALIZED;
    if (!started_by) atexit(require_released);
    started_by = getpid();
    return OK;
}
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return started_by == getpid() ? OK : NOT_INITIALIZED; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return OK; }
int cuDeviceGetName(char *name, int bytes, int device) { snprintf(name, bytes, "Simulated GPU"); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = TOTAL; return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 8 : 6; return OK; }
int cuDevicePrimaryCtxRetain(void **at, int device) { references++; *at = &context; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) {
    for (int i = 0; i < MAX; i++) if (blocks[i].at) _exit(99);
    if (objects) _exit(99);
    return --references < 0 ? INVALID_CONTEXT : OK;
}
int cuCtxSetCurrent(void *at) { current = at; return OK; }
int cuCtxGetCurrent(void **at) { *at = current; return OK; }
int cuCtxPushCurrent_v2(void *at) { current = at; return OK; }
int cuCtxPopCurrent_v2(void **at) { if (at) *at = current; current = 0; return OK; }
int cuMemAlloc_v2(void **at, size_t bytes) { return take(at, bytes, 0); }
int cuMemFree_v2(void *at) { return give(at, 0); }
int cuMemHostAlloc(void **at, size_t bytes, unsigned flags) { return take(at, bytes, 1); }
int cuMemFreeHost(void *at) { return give(at, 1); }
int cuMemGetInfo_v2(size_t *left, size_t *total) {
    NEED_CONTEXT;
    if (getenv("SIMULATED_FAILURE") && !strcmp(getenv("SIMULATED_FAILURE"), "cuMemGetInfo")) return OUT_OF_MEMORY;
    *left = TOTAL - used;
    *total = TOTAL;
    return OK;
}
int cuStreamCreate(Stream **stream, unsigned flags) {
    NEED_CONTEXT;
    if (flags != 1) return INVALID_VALUE;
    *stream = calloc(1, sizeof(Stream));
    objects++;
    return OK;
}
int cuStreamDestroy_v2(Stream *stream) { NEED_CONTEXT; free(stream); objects--; return OK; }
int cuStreamSynchronize(Stream *stream) {
    NEED_CONTEXT;
    if (stream->capturing) stream->broken = 1;
    return stream->capturing ? INVALIDATED : OK;
}
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, Stream *s) { return copy(to, from, bytes, s, 1); }
int cuMemcpyDtoHAsync_v2(void *to, void *from, size_t bytes, Stream *s) { return copy(to, from, bytes, s, 0); }
int cuStreamBeginCapture_v2(Stream *stream, int mode) {
    NEED_CONTEXT;
    if (mode != 1) return INVALID_VALUE;
    stream->capturing = 1;
    stream->count = stream->broken = 0;
    return OK;
}
int cuStreamEndCapture(Stream *stream, Stream **graph) {
    NEED_CONTEXT;
    stream->capturing = 0;
    *graph = 0;
    if (stream->broken) return INVALIDATED;
    *graph = malloc(sizeof(Stream));
    memcpy(*graph, stream, sizeof(Stream));
    objects++;
    return OK;
}
int cuGraphInstantiateWithFlags(Stream **executable, Stream *graph, unsigned long long flags) {
    NEED_CONTEXT;
    *executable = malloc(sizeof(Stream));
    memcpy(*executable, graph, sizeof(Stream));
    objects++;
    return OK;
}
int cuGraphLaunch(Stream *graph, Stream *stream) {
    NEED_CONTEXT;
    for (int i = 0; i < graph->count; i++) memcpy(graph->copies[i].to, graph->copies[i].from, graph->copies[i].bytes);
    return OK;
}
int cuGraphDestroy(Stream *graph) { NEED_CONTEXT; free(graph); objects--; return OK; }
int cuGraphExecDestroy(Stream *graph) { NEED_CONTEXT; free(graph); objects--; return OK; }
int cuEventCreate(int **event, unsigned flags) {
    NEED_CONTEXT;
    if (flags) return INVALID_VALUE;
    *event = calloc(1, sizeof(int));
    objects++;
    return OK;
}
int cuEventRecord(int *event, Stream *stream) { static int now; NEED_CONTEXT; *event = ++now; return OK; }
int cuEventSynchronize(int *event) { NEED_CONTEXT; return *event ? OK : INVALID_VALUE; }
int cuEventElapsedTime_v2(float *ms, int *from, int *to) { NEED_CONTEXT; *ms = *to - *from; return OK; }
int cuEventElapsedTime(float *ms, int *from, int *to) { return cuEventElapsedTime_v2(ms, from, to); }
int cuEventDestroy_v2(int *event) { NEED_CONTEXT; free(event); objects--; return OK; }
int cuGetErrorString(int status, const char **text) { *text = status == 2 ? "out of memory" : "simulated"; return OK; }
int cuGetErrorName(int status, const char **name) { *name = "SIMULATED"; return OK; }

int nvmlInit_v2(void) { return OK; }
int nvmlShutdown(void) { return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **gpu) { *gpu = &context; return OK; }
int nvmlDeviceGetPciInfo_v3(void *gpu, void *pci) { memset(pci, 0, 68); return OK; }
int nvmlDeviceGetName(void *gpu, char *name, unsigned bytes) { return cuDeviceGetName(name, bytes, 0); }
int nvmlDeviceGetUUID(void *gpu, char *uuid, unsigned bytes) { snprintf(uuid, bytes, "GPU-1"); return OK; }
int nvmlDeviceGetCudaComputeCapability(void *gpu, int *major, int *minor) { *major = 8; *minor = 6; return OK; }
int nvmlDeviceGetMemoryInfo(void *gpu, unsigned long long *bytes) { bytes[0] = TOTAL; bytes[2] = used; return OK; }

static int unknown(void) { return 801; }
int cuGetProcAddress_v2(const char *name, void **at, int version, unsigned long long flags, int *found) {
    char newer[128];
    const char *suffixes[] = {"_v2", "", "WithFlags"};
    for (int i = 0; i < 3; i++) {
        snprintf(newer, sizeof newer, "%s%s", name, suffixes[i]);
        if ((*at = dlsym(RTLD_DEFAULT, newer)) || (*at = dlsym(dlopen("libcuda.so.1", RTLD_NOW), newer))) break;
    }
    if (!*at) *at = unknown;
    if (found) *found = 0;
    return OK;
}
int cuGetProcAddress(const char *name, void **at, int version, unsigned long long flags) {
    return cuGetProcAddress_v2(name, at, version, flags, 0);
}
