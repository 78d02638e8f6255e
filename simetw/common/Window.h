// Memory that the kernel and a consumer share: buffers go through it rather than through the pipe.
#pragma once

#include <cstdint>
#include <utility>

#include <windows.h>

namespace simetw {

class Window final {
public:
    Window() = default;
    ~Window()
    {
        if (m_view != nullptr) {
            UnmapViewOfFile(m_view);
        }
        if (m_section != nullptr) {
            CloseHandle(m_section);
        }
    }
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;

    bool Create(const wchar_t* name, std::uint32_t size)
    {
        m_section = CreateFileMappingW(INVALID_HANDLE_VALUE, nullptr, PAGE_READWRITE, 0, size, name);
        return Map(size);
    }
    bool Open(const wchar_t* name, std::uint32_t size)
    {
        m_section = OpenFileMappingW(FILE_MAP_WRITE | FILE_MAP_READ, FALSE, name);
        return Map(size);
    }

    std::uint8_t* Data() const { return m_view; }
    std::uint32_t Size() const { return m_size; }

private:
    bool Map(std::uint32_t size)
    {
        m_size = size;
        m_view =
            static_cast<std::uint8_t*>(MapViewOfFile(m_section, FILE_MAP_WRITE | FILE_MAP_READ, 0, 0, size));
        return m_view != nullptr;
    }

    HANDLE m_section = nullptr;
    std::uint8_t* m_view = nullptr;
    std::uint32_t m_size = 0;
};

} // namespace simetw
