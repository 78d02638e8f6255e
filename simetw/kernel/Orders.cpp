// Machine, as far as tests drive it.
#include "Machine.h"

#include <algorithm>

namespace simetw {

void Machine::Reset()
{
    const Guard guard(m_mutex);
    for (const auto& [id, session] : m_sessions) {
        session->Stop();
    }
    m_sessions.clear();
    m_settings = {};
    m_failures = {};
    m_rundowns = {};
    m_heldNames.clear();
    m_resets += 1;
    m_mutex.WakeAll();
}

void Machine::Set(const SetRequest& request)
{
    const Guard guard(m_mutex);
    m_settings.Change(request.What, request.Value);
    if (request.What == Setting::LoggerDelay && request.Value == 0) {
        for (const auto& [id, session] : m_sessions) {
            session->DrainAll();
        }
    }
    m_mutex.WakeAll();
}

void Machine::Fail(const FailRequest& request)
{
    const Guard guard(m_mutex);
    if (request.What < Call::Count) {
        m_failures[static_cast<std::size_t>(request.What)] = {request.Error, request.Times};
    }
    m_mutex.WakeAll();
}

void Machine::Offer(const Bytes& events, Session* only)
{
    ForEachEvent(events.data(), events.size(), [&](const SimEvent& event, const std::uint8_t* payload) {
        if (only == nullptr) {
            Offer(event, payload);
        } else if (only->Wants(event)) {
            only->Log(event, payload);
        }
    });
}

// An event that one session has no room for is lost to all of its sessions but the independent ones. No counter
// of theirs tells.
void Machine::Offer(const SimEvent& event, const std::uint8_t* payload)
{
    bool lost = false;
    std::vector<Session*> logged;
    for (const auto& [id, session] : m_sessions) {
        if (session->Wants(event)) {
            if (session->Log(event, payload)) {
                logged.push_back(session.get());
            } else {
                lost = true;
            }
        }
    }
    if (lost && m_settings.SharedLoss) {
        for (Session* const session : logged) {
            if (!session->IsIndependent()) {
                session->TakeBack();
            }
        }
    }
}

bool Machine::Log(const Bytes& events)
{
    const auto ignore = [](const SimEvent&, const std::uint8_t*) {
    };
    if (!ForEachEvent(events.data(), events.size(), ignore)) {
        return false;
    }
    const Guard guard(m_mutex);
    Offer(events, nullptr);
    m_mutex.WakeAll();
    return true;
}

bool Machine::Repeat(const Bytes& request)
{
    constexpr std::uint64_t eventsAtOnce = 1024;
    constexpr std::int64_t pause = 1; // ms
    RepeatRequest head;
    if (!Take(request, head) || request.size() < sizeof head + head.RunningIds * sizeof(RunningId)) {
        return false;
    }
    std::vector<RunningId> running(head.RunningIds);
    std::memcpy(running.data(), request.data() + sizeof head, running.size() * sizeof(RunningId));
    Bytes events(request.begin() + sizeof head + running.size() * sizeof(RunningId), request.end());

    std::vector<std::size_t> payloads; // where each begins
    std::vector<std::size_t> sizes;
    const auto note = [&](const SimEvent& event, const std::uint8_t* payload) {
        payloads.push_back(static_cast<std::size_t>(payload - events.data()));
        sizes.push_back(event.PayloadSize);
    };
    if (!ForEachEvent(events.data(), events.size(), note) || payloads.empty()) {
        return false;
    }
    for (const RunningId& each : running) {
        if (each.Event >= payloads.size() || each.Offset + sizeof(std::uint32_t) > sizes[each.Event]) {
            return false;
        }
    }

    const auto behind = [&] {
        return head.WaitForConsumer != 0 &&
               std::any_of(m_sessions.begin(), m_sessions.end(), [](const auto& each) {
                   return each.second->IsBehind();
               });
    };
    const std::uint64_t began = Uptime();
    const std::uint64_t roundsAtOnce = std::max<std::uint64_t>(1, eventsAtOnce / payloads.size());
    const Guard guard(m_mutex);
    const std::uint64_t reset = m_resets;
    for (std::uint64_t round = 0; round < head.Rounds && reset == m_resets;) {
        std::uint64_t due = head.Rounds;
        if (head.EventsPerSecond != 0) {
            due = std::min(due, (Uptime() - began) * head.EventsPerSecond / 1000 / payloads.size() + 1);
        }
        if (due <= round || behind()) {
            m_mutex.Wait(pause);
            continue;
        }
        for (const std::uint64_t end = std::min(due, round + roundsAtOnce); round < end && !behind();
             ++round) {
            Offer(events, nullptr);
            for (const RunningId& each : running) {
                std::uint32_t id;
                std::uint8_t* const at = events.data() + payloads[each.Event] + each.Offset;
                std::memcpy(&id, at, sizeof id);
                id += each.Step;
                std::memcpy(at, &id, sizeof id);
            }
        }
        m_mutex.WakeAll();
        m_mutex.Unlock(); // for whoever waits
        m_mutex.Lock();
    }
    return true;
}

std::vector<SessionState> Machine::List()
{
    const Guard guard(m_mutex);
    std::vector<SessionState> states;
    for (const auto& [id, session] : m_sessions) {
        states.push_back(session->State());
    }
    return states;
}

bool Machine::SetRundown(Rundown which, Bytes&& events)
{
    const auto ignore = [](const SimEvent&, const std::uint8_t*) {
    };
    if (which >= Rundown::Count || !ForEachEvent(events.data(), events.size(), ignore)) {
        return false;
    }
    const Guard guard(m_mutex);
    m_rundowns[static_cast<std::size_t>(which)] = std::move(events);
    return true;
}

bool Machine::StopSession(const wchar_t* name)
{
    const Guard guard(m_mutex);
    Session* const session = Find(0, name);
    if (session == nullptr) {
        return false;
    }
    Stop(*session);
    End(*session);
    m_mutex.WakeAll();
    return true;
}

bool Machine::DisableProvider(const DisableRequest& request)
{
    const Guard guard(m_mutex);
    Session* const session = Find(0, request.Session);
    if (session == nullptr || session->EnablementOf(request.Provider) == nullptr) {
        return false;
    }
    session->Disable(request.Provider);
    return true;
}

} // namespace simetw
