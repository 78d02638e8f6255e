#include "Activity.h"

#include "Buffer.h"
#include "Clock.h"
#include "Machine.h"

namespace simetw {

namespace {

constexpr std::uint32_t Windows10v1511 = 10586;
constexpr std::uint32_t Windows10v1903 = 18362;
constexpr std::uint32_t Windows11v24H2 = 26100;
constexpr std::uint32_t Windows11v26H1 = 28000;
constexpr std::uint64_t Channel = 1ull << 63; // the bit that a manifest's analytic channel adds
constexpr std::uint64_t ProcessKeyword = 0x10, ThreadKeyword = 0x20, ImageKeyword = 0x40;
constexpr std::uint32_t NoId = ~0u;
constexpr std::uint8_t Start = 1, End = 2, Listed = 3, Load = 10;
constexpr std::size_t ShortName = 15; // of ProcessStop

struct Ids {
    std::uint32_t ProcessId, ThreadId;
};

// A payload of the fields given.
template <typename... T> Bytes Fields(T... values)
{
    Bytes bytes;
    (Append(bytes, values), ...);
    return bytes;
}

void AppendWide(Bytes& bytes, const std::wstring& text)
{
    for (const wchar_t each : text) {
        Append(bytes, each);
    }
    Append(bytes, L'\0');
}

std::wstring NameOf(const Actor& actor)
{
    return actor.Image.substr(actor.Image.find_last_of(L'\\') + 1);
}

void AppendNarrow(Bytes& bytes, const std::wstring& text)
{
    for (const wchar_t each : text) {
        bytes.push_back(static_cast<std::uint8_t>(each < 0x80 ? each : L'?'));
    }
    bytes.push_back(0);
}

void Put(
    Bytes& events, const GUID& provider, std::uint64_t keyword, Ids creator, std::uint16_t id,
    std::uint8_t version, std::uint8_t opcode, const Bytes& payload)
{
    SimEvent event{};
    event.Provider = provider;
    event.Keyword = keyword == 0 ? 0 : keyword | Channel;
    event.ProcessId = creator.ProcessId;
    event.ThreadId = creator.ThreadId;
    event.Id = event.Task = id;
    event.Version = version;
    event.Level = 4;
    event.Opcode = opcode;
    event.PointerSize = 8;
    event.PayloadSize = static_cast<std::uint16_t>(payload.size());
    Append(events, event);
    events.insert(events.end(), payload.begin(), payload.end());
}

std::uint8_t StartVersion(std::uint32_t build)
{
    return static_cast<std::uint8_t>(
        (build >= Windows8) + (build >= Windows10v1511) + (build >= Windows10v1903) +
        (build >= Windows11v24H2) + (build >= Windows11v26H1));
}

Bytes StartPayload(const Actor& actor, std::uint8_t version)
{
    const std::uint64_t now = static_cast<std::uint64_t>(Filetime());
    Bytes payload = Fields(actor.ProcessId);
    if (version >= 3) {
        Append(payload, std::uint64_t{actor.ProcessId}); // a sequence number
    }
    Append(payload, now);
    Append(payload, actor.CreatorProcessId);
    if (version >= 3) {
        Append(payload, std::uint64_t{actor.CreatorProcessId});
    }
    Append(payload, std::uint32_t{1}); // session
    if (version >= 1) {
        Append(payload, std::uint32_t{0}); // flags
    }
    if (version >= 3) {
        constexpr std::uint8_t highLabel[] = {1, 1, 0, 0, 0, 0, 0, 16, 0, 0x30, 0, 0}; // S-1-16-12288
        Append(payload, std::uint32_t{2});                                           // elevated
        Append(payload, std::uint32_t{1});
        Append(payload, highLabel);
    }
    AppendWide(payload, actor.Image);
    if (version >= 2) {
        Append(payload, std::uint64_t{0}); // checksum and time stamp
        AppendWide(payload, L"");
        AppendWide(payload, L"");
    }
    if (version >= 4) {
        Append(payload, std::uint32_t{0});
    }
    if (version >= 5) {
        Append(payload, std::uint32_t{0});
        Append(payload, std::uint16_t{0x8664});
    }
    return payload;
}

Bytes ClassicProcess(const Actor& actor, std::uint32_t build, std::uint32_t exitCode)
{
    Bytes payload = Fields(
        std::uint64_t{actor.ProcessId}, actor.ProcessId, actor.CreatorProcessId, std::uint32_t{1}, exitCode,
        std::uint64_t{0});
    if (build >= Windows8) {
        Append(payload, std::uint32_t{0}); // flags
    }
    Append(payload, std::uint32_t{0}); // no SID
    AppendNarrow(payload, NameOf(actor));
    AppendWide(payload, NameOf(actor)); // as the command line
    if (build >= Windows8) {
        AppendWide(payload, L"");
        AppendWide(payload, L"");
    }
    return payload;
}

std::uint8_t ClassicProcessVersion(std::uint32_t build)
{
    return build >= Windows8 ? 4 : 3;
}

// As the provider has it; the slot of the kernel's start address holds the affinity in the system logger's.
Bytes ThreadPayload(const Actor& actor)
{
    return Fields(
        actor.ProcessId, actor.ThreadId, std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{0},
        std::uint64_t{0}, actor.StartAddress, std::uint64_t{0}, std::uint32_t{0});
}

void PutClassicThread(Bytes& events, const Actor& actor, Ids header, std::uint32_t build, std::uint8_t opcode)
{
    Bytes payload = ThreadPayload(actor);
    if (build >= Windows8) {
        Append(payload, std::uint32_t{0}); // four priorities and flags
    }
    Put(events, ThreadClass, 0, header, 0, build >= Windows8 ? 3 : 2, opcode, payload);
}

void PutImage(Bytes& events, const Actor& actor, bool ofProvider, std::uint8_t opcode)
{
    const Ids header{actor.ProcessId, actor.ThreadId};
    if (ofProvider) {
        Bytes payload = Fields(
            actor.ImageBase, actor.ImageSize, actor.ProcessId, std::uint32_t{0}, std::uint32_t{0},
            actor.ImageBase);
        AppendWide(payload, actor.Image);
        Put(events, KernelProcess, ImageKeyword, header, 5, 0, 0, payload);
    }
    Bytes payload = Fields(
        actor.ImageBase, actor.ImageSize, actor.ProcessId, std::uint32_t{0}, std::uint32_t{0}, std::uint32_t{0},
        actor.ImageBase, std::uint64_t{0}, std::uint64_t{0});
    AppendWide(payload, actor.Image);
    Put(events, ImageClass, 0, header, 0, 3, opcode, payload);
}

} // namespace

Bytes ThreadStarted(const Actor& actor, std::uint32_t build)
{
    Bytes events;
    const Ids creator{actor.CreatorProcessId, actor.CreatorThreadId};
    Put(events, KernelProcess, ThreadKeyword, creator, 3, 1, Start, ThreadPayload(actor));
    PutClassicThread(events, actor, creator, build, Start);
    return events;
}

Bytes ProcessStarted(const Actor& actor, std::uint32_t build)
{
    Bytes events;
    const Ids creator{actor.CreatorProcessId, actor.CreatorThreadId};
    const std::uint8_t version = StartVersion(build);
    Put(events, KernelProcess, ProcessKeyword, creator, 1, version, Start, StartPayload(actor, version));
    Put(events, ProcessClass, 0, creator, 0, ClassicProcessVersion(build), Start,
        ClassicProcess(actor, build, 0));
    const Bytes thread = ThreadStarted(actor, build);
    events.insert(events.end(), thread.begin(), thread.end());
    PutImage(events, actor, true, Load);
    return events;
}

Bytes ProcessEnded(const Actor& actor, std::uint32_t build, std::uint32_t exitCode)
{
    Bytes events;
    const Ids own{actor.ProcessId, actor.ThreadId};
    Bytes thread = ThreadPayload(actor);
    Append(thread, std::uint64_t{0}); // cycles
    Put(events, KernelProcess, ThreadKeyword, own, 4, 1, End, thread);
    PutClassicThread(events, actor, own, build, End);

    const std::uint8_t version = static_cast<std::uint8_t>((build >= Windows8) + (build >= Windows10v1903));
    const std::uint64_t now = static_cast<std::uint64_t>(Filetime());
    Bytes process = Fields(actor.ProcessId);
    if (version >= 2) {
        Append(process, std::uint64_t{actor.ProcessId}); // a sequence number
    }
    const Bytes rest = Fields(
        now, now, exitCode, std::uint32_t{2}, std::uint32_t{0}, std::uint64_t{0}, std::uint64_t{0});
    process.insert(process.end(), rest.begin(), rest.end());
    if (version >= 1) {
        const Bytes counts = Fields(
            std::uint64_t{0}, std::uint32_t{0}, std::uint32_t{0}, std::uint32_t{0}, std::uint32_t{0},
            std::uint32_t{0});
        process.insert(process.end(), counts.begin(), counts.end());
    }
    AppendNarrow(process, NameOf(actor).substr(0, ShortName));
    Put(events, KernelProcess, ProcessKeyword, own, 2, version, End, process);
    Put(events, ProcessClass, 0, own, 0, ClassicProcessVersion(build), End,
        ClassicProcess(actor, build, exitCode));
    return events;
}

Bytes ProcessListed(const Actor& actor, std::uint32_t build)
{
    constexpr std::uint8_t firstStart = 2; // laid out as the start of this version
    Bytes events;
    const std::uint8_t version = StartVersion(build);
    if (version >= firstStart) {
        Put(events, KernelProcess, ProcessKeyword, {NoId, NoId}, 15, version - firstStart, 0,
            StartPayload(actor, version));
    }
    return events;
}

Bytes ProcessListedBySystem(const Actor& actor, std::uint32_t build)
{
    Bytes events;
    Put(events, ProcessClass, 0, {NoId, NoId}, 0, ClassicProcessVersion(build), Listed,
        ClassicProcess(actor, build, 0));
    PutClassicThread(events, actor, {actor.ProcessId, actor.ThreadId}, build, Listed);
    PutImage(events, actor, false, Listed);
    return events;
}

// Machine, as far as its programs' own activity goes.

void Machine::OfferToOwner(std::uint32_t owner, const Bytes& events, bool onlyRead)
{
    for (const auto& [id, session] : m_sessions) {
        if (session->Owner() == owner && (!onlyRead || session->IsRead())) {
            Offer(events, session.get());
        }
    }
    m_mutex.WakeAll();
}

void Machine::Act(std::uint32_t owner, const ActivityRequest& request, const std::wstring& image)
{
    const Guard guard(m_mutex);
    if (m_settings.Activity == OwnActivity::None) {
        return;
    }
    const bool ofItself = request.Kind == ActivityKind::CaptureState || request.Kind == ActivityKind::SystemLogger;
    Actor actor{
        ofItself ? 0 : owner, ofItself ? 0 : request.CreatorThreadId, request.ProcessId, request.ThreadId,
        request.StartAddress, request.ImageBase, request.ImageSize, image};
    if (m_settings.Activity == OwnActivity::WithoutCreator) {
        actor.CreatorProcessId = actor.CreatorThreadId = NoId;
    }
    switch (request.Kind) {
    case ActivityKind::ProcessStart:
        OfferToOwner(owner, ProcessStarted(actor, m_settings.Build), true);
        WatchForEnd(owner, actor);
        break;
    case ActivityKind::ThreadStart:
        OfferToOwner(owner, ThreadStarted(actor, m_settings.Build), true);
        break;
    case ActivityKind::CaptureState: // unless a test said what processes there are
        if (m_rundowns[static_cast<std::size_t>(Rundown::CaptureState)].empty() &&
            m_settings.Build >= m_settings.CaptureStateFrom) {
            OfferToOwner(owner, ProcessListed(actor, m_settings.Build), false);
        }
        break;
    case ActivityKind::SystemLogger:
        if (m_rundowns[static_cast<std::size_t>(Rundown::SessionStart)].empty()) {
            OfferToOwner(owner, ProcessListedBySystem(actor, m_settings.Build), false);
        }
        break;
    }
}

namespace {

struct Watch {
    Machine* Simulated;
    std::uint32_t Owner;
    Actor Watched;
    HANDLE Process;
};

DWORD WINAPI WaitForEnd(void* parameter)
{
    const std::unique_ptr<Watch> watch(static_cast<Watch*>(parameter));
    WaitForSingleObject(watch->Process, INFINITE);
    DWORD exitCode = 0;
    GetExitCodeProcess(watch->Process, &exitCode);
    CloseHandle(watch->Process);
    watch->Simulated->Ended(watch->Owner, watch->Watched, exitCode);
    return 0;
}

} // namespace

void Machine::WatchForEnd(std::uint32_t owner, const Actor& actor)
{
    const HANDLE process =
        OpenProcess(SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION, FALSE, actor.ProcessId);
    if (process != nullptr) {
        CloseHandle(CreateThread(nullptr, 0, WaitForEnd, new Watch{this, owner, actor, process}, 0, nullptr));
    }
}

void Machine::Ended(std::uint32_t owner, const Actor& actor, std::uint32_t exitCode)
{
    const Guard guard(m_mutex);
    OfferToOwner(owner, ProcessEnded(actor, m_settings.Build, exitCode), true);
}

} // namespace simetw
