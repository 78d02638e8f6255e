// An acquisition as an object: the lock is held from its construction to the end of its scope.
#pragma once

#include "Kernel.h"

// Construction and destruction are a pair that ends at the IRQL it began at. Whether it is raised between them
// is the lock's affair, and an annotation can't depend on a template's argument, so Code Analysis is told not to
// ask here for the one that Lock() and Unlock() have.
#pragma warning(push)
#pragma warning(disable : 28167)

// As the only holder.
template <typename TLock> class [[nodiscard]] Locker final {
public:
    _IRQL_requires_max_(APC_LEVEL)
    explicit Locker(TLock& lock) : m_lock(lock), m_held(lock.Lock()) {}
    ~Locker() { m_lock.Unlock(m_held); }
    Locker(const Locker&) = delete;
    Locker& operator=(const Locker&) = delete;

private:
    TLock& m_lock;
    const typename TLock::Held m_held;
};

// Beside others who only read.
template <typename TLock> class [[nodiscard]] SharedLocker final {
public:
    _IRQL_requires_max_(APC_LEVEL)
    explicit SharedLocker(TLock& lock) : m_lock(lock), m_held(lock.LockShared()) {}
    ~SharedLocker() { m_lock.Unlock(m_held); }
    SharedLocker(const SharedLocker&) = delete;
    SharedLocker& operator=(const SharedLocker&) = delete;

private:
    TLock& m_lock;
    const typename TLock::Held m_held;
};

#pragma warning(pop)
