// A libcuda.so and a libnvrtc.so for tests: the functions that sempair calls, over host memory. NVRTC compiles a
// kernel's source with g++ and sim.h; its "CUBIN" is the shared object. Memory is NaN when it is allocated, ends at a
// page that nobody may touch, and is unmapped when it is freed. A launch that the hardware would refuse is refused.
//
// The environment makes it fail: SIM_DEVICES (how many GPUs, default 1), SIM_DRIVER (its version), SIM_MEMORY (bytes),
// SIM_CAPABILITY (such as 7.0), SIM_FAIL=allocation:N, launch:N or lost:N (the N-th allocation and all later ones fail,
// the N-th launch, or the N-th launch and then every call). SIM_PATTERN and SIM_REPLACEMENT plant a mistake: the first
// place that holds the pattern is compiled as the replacement.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <regex>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>
#define API extern "C" __attribute__((visibility("default"))) int
typedef uint64_t u64;
typedef uint32_t u32;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
       INVALID_CONTEXT = 201, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, LAUNCH_FAILED = 719 };

static std::recursive_mutex lock_;
#define ENTER std::lock_guard<std::recursive_mutex> guard(lock_); if (lost) return LAUNCH_FAILED
static bool lost = false;

static u64 setting(const char* name, u64 otherwise) {
    const char* text = getenv(name);
    return text ? strtoull(text, nullptr, 10) : otherwise;
}
// Whether this call of a kind is the one that shall fail, or, for allocations, comes after it.
static bool fails(const std::string& kind) {
    static std::map<std::string, u64> calls;
    static const std::string which = getenv("SIM_FAIL") ? getenv("SIM_FAIL") : "";
    if (which.compare(0, kind.size() + 1, kind + ":")) return false;
    u64 call = ++calls[kind], first = strtoull(which.c_str() + kind.size() + 1, nullptr, 10);
    return kind == "allocation" ? call >= first : call == first;
}

struct Allocation { char* map; size_t mapped, bytes; };
struct Function { void (*launch)(const u32*, const u32*, u32, void**); std::vector<u32> sizes; u32 dynamic; };
static std::map<u64, Allocation> allocations;
static size_t used;
static thread_local void* current;
static int context;
static size_t memory() { return setting("SIM_MEMORY", 8ull << 30); }

API cuInit(u32) { ENTER; return setting("SIM_DEVICES", 1) ? OK : NO_DEVICE; }
API cuDriverGetVersion(int* version) { ENTER; *version = (int)setting("SIM_DRIVER", 13000); return OK; }
API cuDeviceGetCount(int* count) { ENTER; *count = (int)setting("SIM_DEVICES", 1); return OK; }
API cuDeviceGet(int* device, int ordinal) { ENTER; *device = ordinal; return ordinal < (int)setting("SIM_DEVICES", 1) ? OK : INVALID_DEVICE; }
API cuDeviceGetName(char* name, int bytes, int) { ENTER; snprintf(name, bytes, "simulated GPU"); return OK; }
API cuDeviceTotalMem_v2(size_t* bytes, int) { ENTER; *bytes = memory(); return OK; }
API cuDeviceGetAttribute(int* value, int attribute, int) {
    ENTER;
    const char* capability = getenv("SIM_CAPABILITY");
    switch (attribute) {
        case 16: *value = 132; break;                                    // multiprocessors
        case 75: *value = capability ? capability[0] - '0' : 9; break;   // capability, major
        case 76: *value = capability ? capability[2] - '0' : 0; break;   // minor
        default: return INVALID_VALUE;
    }
    return OK;
}
API cuDevicePrimaryCtxRetain(void** c, int) { ENTER; *c = &context; return OK; }
API cuDevicePrimaryCtxRelease_v2(int) { ENTER; return OK; }
API cuCtxGetCurrent(void** c) { ENTER; *c = current; return OK; }
API cuCtxSetCurrent(void* c) { ENTER; current = c; return OK; }
API cuGetErrorName(int error, const char** text) {
    static thread_local char name[40];
    snprintf(name, sizeof name, "SIMULATED_ERROR_%d", error);
    *text = name;
    return OK;
}
API cuGetErrorString(int error, const char** text) { return cuGetErrorName(error, text); }

