#include "Pipe.h"

#include <algorithm>

namespace simetw {

Pipe& Pipe::operator=(Pipe&& other) noexcept
{
    std::swap(m_handle, other.m_handle);
    return *this;
}

void Pipe::Close()
{
    if (IsOpen()) {
        CloseHandle(m_handle);
        m_handle = INVALID_HANDLE_VALUE;
    }
}

bool Pipe::IsBroken() const
{
    DWORD available = 0;
    return !PeekNamedPipe(m_handle, nullptr, 0, nullptr, &available, nullptr);
}

bool Pipe::Send(std::uint32_t code, const void* body, std::size_t size)
{
    // One write where it is cheap: each is a round trip to Wine's server.
    constexpr std::size_t small = 4096;
    const Frame frame{code, static_cast<std::uint32_t>(size)};
    if (size > small) {
        return Write(&frame, sizeof frame) && Write(body, size);
    }
    std::uint8_t whole[sizeof frame + small];
    std::memcpy(whole, &frame, sizeof frame);
    if (size != 0) {
        std::memcpy(whole + sizeof frame, body, size);
    }
    return Write(whole, sizeof frame + size);
}

bool Pipe::Receive(std::uint32_t& code, Bytes& body)
{
    Frame frame;
    if (!Read(&frame, sizeof frame) || frame.Size > MaxRequest) {
        return false;
    }
    code = frame.Code;
    body.resize(frame.Size);
    return Read(body.data(), frame.Size);
}

bool Pipe::Write(const void* data, std::size_t size)
{
    const auto* at = static_cast<const std::uint8_t*>(data);
    while (size != 0) {
        DWORD done = 0;
        const auto part = static_cast<DWORD>(std::min<std::size_t>(size, 1u << 20));
        if (!WriteFile(m_handle, at, part, &done, nullptr) || done == 0) {
            return false;
        }
        at += done;
        size -= done;
    }
    return true;
}

bool Pipe::Read(void* data, std::size_t size)
{
    auto* at = static_cast<std::uint8_t*>(data);
    while (size != 0) {
        DWORD done = 0;
        if (!ReadFile(m_handle, at, static_cast<DWORD>(size), &done, nullptr) || done == 0) {
            return false;
        }
        at += done;
        size -= done;
    }
    return true;
}

} // namespace simetw
