// What the programs say to simetw-kernel.exe: a request {operation, size, body}, and its answer {error, size,
// body}, one at a time on each pipe. Errors are Windows' own numbers.
#pragma once

#include <cstdint>

#include <windows.h>

namespace simetw {

constexpr wchar_t PipeName[] = L"\\\\.\\pipe\\etwdetect-simetw";
constexpr wchar_t ServiceName[] = L"etwdetect-simetw";
// Names the machine that a program runs on; without it there is none.
constexpr wchar_t MachineVariable[] = L"ETWDETECT_SIMETW";

// Of a session, a log file, a machine: with the NUL.
constexpr std::uint32_t NameLength = 1024;
constexpr std::uint32_t MaxFilteredIds = 64;
constexpr std::uint32_t MaxRequest = 64u << 20;

enum class Operation : std::uint32_t {
    // Of the programming interface.
    Hello,
    Start,
    Control,
    Enable,
    QueryAll,
    Open,
    Next,
    CloseConsumer,
    ProviderInfo,
    SetEnableFlags,
    Machine,
    Activity,
    // Of a test.
    Reset,
    Set,
    Fail,
    Log,
    Repeat,
    List,
    SetRundown,
    StopSession,
    DisableProvider,
};

// The body of Hello; the machine's name follows.
struct HelloRequest {
    std::uint32_t ProcessId;
};

struct Frame {
    std::uint32_t Code; // an Operation; in an answer the error
    std::uint32_t Size; // of the body that follows
};

// The properties that a session is started with, or updated.
struct SessionProperties {
    GUID Guid;
    std::uint32_t BufferSize; // KB
    std::uint32_t MinimumBuffers;
    std::uint32_t MaximumBuffers;
    std::uint32_t MaximumFileSize; // MB
    std::uint32_t LogFileMode;
    std::uint32_t FlushTimer;
    std::uint32_t EnableFlags;
    std::uint32_t ClientContext;
    wchar_t Name[NameLength];
    wchar_t LogFile[NameLength];
};

// A session as a query tells it.
struct SessionState {
    SessionProperties Properties;
    std::uint64_t Handle;
    std::uint32_t NumberOfBuffers;
    std::uint32_t FreeBuffers;
    std::uint32_t EventsLost;
    std::uint32_t BuffersWritten;
    std::uint32_t LogBuffersLost;
    std::uint32_t RealTimeBuffersLost;
    std::uint32_t Consumers;
    std::uint32_t EnabledProviders;
};

struct ControlRequest {
    std::uint64_t Handle; // 0: by name
    std::uint32_t Code;   // EVENT_TRACE_CONTROL_…
    SessionProperties Properties;
};

// What a session asks for by event id, if it does: those in the list, or all others.
struct IdFilter {
    std::uint8_t IsSet;
    std::uint8_t FilterIn;
    std::uint16_t Count;
    std::uint16_t Ids[MaxFilteredIds];
};

struct EnableRequest {
    std::uint64_t Session;
    GUID Provider;
    std::uint64_t MatchAny;
    std::uint64_t MatchAll;
    std::uint32_t Code; // EVENT_CONTROL_CODE_…
    std::uint32_t EnableProperty;
    std::uint8_t Level;
    std::uint8_t FiltersProcesses;
    IdFilter Events;
    IdFilter Stacks; // which of them get a stack
};

struct MachineState {
    std::uint32_t Cpus;
    std::uint32_t Build;
    std::uint32_t KernelProcessRegistered;
    std::uint32_t Elevated;
    std::int64_t BootTime; // FILETIME
};

enum class ActivityKind : std::uint32_t {
    ProcessStart,
    ThreadStart,
    CaptureState, // the program that asks, as a rundown lists it
    SystemLogger, // the same, at the start of a system logger
};

// What a program did itself; the kernel logs it to the program's own sessions. The path of the process's image
// follows, with its NUL.
struct ActivityRequest {
    ActivityKind Kind;
    std::uint32_t CreatorThreadId;
    std::uint32_t ProcessId; // of the new process or thread
    std::uint32_t ThreadId;
    std::uint64_t StartAddress;
    std::uint64_t ImageBase;
    std::uint64_t ImageSize;
};

// What a consumer has to know of its session to read time stamps.
struct ConsumerState {
    std::uint64_t Consumer;
    std::uint32_t Found; // whether there is such a session
    SessionState Session;
    MachineState Machine;
    std::int64_t StartTime;  // FILETIME
    std::int64_t StartClock; // the session's clock at that time
    std::int64_t Frequency;
    wchar_t WindowName[64]; // of the memory that buffers come in
    std::uint32_t WindowSize;
};

// The answer to Next. In the window lie buffers, each as in a file but no longer than filled; they are the
// consumer's until it asks again.
struct NextAnswer {
    std::uint32_t Ended;
    std::uint32_t Error; // that ProcessTrace ends with
    std::uint32_t Size;
};

// One event that a test logs; the payload follows, and before it, counted with it, extended items as they stand
// in a file. 56 bytes, Python's "<q16sQIIHHBBBBHHI".
struct SimEvent {
    std::int64_t Time; // FILETIME; 0: now
    GUID Provider;
    std::uint64_t Keyword;
    std::uint32_t ProcessId;
    std::uint32_t ThreadId;
    std::uint16_t Id;
    std::uint16_t Task;
    std::uint8_t Version;
    std::uint8_t Level;
    std::uint8_t Opcode;
    std::uint8_t PointerSize;
    std::uint16_t Cpu;
    std::uint16_t PayloadSize;
    std::uint32_t ExtendedSize;
};
static_assert(sizeof(SimEvent) == 56);

// The same events again and again. SimEvents follow the runs.
struct RepeatRequest {
    std::uint64_t Rounds;
    std::uint64_t EventsPerSecond; // 0: as fast as it goes
    std::uint32_t WaitForConsumer; // before a real-time session would lose buffers
    std::uint32_t RunningIds;      // how many RunningId follow
};

// A number in the payload of one of the repeated events that grows with every round.
struct RunningId {
    std::uint32_t Event;
    std::uint32_t Offset;
    std::uint32_t Step;
};

enum class Setting : std::uint32_t {
    Cpus,
    Build,
    Elevated,
    MillisecondFlush, // 0 refused, 1 honoured, 2 ignored: the timer counts seconds
    LoggerDelay,      // ms from a full buffer until it is free again; NeverDrained: it never is
    Backlog,          // buffers that may wait for a consumer; 0: as many as the session may have
    DiskFull,
    KernelProcessRegistered,
    NameHeld,         // ms that a stopped session's name stays taken
    SharedLoss,       // an event that one session has no room for is lost to all that are not independent
    OneStreamLimit,   // events a second that one stream of buffers for all CPUs takes; 0: any number
    ListingRefused,   // who is not elevated gets error 5 from QueryAllTraces, not an empty list
    CaptureStateFrom, // the first build that lists its processes by CAPTURE_STATE
    Activity,         // what programs do themselves: 0 nothing, 1 logged to their own sessions, 2 without its creator
};
constexpr std::uint64_t NeverDrained = ~0ull;

struct SetRequest {
    Setting What;
    std::uint32_t Reserved;
    std::uint64_t Value;
};

enum class Call : std::uint32_t { Start, Enable, Open, Process, Control, Count };

// The next calls fail. A ProcessTrace that runs already ends at once.
struct FailRequest {
    Call What;
    std::uint32_t Error;
    std::uint32_t Times;
};

enum class Rundown : std::uint32_t { CaptureState, SessionStart, SessionEnd, Count };

struct DisableRequest {
    wchar_t Session[NameLength];
    GUID Provider;
};

} // namespace simetw
