// A simulated machine: its sessions, its consumers, and what a test ordered. Every call takes the lock.
#pragma once

#include <array>
#include <string>

#include "Activity.h"
#include "Lock.h"
#include "Session.h"
#include "Window.h"

namespace simetw {

class Machine final {
public:
    Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // The programming interface; each returns Windows' error.
    std::uint32_t Start(const SessionProperties& properties, std::uint32_t owner, SessionState& state);
    std::uint32_t Control(const ControlRequest& request, SessionState& state);
    std::uint32_t Enable(const EnableRequest& request);
    std::uint32_t QueryAll(std::vector<SessionState>& states);
    std::uint32_t SetEnableFlags(std::uint64_t session, std::uint32_t flags);
    MachineState State();
    // TRACE_ENABLE_INFO for each session that enabled the provider; the GUIDs of all for a null GUID.
    std::uint32_t ProviderInfo(const GUID& provider, Bytes& answer);

    std::uint32_t Open(const wchar_t* session, std::shared_ptr<Consumer>& consumer, ConsumerState& state);
    // Waits for buffers and puts them into the window. Alive is asked now and then.
    template <typename TAlive> NextAnswer Next(Consumer& consumer, TAlive alive, const Window& window);
    void CloseConsumer(std::uint64_t id);
    // What a program did itself.
    void Act(std::uint32_t owner, const ActivityRequest& request, const std::wstring& image);
    // What a program had started is over.
    void Ended(std::uint32_t owner, const Actor& actor, std::uint32_t exitCode);
    void Leave(const wchar_t* session, const std::shared_ptr<Consumer>& consumer);

    // What a test does.
    void Reset();
    void Set(const SetRequest& request);
    void Fail(const FailRequest& request);
    // False for events that do not add up.
    bool Log(const Bytes& events);
    bool Repeat(const Bytes& request);
    std::vector<SessionState> List();
    bool SetRundown(Rundown which, Bytes&& events);
    bool StopSession(const wchar_t* name);
    bool DisableProvider(const DisableRequest& request);

private:
    struct Failure {
        std::uint32_t Error = 0;
        std::uint32_t Times = 0;
    };

    static DWORD WINAPI Timer(void* machine);
    void Tick();

    std::uint32_t Failed(Call call);
    Session* Find(std::uint64_t handle, const wchar_t* name);
    std::uint32_t Check(const SessionProperties& properties) const;
    void Complete(SessionProperties& properties) const;
    void Stop(Session& session);
    // Stops it, and holds its name for a while.
    void End(Session& session);
    void Offer(const Bytes& events, Session* only);
    void Offer(const SimEvent& event, const std::uint8_t* payload);
    void OfferToOwner(std::uint32_t owner, const Bytes& events, bool onlyRead);
    void WatchForEnd(std::uint32_t owner, const Actor& actor);
    bool TryNext(Consumer& consumer, const Window& window, NextAnswer& answer);

    Mutex m_mutex;
    Settings m_settings;
    std::map<std::uint16_t, std::unique_ptr<Session>> m_sessions;
    std::map<std::uint64_t, std::weak_ptr<Consumer>> m_consumers;
    std::array<Failure, static_cast<std::size_t>(Call::Count)> m_failures{};
    std::array<Bytes, static_cast<std::size_t>(Rundown::Count)> m_rundowns;
    std::uint64_t m_nextConsumer = 1;
    std::map<std::wstring, std::uint64_t> m_heldNames; // until when, in ms of uptime
    std::uint64_t m_resets = 0;
};

template <typename TAlive> NextAnswer Machine::Next(Consumer& consumer, TAlive alive, const Window& window)
{
    constexpr DWORD patience = 200; // ms
    const Guard guard(m_mutex);
    NextAnswer answer{TRUE, ERROR_SUCCESS, 0};
    consumer.Reading = true;
    while (!TryNext(consumer, window, answer) && alive()) {
        m_mutex.Wait(patience);
    }
    return answer;
}

// Goes through packed events; false where they do not add up.
template <typename TVisit> bool ForEachEvent(const std::uint8_t* at, std::size_t size, TVisit visit)
{
    while (size != 0) {
        SimEvent event;
        if (size < sizeof event) {
            return false;
        }
        std::memcpy(&event, at, sizeof event);
        const std::size_t whole = sizeof event + event.PayloadSize;
        if (size < whole) {
            return false;
        }
        visit(event, at + sizeof event);
        at += whole;
        size -= whole;
    }
    return true;
}

} // namespace simetw