API cuMemAlloc_v2(u64* p, size_t bytes) {
    ENTER;
    if (current != &context) return INVALID_CONTEXT;
    if (!bytes) return INVALID_VALUE;
    if (fails("allocation") || used + bytes > memory()) return OUT_OF_MEMORY;
    size_t page = 4096, body = (bytes + 255) / 256 * 256, pages = (body + page - 1) / page * page + page;
    char* map = (char*)mmap(nullptr, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(map + pages - page, page, PROT_NONE);
    memset(map, 0xff, pages - page);
    *p = (u64)(map + pages - page - body);
    allocations[*p] = {map, pages, bytes};
    used += bytes;
    return OK;
}
API cuMemFree_v2(u64 p) {
    ENTER;
    auto it = allocations.find(p);
    if (it == allocations.end()) return INVALID_VALUE;
    auto& a = it->second;
    for (size_t i = a.bytes; i < (a.bytes + 255) / 256 * 256; ++i)
        if (((unsigned char*)p)[i] != 0xff) { fprintf(stderr, "sim: something wrote beyond the end of %zu bytes\n", a.bytes); abort(); }
    munmap(a.map, a.mapped);
    used -= a.bytes;
    allocations.erase(it);
    return OK;
}
API cuMemGetInfo_v2(size_t* free, size_t* total) { ENTER; *total = memory(); *free = *total - used; return OK; }
API cuMemHostAlloc(void** p, size_t bytes, u32) { ENTER; *p = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096); memset(*p, 0xff, bytes); return OK; }
API cuMemFreeHost(void* p) { ENTER; free(p); return OK; }
// Whether all of it lies in one allocation.
static bool holds(u64 p, size_t bytes) {
    auto it = allocations.upper_bound(p);
    if (it == allocations.begin()) return false;
    --it;
    return p + bytes <= it->first + it->second.bytes;
}
// A copy from the host is made as late as it may: by the next work of its stream, or when something waits for it. Until
// then the memory has what it had.
struct Copy { u64 to; const void* from; size_t bytes; };
struct Stream { std::vector<Copy> copies; u64 done; std::vector<std::pair<Stream*, u64>> waits; };
static void make_copies(Stream* stream, u64 count) {
    for (auto [other, copies] : std::exchange(stream->waits, {})) make_copies(other, copies);
    for (; stream->done < count && !stream->copies.empty(); ++stream->done, stream->copies.erase(stream->copies.begin())) {
        Copy& copy = stream->copies[0];
        if (!holds(copy.to, copy.bytes)) { fprintf(stderr, "sim: a copy to memory that was freed\n"); abort(); }
        memcpy((void*)copy.to, copy.from, copy.bytes);
    }
}
#define WORK(stream) make_copies((Stream*)stream, ~0ull)
API cuMemcpyHtoDAsync_v2(u64 to, const void* from, size_t bytes, void* stream) { ENTER; if (!holds(to, bytes)) return INVALID_VALUE; ((Stream*)stream)->copies.push_back({to, from, bytes}); return OK; }
// A copy to the host arrives when the host waits for it, as late as it may; until then the host sees NaN.
struct Arrival { void* to; std::vector<char> bytes; };
static std::vector<Arrival> arrivals;
static u64 arrived; // how many came before the first of `arrivals`
static void wait_for(u64 count) {
    for (; arrived < count && !arrivals.empty(); ++arrived, arrivals.erase(arrivals.begin()))
        memcpy(arrivals[0].to, arrivals[0].bytes.data(), arrivals[0].bytes.size());
}
API cuMemcpyDtoHAsync_v2(void* to, u64 from, size_t bytes, void* stream) {
    ENTER;
    WORK(stream);
    if (!holds(from, bytes)) return INVALID_VALUE;
    arrivals.push_back({to, std::vector<char>((char*)from, (char*)from + bytes)});
    memset(to, 0xff, bytes);
    return OK;
}
API cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, void* stream) { ENTER; WORK(stream); if (!holds(to, bytes) || !holds(from, bytes)) return INVALID_VALUE; memmove((void*)to, (void*)from, bytes); return OK; }
API cuMemsetD8Async(u64 to, unsigned char value, size_t bytes, void* stream) { ENTER; WORK(stream); if (!holds(to, bytes)) return INVALID_VALUE; memset((void*)to, value, bytes); return OK; }

