// A lock and a condition: the compiler for Windows comes without std::mutex.
#pragma once

#include <windows.h>

namespace simetw {

class Mutex final {
public:
    Mutex() = default;
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;

    void Lock() { AcquireSRWLockExclusive(&m_lock); }
    void Unlock() { ReleaseSRWLockExclusive(&m_lock); }

    // Lets go of the lock until WakeAll, or for so many milliseconds.
    void Wait(DWORD milliseconds) { SleepConditionVariableSRW(&m_changed, &m_lock, milliseconds, 0); }
    void WakeAll() { WakeAllConditionVariable(&m_changed); }

private:
    SRWLOCK m_lock = SRWLOCK_INIT;
    CONDITION_VARIABLE m_changed = CONDITION_VARIABLE_INIT;
};

class Guard final {
public:
    explicit Guard(Mutex& mutex) : m_mutex(mutex) { m_mutex.Lock(); }
    ~Guard() { m_mutex.Unlock(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

private:
    Mutex& m_mutex;
};

} // namespace simetw
