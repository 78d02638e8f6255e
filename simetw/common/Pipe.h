// A named pipe's end that sends and receives frames.
#pragma once

#include <cstring>
#include <string>
#include <vector>

#include "Protocol.h"

namespace simetw {

using Bytes = std::vector<std::uint8_t>;

class Pipe final {
public:
    Pipe() = default;
    explicit Pipe(HANDLE handle) : m_handle(handle) {}
    ~Pipe() { Close(); }
    Pipe(Pipe&& other) noexcept : m_handle(other.m_handle) { other.m_handle = INVALID_HANDLE_VALUE; }
    Pipe& operator=(Pipe&& other) noexcept;
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;

    bool IsOpen() const { return m_handle != INVALID_HANDLE_VALUE; }
    void Close();
    // Whether the other end is gone.
    bool IsBroken() const;

    // False when the other end is gone.
    bool Send(std::uint32_t code, const void* body, std::size_t size);
    bool Receive(std::uint32_t& code, Bytes& body);

private:
    bool Write(const void* data, std::size_t size);
    bool Read(void* data, std::size_t size);

    HANDLE m_handle = INVALID_HANDLE_VALUE;
};

// A body that begins with a T; false where it is too short.
template <typename T> bool Take(const Bytes& body, T& value)
{
    if (body.size() < sizeof(T)) {
        return false;
    }
    std::memcpy(&value, body.data(), sizeof(T));
    return true;
}

template <typename T> void Append(Bytes& body, const T& value)
{
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&value);
    body.insert(body.end(), bytes, bytes + sizeof(T));
}

} // namespace simetw