API cuStreamCreate(void** stream, u32) { ENTER; *stream = new Stream(); return OK; }
API cuStreamDestroy_v2(void* stream) { ENTER; delete (Stream*)stream; return OK; }
API cuStreamSynchronize(void* stream) { ENTER; WORK(stream); wait_for(~0ull); return OK; }
struct Event { u64 arrivals; std::chrono::steady_clock::time_point time; Stream* stream; u64 copies; bool waited; };
API cuEventCreate(void** event, u32) { ENTER; *event = new Event(); return OK; }
API cuEventRecord(void* event, void* of) {
    ENTER;
    auto* stream = (Stream*)of;
    *(Event*)event = {arrived + arrivals.size(), std::chrono::steady_clock::now(), stream, stream->done + stream->copies.size(), false};
    return OK;
}
API cuEventSynchronize(void* of) {
    ENTER;
    auto* event = (Event*)of;
    if (event->stream) make_copies(event->stream, event->copies);
    wait_for(event->arrivals);
    event->waited = true;
    return OK;
}
API cuStreamWaitEvent(void* stream, void* of, u32) {
    ENTER;
    auto* event = (Event*)of;
    if (event->stream) ((Stream*)stream)->waits.push_back({event->stream, event->copies});
    return OK;
}
// Every third query says that the event has not happened yet; with SIM_EVENTS=late every one until the host waits for the
// event, with SIM_EVENTS=early none.
API cuEventQuery(void* event) {
    static u64 queries;
    static const std::string when = getenv("SIM_EVENTS") ? getenv("SIM_EVENTS") : "";
    ENTER;
    if (((Event*)event)->waited || when == "early") return OK;
    return when == "late" || ++queries % 3 == 0 ? NOT_READY : OK;
}
API cuEventDestroy_v2(void* event) { ENTER; delete (Event*)event; return OK; }
API cuEventElapsedTime_v2(float* milliseconds, void* start, void* stop) {
    ENTER;
    *milliseconds = std::chrono::duration<float, std::milli>(((Event*)stop)->time - ((Event*)start)->time).count();
    return OK;
}

static const char MAGIC[] = "SIMCUBIN";
API cuModuleLoadData(void** module, const void* image) {
    ENTER;
    if (memcmp(image, MAGIC, 8)) return INVALID_IMAGE;
    u64 size; // the image tells its size before the shared object
    memcpy(&size, (const char*)image + 8, 8);
    char path[] = "/tmp/sim-module-XXXXXX";
    int file = mkstemp(path);
    bool written = file >= 0 && write(file, (const char*)image + 16, size) == (ssize_t)size;
    close(file);
    *module = written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : nullptr;
    if (!*module) fprintf(stderr, "sim: %s\n", dlerror());
    unlink(path);
    return *module ? OK : INVALID_IMAGE;
}
API cuModuleUnload(void*) { ENTER; return OK; }
API cuModuleGetFunction(void** function, void* module, const char* name) {
    ENTER;
    auto launch = (decltype(Function::launch))dlsym(module, (std::string("sim_launch_") + name).c_str());
    auto sizes = (size_t (*)(u32*))dlsym(module, (std::string("sim_sizes_") + name).c_str());
    if (!launch) return NOT_FOUND;
    auto* f = new Function{launch, std::vector<u32>(sizes(nullptr)), 48 << 10};
    sizes(f->sizes.data());
    *function = f;
    return OK;
}
API cuFuncSetAttribute(void* function, int attribute, int value) {
    ENTER;
    if (attribute != 8 || value > 99 << 10) return INVALID_VALUE;
    ((Function*)function)->dynamic = value;
    return OK;
}
API cuFuncGetParamInfo(void* function, size_t index, size_t* offset, size_t* size) {
    ENTER;
    auto* f = (Function*)function;
    if (index >= f->sizes.size()) return INVALID_VALUE;
    *offset = 0;
    *size = f->sizes[index];
    return OK;
}
API cuLaunchKernel(void* function, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 dynamic, void* stream, void** arguments, void**) {
    ENTER;
    WORK(stream);
    auto* f = (Function*)function;
    if (fails("lost")) { lost = true; return LAUNCH_FAILED; }
    if (fails("launch")) return ILLEGAL_ADDRESS;
    if (!gx || !gy || !gz || gx > 0x7fffffffu || gy > 65535 || gz > 65535 || !bx || !by || !bz || (u64)bx * by * bz > 1024 || dynamic > f->dynamic) return INVALID_VALUE;
    u32 grid[] = {gx, gy, gz}, threads[] = {bx, by, bz};
    f->launch(grid, threads, dynamic, arguments);
    return OK;
}

struct Program { std::string source, log; std::vector<char> image; };
static std::string run(const std::string& command) {
    std::string out;
    FILE* pipe = popen(command.c_str(), "r");
    char buffer[65536];
    for (size_t n; pipe && (n = fread(buffer, 1, sizeof buffer, pipe));) out.append(buffer, n);
    if (pipe) pclose(pipe);
    return out;
}
static std::string here() {
    Dl_info info;
    dladdr((void*)here, &info);
    std::string path = info.dli_fname;
    return path.substr(0, path.rfind('/'));
}
API nvrtcVersion(int* major, int* minor) { *major = 13; *minor = 0; return OK; }
API nvrtcCreateProgram(void** program, const char* source, const char*, int, const char* const*, const char* const*) { *program = new Program{source, "", {}}; return OK; }
API nvrtcDestroyProgram(void** program) { delete (Program*)*program; *program = nullptr; return OK; }
API nvrtcCompileProgram(void* handle, int count, const char* const* options) {
    auto* p = (Program*)handle;
    std::string flags;
    for (int i = 0; i < count; ++i) {
        if (!strncmp(options[i], "-D", 2)) flags += std::string(" ") + options[i];
        if (strstr(options[i], "sm_70")) { p->log = "nvrtc: error: invalid value for --gpu-architecture (-arch)"; return 5; }
    }
    char folder[] = "/tmp/sim-nvrtc-XXXXXX";
    if (!mkdtemp(folder)) return 6;
    std::string base = std::string(folder) + "/kernels", gxx = "g++ -std=c++17 -w -I'" + here() + "'" + flags + " -x c++ ";
    auto write = [](const std::string& path, const std::string& text) { FILE* f = fopen(path.c_str(), "w"); fwrite(text.data(), 1, text.size(), f); fclose(f); };
    auto read = [](const std::string& path) { return run("cat '" + path + "' 2> /dev/null"); };
    if (const char* pattern = getenv("SIM_PATTERN")) {
        size_t at = p->source.find(pattern);
        if (at == std::string::npos) { p->log = std::string("error: no source holds: ") + pattern; return 6; }
        p->source.replace(at, strlen(pattern), getenv("SIM_REPLACEMENT"));
    }
    write(base + ".cpp", p->source);
    // Macros make kernels, so their names are known only after the preprocessor.
    std::string expanded = run(gxx + "-E -P " + base + ".cpp 2> /dev/null"), exports = "\n";
    std::regex kernel(R"re(extern "C" __attribute__\(\(used\)\) void (\w+)\()re");
    for (std::sregex_iterator i(expanded.begin(), expanded.end(), kernel), end; i != end; ++i) exports += "SIM_KERNEL(" + (*i)[1].str() + ")\n";
    write(base + ".cpp", p->source + exports);
    int failed = system((gxx + "-O2 -ffp-contract=off -pthread -fPIC -shared -fvisibility=hidden " + base + ".cpp -o " + base + ".so 2> " + base + ".log").c_str());
    p->log = read(base + ".log");
    std::string object = read(base + ".so");
    u64 size = object.size();
    p->image.assign(MAGIC, MAGIC + 8);
    p->image.insert(p->image.end(), (char*)&size, (char*)&size + 8);
    p->image.insert(p->image.end(), object.begin(), object.end());
    run(std::string("rm -r '") + folder + "'");
    return failed ? 6 : OK;
}
API nvrtcGetProgramLogSize(void* p, size_t* bytes) { *bytes = ((Program*)p)->log.size() + 1; return OK; }
API nvrtcGetProgramLog(void* p, char* text) { strcpy(text, ((Program*)p)->log.c_str()); return OK; }
API nvrtcGetCUBINSize(void* p, size_t* bytes) { *bytes = ((Program*)p)->image.size(); return OK; }
API nvrtcGetCUBIN(void* p, char* image) { memcpy(image, ((Program*)p)->image.data(), ((Program*)p)->image.size()); return OK; }
